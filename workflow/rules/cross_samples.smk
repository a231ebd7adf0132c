"""Responses decoded with both policies of a pair; all thresholds of a sweep in one job."""


rule cross_samples:
    input:
        unpack(pair_models),
        vocabulary=f"{RESULTS}/vocabularies/{{pair}}.parquet",
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        scores=primary_scores,
    output:
        part(f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{criterion}}.parquet"),
    log:
        part(f"{RESULTS}/logs/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{criterion}}.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{criterion}}.tsv")
    wildcard_constraints:
        criterion=one_of(STUDY.cross_sampling.criteria),
    conda:
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        **holding(pair_sizes),
    params:
        shard=shard,
        spec=lambda w: spec(
            "cross_sample.py",
            "inference",
            criterion=w.criterion,
            quantiles=STUDY.cross_sampling.quantiles,
            thresholds=STUDY.cross_sampling.thresholds,
            **sweep_spec(w),
        ),
    message:
        "Cross-sampling {wildcards.pair} {wildcards.direction} by {wildcards.criterion} on {wildcards.problem_set}"
    shell:
        "{resources.launch} $SCRIPTS/cross_sample.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --vocabulary {input.vocabulary} --problems {input.problems} --scores {input.scores} --shard {params.shard}"
        " --output {output} 2> {log}"


rule cross_samples_random:
    input:
        unpack(pair_models),
        vocabulary=f"{RESULTS}/vocabularies/{{pair}}.parquet",
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        matched=f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-js.parquet",
        pilot=pilot_run,
    output:
        part(f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{control}}.parquet"),
    log:
        part(f"{RESULTS}/logs/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{control}}.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{control}}.tsv")
    wildcard_constraints:
        control=one_of(STUDY.cross_sampling.random_controls),
    conda:
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        **holding(pair_sizes),
    params:
        shard=shard,
        spec=lambda w: spec("cross_sample_random.py", "inference", control=w.control, **sweep_spec(w)),
    message:
        "Cross-sampling {wildcards.pair} {wildcards.direction} by control {wildcards.control} on {wildcards.problem_set}"
    shell:
        "{resources.launch} $SCRIPTS/cross_sample_random.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --vocabulary {input.vocabulary} --problems {input.problems} --matched {input.matched} --pilot {input.pilot}"
        " --shard {params.shard}"
        " --output {output} 2> {log}"
