"""What the scores, cross-samples and rollouts say, with intervals; one CSV per table."""

SCORE_TABLES = [
    "sparsity",
    "position_profile",
    "entropy_by_js",
    "top_k_overlap",
    "rank_reordering",
    "low_probability",
    "mass_reallocation",
]


def all_scores():
    return expand(
        f"{RESULTS}/scores/{{pair}}/{{problem_set}}/{{trajectory}}.parquet",
        pair=STUDY.pairs,
        problem_set=STUDY.evaluation.sets,
        trajectory=STUDY.scoring.trajectories,
    )


def all_checkpoint_scores():
    """Of the pairs whose tuned model was trained here and kept checkpoints."""
    return expand(
        f"{RESULTS}/checkpoint_scores/{{pair}}/{{problem_set}}.parquet",
        pair=[name for name, pair in STUDY.pairs.items() if STUDY.checkpoint_steps(pair.tuned)],
        problem_set=STUDY.evaluation.sets,
    )


def all_cross_samples():
    return expand(
        f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{criterion}}.parquet",
        pair=STUDY.cross_sampling.pairs,
        problem_set=STUDY.evaluation.sets,
        direction=STUDY.cross_sampling.directions,
        criterion=["js", "random"] if STUDY.cross_sampling.random_control else ["js"],
    )


def all_rollouts():
    return expand(
        f"{RESULTS}/rollouts/{{model}}/{{problem_set}}.parquet",
        model=evaluated_models(),
        problem_set=STUDY.evaluation.sets,
    )


def all_vocabularies():
    return expand(f"{RESULTS}/vocabularies/{{pair}}.parquet", pair=STUDY.pairs)


def table_names():
    """Tables that this study has data for."""
    names = [*SCORE_TABLES, "token_identity", "training"]
    names += ["evolution"] if all_checkpoint_scores() else []
    names += ["cross_sampling"] if all_cross_samples() else []
    return [*names, "claims"]


def all_tables():
    return expand(f"{RESULTS}/tables/{{table}}.csv", table=table_names())


def training_groups():
    """Trained and base models by declared name and seed, for the comparison over seeds."""
    groups, base_of = {}, {}
    for model in evaluated_models():
        group = STUDY.group(model)
        groups.setdefault(group, {})[str(STUDY.models[model].seeds[0])] = model
        if STUDY.models[model].from_:
            base_of[group] = STUDY.group(STUDY.models[model].from_)
    for pair in STUDY.pairs.values():
        base_of.setdefault(STUDY.group(pair.tuned), STUDY.group(pair.base))
    return {
        "groups": groups,
        "base_of": base_of,
        "baseline": STUDY.training.baseline if STUDY.training else None,
        "compared": STUDY.training.models if STUDY.training else [],
    }


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
        conda:
            "../../envs/analysis.yaml"
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            script=f"{SCRIPTS}/tables/{table}.py",
            spec=spec(f"tables/{table}.py", "analysis", analysis=section(STUDY.analysis)),
        message:
            f"Table {table}"
        shell:
            "python {params.script} --spec {params.spec:q} --scores {input.scores} --output {output}" + LOGGED


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
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=spec("tables/token_identity.py", "analysis", analysis=section(STUDY.analysis)),
    message:
        "Table token_identity"
    shell:
        "python {SCRIPTS}/tables/token_identity.py --spec {params.spec:q} --scores {input.scores}"
        " --vocabularies {input.vocabularies} --output {output}" + LOGGED


rule table_evolution:
    input:
        checkpoint_scores=all_checkpoint_scores(),
    output:
        f"{RESULTS}/tables/evolution.csv",
    log:
        f"{RESULTS}/logs/tables/evolution.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/evolution.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=spec("tables/evolution.py", "analysis", analysis=section(STUDY.analysis)),
    message:
        "Table evolution"
    shell:
        "python {SCRIPTS}/tables/evolution.py --spec {params.spec:q} --checkpoint-scores {input.checkpoint_scores}"
        " --output {output}" + LOGGED


rule table_cross_sampling:
    input:
        cross_samples=all_cross_samples(),
    output:
        f"{RESULTS}/tables/cross_sampling.csv",
    log:
        f"{RESULTS}/logs/tables/cross_sampling.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/cross_sampling.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=spec("tables/cross_sampling.py", "analysis", analysis=section(STUDY.analysis)),
    message:
        "Table cross_sampling"
    shell:
        "python {SCRIPTS}/tables/cross_sampling.py --spec {params.spec:q} --cross-samples {input.cross_samples}"
        " --output {output}" + LOGGED


rule table_training:
    input:
        rollouts=all_rollouts(),
    output:
        f"{RESULTS}/tables/training.csv",
    log:
        f"{RESULTS}/logs/tables/training.log",
    benchmark:
        f"{RESULTS}/benchmarks/tables/training.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=spec("tables/training.py", "analysis", analysis=section(STUDY.analysis), **training_groups()),
    message:
        "Table training"
    shell:
        "python {SCRIPTS}/tables/training.py --spec {params.spec:q} --rollouts {input.rollouts}"
        " --output {output}" + LOGGED


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
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        spec=spec(
            "tables/claims.py",
            "analysis",
            pairs={name: {"control": pair.control} for name, pair in STUDY.pairs.items()},
            analysis=section(STUDY.analysis),
            training=training_groups(),
        ),
    message:
        "Table claims"
    shell:
        "python {SCRIPTS}/tables/claims.py --spec {params.spec:q} --scores {input.scores}"
        " --checkpoint-scores {input.checkpoint_scores} --cross-samples {input.cross_samples}"
        " --rollouts {input.rollouts} --output {output}" + LOGGED
