"""Models: existing ones linked into the study, the others trained."""

PRETRAINING_THREADS = max(2, STUDY.compute.threads)  # everything else waits for the base model
PREFLIGHT = ancient(f"{RESULTS}/preflight.json")


rule fetch_model:
    output:
        f"{RESULTS}/models/{{model}}/manifest.json",
    log:
        f"{RESULTS}/logs/models/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/models/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(models_from("pretrained")),
    conda:
        "../../envs/inference.yaml"
    resources:
        mem_mb=lambda w: fetching_mb(STUDY, w.model),
        runtime=240,
    params:
        spec=lambda w: spec("fetch_model.py", "inference", pretrained=STUDY.models[w.model].pretrained.plain()),
    message:
        "Linking model {wildcards.model}"
    shell:
        "python $SCRIPTS/fetch_model.py --spec {params.spec:q} --output $(dirname {output}) 2> {log}"


rule pretrain:
    input:
        preflight=PREFLIGHT,
        corpus=lambda w: f"{RESULTS}/corpora/{STUDY.models[w.model].pretrain.corpus}.parquet",
    output:
        f"{RESULTS}/models/{{model}}/manifest.json",
    log:
        f"{RESULTS}/logs/models/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/models/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(models_from("pretrain")),
    conda:
        "../../envs/training.yaml"
    threads: PRETRAINING_THREADS
    resources:
        **training(),
    params:
        spec=lambda w: spec("pretrain.py", "training", **training_spec(w.model, PRETRAINING_THREADS)),
    message:
        "Pretraining {wildcards.model}"
    shell:
        "{resources.launch} $SCRIPTS/pretrain.py --spec {params.spec:q} --corpus {input.corpus}"
        " --state $STATES/{wildcards.model} --output $(dirname {output}) 2> {log}"


rule sft:
    input:
        preflight=PREFLIGHT,
        base=lambda w: manifest(STUDY.models[w.model].from_),
        corpus=lambda w: f"{RESULTS}/corpora/{STUDY.models[w.model].sft.corpus}.parquet",
    output:
        f"{RESULTS}/models/{{model}}/manifest.json",
    log:
        f"{RESULTS}/logs/models/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/models/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(models_from("sft")),
    conda:
        "../../envs/training.yaml"
    threads: STUDY.compute.threads
    resources:
        **training(),
    params:
        spec=lambda w: spec("sft.py", "training", **training_spec(w.model)),
    message:
        "Fine-tuning {wildcards.model} on solutions"
    shell:
        "{resources.launch} $SCRIPTS/sft.py --spec {params.spec:q} --base $(dirname {input.base}) --corpus {input.corpus}"
        " --state $STATES/{wildcards.model} --output $(dirname {output}) 2> {log}"


rule rl:
    input:
        preflight=PREFLIGHT,
        base=lambda w: manifest(STUDY.models[w.model].from_),
        problems=lambda w: f"{RESULTS}/problems/{STUDY.models[w.model].rl.problems}.parquet",
        heldout=lambda w: heldout_problems(STUDY.models[w.model].rl),
    output:
        f"{RESULTS}/models/{{model}}/manifest.json",
    log:
        f"{RESULTS}/logs/models/{{model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/models/{{model}}.tsv"
    wildcard_constraints:
        model=one_of(models_from("rl")),
    conda:
        f"../../envs/{RL_STACK}.yaml"
    threads: STUDY.compute.threads
    resources:
        **training(RL_STACK),
    params:
        spec=lambda w: spec("rl.py", RL_STACK, **training_spec(w.model)),
    message:
        "Training {wildcards.model} with verifiable rewards"
    shell:
        "{resources.launch} $SCRIPTS/rl.py --spec {params.spec:q} --base $(dirname {input.base}) --problems {input.problems}"
        " --heldout {input.heldout:q}"
        " --state $STATES/{wildcards.model} --output $(dirname {output}) 2> {log}"


rule vocabulary:
    input:
        unpack(pair_models),
    output:
        f"{RESULTS}/vocabularies/{{pair}}.parquet",
    log:
        f"{RESULTS}/logs/vocabularies/{{pair}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/vocabularies/{{pair}}.tsv"
    conda:
        "../../envs/inference.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        spec=lambda w: spec(
            "vocabulary.py",
            "inference",
            pair=w.pair,
            special_tokens=STUDY.pairs[w.pair].special_tokens,
            prompts=prompting_spec(w)["prompts"],
            cross_sampled=w.pair in STUDY.cross_sampling.pairs,
        ),
    message:
        "Finding the tokens that both models of {wildcards.pair} have"
    shell:
        "python $SCRIPTS/vocabulary.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --output {output} 2> {log}"
