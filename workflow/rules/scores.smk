"""Both models of a pair along fixed responses."""


rule scores:
    input:
        unpack(pair_models),
        vocabulary=f"{RESULTS}/vocabularies/{{pair}}.parquet",
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        responses=trajectory_responses,
    output:
        part(f"{RESULTS}/scores/{{pair}}/{{problem_set}}/{{trajectory}}.parquet"),
    log:
        part(f"{RESULTS}/logs/scores/{{pair}}/{{problem_set}}/{{trajectory}}.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/scores/{{pair}}/{{problem_set}}/{{trajectory}}.tsv")
    conda:
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        **holding(pair_sizes),
    params:
        shard=shard,
        spec=lambda w: spec("score.py", "inference", trajectory=w.trajectory, **scoring_spec(w)),
    message:
        "Scoring {wildcards.pair} along the {wildcards.trajectory} responses to {wildcards.problem_set}"
    shell:
        "{resources.launch} $SCRIPTS/score.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --vocabulary {input.vocabulary} --problems {input.problems} --responses {input.responses} --shard {params.shard}"
        " --output {output} 2> {log}"


rule checkpoint_scores:
    input:
        unpack(pair_models),
        vocabulary=f"{RESULTS}/vocabularies/{{pair}}.parquet",
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        rollouts=lambda w: f"{RESULTS}/rollouts/{STUDY.pairs[w.pair].tuned}/{w.problem_set}.parquet",
    output:
        part(f"{RESULTS}/checkpoint_scores/{{pair}}/{{problem_set}}.parquet"),
    log:
        part(f"{RESULTS}/logs/checkpoint_scores/{{pair}}/{{problem_set}}.log"),
    benchmark:
        part(f"{RESULTS}/benchmarks/checkpoint_scores/{{pair}}/{{problem_set}}.tsv")
    conda:
        "../../envs/inference.yaml"
    threads: STUDY.compute.threads
    resources:
        **holding(pair_sizes),
    params:
        shard=shard,
        spec=lambda w: spec(
            "checkpoint_scores.py",
            "inference",
            steps=STUDY.checkpoint_steps(STUDY.pairs[w.pair].tuned),
            **scoring_spec(w),
        ),
    message:
        "Scoring the checkpoints of {wildcards.pair} along its tuned responses to {wildcards.problem_set}"
    shell:
        "{resources.launch} $SCRIPTS/checkpoint_scores.py --spec {params.spec:q}"
        " --base $(dirname {input.base}) --tuned $(dirname {input.tuned})"
        " --vocabulary {input.vocabulary} --problems {input.problems} --rollouts {input.rollouts} --shard {params.shard}"
        " --output {output} 2> {log}"
