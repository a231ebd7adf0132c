"""Problem sets and corpora, and the check of all given data before anything is computed."""


localrules:
    preflight,


rule problems:
    input:
        exclude=lambda w: expand(f"{RESULTS}/problems/{{name}}.parquet", name=STUDY.problems[w.problem_set].exclude),
    output:
        f"{RESULTS}/problems/{{problem_set}}.parquet",
    log:
        f"{RESULTS}/logs/problems/{{problem_set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/problems/{{problem_set}}.tsv"
    priority: 10  # bad problems are refused before a model is fetched
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        spec=lambda w: spec(
            "problems.py",
            "data",
            name=w.problem_set,
            problems=STUDY.problems[w.problem_set].plain(),
            source=data_hash(STUDY.problems[w.problem_set]),
        ),
    message:
        "Building problem set {wildcards.problem_set}"
    shell:
        "python $SCRIPTS/problems.py --spec {params.spec:q} --exclude {input.exclude} --output {output} 2> {log}"


rule corpus:
    input:
        problems=lambda w: expand(
            f"{RESULTS}/problems/{{name}}.parquet", name=filter(None, [STUDY.corpora[w.corpus].problems])
        ),
    output:
        f"{RESULTS}/corpora/{{corpus}}.parquet",
    log:
        f"{RESULTS}/logs/corpora/{{corpus}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/corpora/{{corpus}}.tsv"
    conda:
        "../../envs/data.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        spec=lambda w: spec(
            "corpus.py",
            "data",
            name=w.corpus,
            corpus=STUDY.corpora[w.corpus].plain(),
            source=data_hash(STUDY.corpora[w.corpus]),
        ),
    message:
        "Building corpus {wildcards.corpus}"
    shell:
        "python $SCRIPTS/corpus.py --spec {params.spec:q} --problems {input.problems} --output {output} 2> {log}"


rule preflight:
    input:
        trained=trained_on(),
        evaluated=expand(f"{RESULTS}/problems/{{name}}.parquet", name=STUDY.evaluation.sets),
        problems=expand(f"{RESULTS}/problems/{{name}}.parquet", name=STUDY.problems),
        corpora=expand(f"{RESULTS}/corpora/{{name}}.parquet", name=STUDY.corpora),
        models=expand(f"{RESULTS}/models/{{name}}/manifest.json", name=models_from("pretrained")),
        pairs=expand(
            f"{RESULTS}/vocabularies/{{name}}.parquet",
            name=[
                name for name, pair in STUDY.pairs.items() if {pair.base, pair.tuned} <= set(models_from("pretrained"))
            ],
        ),
    output:
        f"{RESULTS}/preflight.json",
    log:
        f"{RESULTS}/logs/preflight.log",
    conda:
        "../../envs/inference.yaml"
    params:
        spec=spec_later(
            "preflight.py",
            "inference",
            allow_overlap=STUDY.allow_overlap,
            fits=needed_room(),
        ),
    message:
        "Checking that all given data and models can be used"
    shell:
        "python $SCRIPTS/preflight.py --spec {params.spec:q} --trained {input.trained} --evaluated {input.evaluated}"
        " --sets {input.problems} {input.corpora} --models {input.models} --output {output} 2> {log}"
