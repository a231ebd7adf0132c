"""What the scores, cross-samples and rollouts say, with intervals; one CSV per table.

At 50 million positions a table takes at most 50 s and 0.8 GB (benchmarks/tables.md): asked for is a multiple of that.
"""

for table in SCORE_TABLES:

    rule:
        name:
            f"table_{table}"
        input:
            scores=all_scores(),
        output:
            f"{RESULTS}/tables/{table}.csv",
        log:
            f"{RESULTS}/logs/tables/{table}.log",
        benchmark:
            f"{RESULTS}/benchmarks/tables/{table}.tsv"
        group:
            "tables"
        conda:
            "../../envs/analysis.yaml"
        resources:
            mem_mb=3000,
            tables=1,
            runtime=10,
        params:
            table=table,
            spec=spec(f"tables/{table}.py", "analysis", analysis=STUDY.analysis.plain()),
        message:
            f"Table {table}"
        shell:
            "python $SCRIPTS/tables/{params.table}.py --spec {params.spec:q} --scores {input.scores} --output {output} 2> >(tee {log} >&2)"


rule table_position_profile:
    input:
        scores=all_scores(),
        rollouts=all_rollouts(),
        cross_samples=scored_cross_samples(),
    output:
        f"{RESULTS}/tables/position_profile.csv",
    log:
        f"{RESULTS}/logs/tables/position_profile.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/position_profile.tsv"
    group:
        "tables"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        tables=1,
        runtime=10,
    params:
        spec=spec(
            "tables/position_profile.py",
            "analysis",
            pairs={name: {"base": pair.base, "tuned": pair.tuned} for name, pair in STUDY.pairs.items()},
            analysis=STUDY.analysis.plain(),
        ),
    message:
        "Table position_profile"
    shell:
        "python $SCRIPTS/tables/position_profile.py --spec {params.spec:q} --scores {input.scores}"
        " --rollouts {input.rollouts} --cross-samples {input.cross_samples} --output {output} 2> >(tee {log} >&2)"


rule table_token_identity:
    input:
        scores=all_scores(),
        vocabularies=all_vocabularies(),
    output:
        f"{RESULTS}/tables/token_identity.csv",
    log:
        f"{RESULTS}/logs/tables/token_identity.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/token_identity.tsv"
    group:
        "tables"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        tables=1,
        runtime=10,
    params:
        spec=spec("tables/token_identity.py", "analysis", analysis=STUDY.analysis.plain()),
    message:
        "Table token_identity"
    shell:
        "python $SCRIPTS/tables/token_identity.py --spec {params.spec:q} --scores {input.scores}"
        " --vocabularies {input.vocabularies} --output {output} 2> >(tee {log} >&2)"


rule table_truncation:
    input:
        scores=all_scores(),
    output:
        f"{RESULTS}/tables/truncation.csv",
    log:
        f"{RESULTS}/logs/tables/truncation.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/truncation.tsv"
    group:
        "tables"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        tables=1,
        runtime=10,
    params:
        spec=spec(
            "tables/truncation.py",
            "analysis",
            scoring={
                "truncation": evaluation_truncation(),
                "ablation": [further.plain() for further in STUDY.scoring.ablation],
            },
            analysis=STUDY.analysis.plain(),
        ),
    message:
        "Table truncation"
    shell:
        "python $SCRIPTS/tables/truncation.py --spec {params.spec:q} --scores {input.scores}"
        " --output {output} 2> >(tee {log} >&2)"


rule table_evolution:
    input:
        checkpoint_scores=all_checkpoint_scores(),
    output:
        f"{RESULTS}/tables/evolution.csv",
    log:
        f"{RESULTS}/logs/tables/evolution.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/evolution.tsv"
    group:
        "tables"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        tables=1,
        runtime=10,
    params:
        spec=spec("tables/evolution.py", "analysis", analysis=STUDY.analysis.plain()),
    message:
        "Table evolution"
    shell:
        "python $SCRIPTS/tables/evolution.py --spec {params.spec:q} --checkpoint-scores {input.checkpoint_scores}"
        " --output {output} 2> >(tee {log} >&2)"


for table in SWEEP_TABLES:

    rule:
        name:
            f"table_{table}"
        input:
            cross_samples=all_cross_samples(),
        output:
            f"{RESULTS}/tables/{table}.csv",
        log:
            f"{RESULTS}/logs/tables/{table}.log",
        benchmark:
            f"{RESULTS}/benchmarks/tables/{table}.tsv"
        group:
            "tables"
        conda:
            "../../envs/analysis.yaml"
        resources:
            mem_mb=3000,
            tables=1,
            runtime=10,
        params:
            table=table,
            spec=spec(f"tables/{table}.py", "analysis", analysis=STUDY.analysis.plain()),
        message:
            f"Table {table}"
        shell:
            "python $SCRIPTS/tables/{params.table}.py --spec {params.spec:q} --cross-samples {input.cross_samples}"
            " --output {output} 2> >(tee {log} >&2)"


rule table_training:
    input:
        rollouts=all_rollouts(),
    output:
        f"{RESULTS}/tables/training.csv",
    log:
        f"{RESULTS}/logs/tables/training.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/training.tsv"
    group:
        "tables"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        tables=1,
        runtime=10,
    params:
        spec=spec("tables/training.py", "analysis", analysis=STUDY.analysis.plain(), **training_groups()),
    message:
        "Table training"
    shell:
        "python $SCRIPTS/tables/training.py --spec {params.spec:q} --rollouts {input.rollouts}"
        " --output {output} 2> >(tee {log} >&2)"


rule table_training_curves:
    input:
        models=[manifest(model) for model in rl_models()],
    output:
        f"{RESULTS}/tables/training_curves.csv",
    log:
        f"{RESULTS}/logs/tables/training_curves.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/training_curves.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folders=[str(Path(manifest(model)).parent) for model in rl_models()],
        spec=spec(
            "tables/training_curves.py",
            "analysis",
            groups=by_group(rl_models()),
            analysis=STUDY.analysis.plain(),
        ),
    message:
        "Table training_curves"
    shell:
        "python $SCRIPTS/tables/training_curves.py --spec {params.spec:q} --models {params.folders}"
        " --output {output} 2> >(tee {log} >&2)"


rule table_claims:
    input:
        scores=all_scores(),
        checkpoint_scores=all_checkpoint_scores(),
        cross_samples=all_cross_samples(),
        rollouts=all_rollouts(),
    output:
        report(f"{RESULTS}/tables/claims.csv", caption="../report/claims_table.rst", category="Claims"),
    log:
        f"{RESULTS}/logs/tables/claims.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/claims.tsv"
    group:
        "tables"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=3000,
        tables=1,
        runtime=10,
    params:
        spec=spec(
            "tables/claims.py",
            "analysis",
            pairs={name: {"control": pair.control} for name, pair in STUDY.pairs.items()},
            analysis=STUDY.analysis.plain(),
            training=training_groups(),
        ),
    message:
        "Table claims"
    shell:
        "python $SCRIPTS/tables/claims.py --spec {params.spec:q} --scores {input.scores}"
        " --checkpoint-scores {input.checkpoint_scores} --cross-samples {input.cross_samples}"
        " --rollouts {input.rollouts} --output {output} 2> >(tee {log} >&2)"
