"""Responses sampled from one policy, graded."""


rule rollouts:
    input:
        preflight=PREFLIGHT,
        model=f"{RESULTS}/models/{{model}}/manifest.json",
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
    output:
        part(f"{RESULTS}/rollouts/{{model}}/{{problem_set}}.parquet"),
    log:
        part(f"{RESULTS}/logs/rollouts/{{model}}/{{problem_set}}.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/rollouts/{{model}}/{{problem_set}}.tsv")
    conda:
        "../../envs/vllm.yaml" if VLLM else "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        **holding(lambda w: [size_of(STUDY, w.model)]) | rollout_launch(),
    params:
        script=ROLLOUT_SCRIPT,
        shard=shard,
        spec=rollouts_spec,
    message:
        "Sampling responses of {wildcards.model} to {wildcards.problem_set}"
    shell:
        "{resources.launch} $SCRIPTS/{params.script} --spec {params.spec:q} --model $(dirname {input.model}) --problems {input.problems}"
        " --shard {params.shard}"
        " --output {output} 2> {log}"
