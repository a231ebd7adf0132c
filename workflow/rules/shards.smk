"""The parts that shards wrote, joined into one file for each stage; only in studies with several shards."""

if STUDY.compute.shards > 1:

    rule gather:
        input:
            parts=[
                f"{RESULTS}/{{stage}}/{{name}}/{number}-of-{STUDY.compute.shards}.parquet"
                for number in range(STUDY.compute.shards)
            ],
        output:
            f"{RESULTS}/{{stage}}/{{name}}.parquet",
        log:
            f"{RESULTS}/logs/{{stage}}/{{name}}.log",
        benchmark:
            f"{RESULTS}/benchmarks/{{stage}}/{{name}}.tsv"
        wildcard_constraints:
            stage="rollouts|scores|checkpoint_scores|cross_samples",
            name=r"(?!.*-of-\d+).*",
        conda:
            "../../envs/data.yaml"
        resources:
            mem_mb=4000,
            runtime=60,
        params:
            spec=spec_later("gather.py", "data"),
        message:
            "Joining the shards of {wildcards.stage}/{wildcards.name}"
        shell:
            "python $SCRIPTS/gather.py --spec {params.spec:q} --parts {input.parts} --output {output} 2> {log}"
