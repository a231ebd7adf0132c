"""Responses sampled from one policy, graded."""

# vLLM pins other packages than the inference stack, so it has an environment of its own; without conda, beside .venv.
VLLM = STUDY.evaluation.engine == "vllm"
ROLLOUT_SCRIPT = "rollouts_vllm.py" if VLLM else "rollouts.py"
VLLM_PYTHON = ROOT / ".venv-vllm/bin/python"


def rollouts_spec(wildcards):
    """Settings of a job that samples responses of one model."""
    settings = {"prompt": STUDY.prompt_of(wildcards.model).plain(), **sampling_spec()}
    if not VLLM:
        return spec(ROLLOUT_SCRIPT, "inference", **settings)
    sharded = STUDY.compute.placement == "sharded"
    gpus = inference_gpus(STUDY.compute, [size_of(STUDY, wildcards.model)]) if sharded else 1
    return spec(ROLLOUT_SCRIPT, "vllm", engine=STUDY.evaluation.engine, gpus=max(1, gpus), **settings)


def rollout_launch():
    """How the script is started where it is not as every other: vLLM starts a process for each GPU by itself."""
    if not VLLM:
        return {}
    return {"launch": quote(str(VLLM_PYTHON)) if VLLM_PYTHON.is_file() and not CONDA else "python"}


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
