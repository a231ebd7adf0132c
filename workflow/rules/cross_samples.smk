"""Responses decoded with both policies of a pair; all thresholds of a sweep in one job."""


rule cross_samples_js:
    input:
        unpack(pair_models),
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        scores=primary_scores,
    output:
        part(f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-js.parquet"),
    log:
        part(f"{RESULTS}/logs/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-js.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-js.tsv")
    conda:
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        gpu=STUDY.compute.gpus,
        mem_mb=STUDY.compute.mem_mb,
        runtime=STUDY.compute.runtime,
    params:
        shard=shard,
        spec=lambda w: spec(
            "cross_sample_js.py",
            "inference",
            direction=w.direction,
            quantiles=STUDY.cross_sampling.quantiles,
            thresholds=STUDY.cross_sampling.thresholds,
            **sampling_spec(),
        ),
    message:
        "Cross-sampling {wildcards.pair} {wildcards.direction} by JS on {wildcards.problem_set}"
    shell:
        "python $SCRIPTS/cross_sample_js.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --problems {input.problems} --scores {input.scores} --threads {threads} --shard {params.shard}"
        " --output {output} 2> >(tee {log} >&2)"


rule cross_samples_random:
    input:
        unpack(pair_models),
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        matched=f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-js.parquet",
    output:
        part(f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-random.parquet"),
    log:
        part(f"{RESULTS}/logs/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-random.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-random.tsv")
    conda:
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        gpu=STUDY.compute.gpus,
        mem_mb=STUDY.compute.mem_mb,
        runtime=STUDY.compute.runtime,
    params:
        shard=shard,
        spec=lambda w: spec("cross_sample_random.py", "inference", direction=w.direction, **sampling_spec()),
    message:
        "Cross-sampling {wildcards.pair} {wildcards.direction} at random positions on {wildcards.problem_set}"
    shell:
        "python $SCRIPTS/cross_sample_random.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --problems {input.problems} --matched {input.matched} --threads {threads} --shard {params.shard}"
        " --output {output} 2> >(tee {log} >&2)"
