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
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        **holding(lambda w: [size_of(STUDY, w.model)]),
    params:
        shard=shard,
        spec=lambda w: spec("rollouts.py", "inference", prompt=STUDY.prompt_of(w.model).plain(), **sampling_spec()),
    message:
        "Sampling responses of {wildcards.model} to {wildcards.problem_set}"
    shell:
        "{resources.launch} $SCRIPTS/rollouts.py --spec {params.spec:q} --model $(dirname {input.model}) --problems {input.problems}"
        " --shard {params.shard}"
        " --output {output} 2> {log}"
