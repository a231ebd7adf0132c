"""What the scores, cross-samples and rollouts say, with intervals; one CSV per table.

At 50 million positions a table takes at most 50 s and 0.8 GB (benchmarks/tables.md): asked for is a multiple of that.
"""


def tables():
    """Tables that this study has data for: of each the files that it is made from, by kind, and its settings."""
    measures = {"analysis": part_of(STUDY.analysis, Measures)}
    intervals = {"bootstrap": STUDY.analysis.bootstrap.plain()}
    bounds = STUDY.analysis.claims
    scores, sweeps = {"scores": all_scores()}, {"cross_samples": all_cross_samples()}
    checkpoint_scores, rollouts = {"checkpoint_scores": all_checkpoint_scores()}, {"rollouts": all_rollouts()}
    pairs = {name: {"base": pair.base, "tuned": pair.tuned} for name, pair in STUDY.pairs.items()}
    yield "sparsity", scores, measures
    yield "entropy_by_js", scores, measures | {"low_entropy": bounds.low_entropy}
    yield "js_entropy", scores, measures
    yield "top_k_overlap", scores, measures
    yield "first_choices", scores, measures
    yield "mass_reallocation", scores, measures
    along = {**scores, **rollouts, "cross_samples": scored_cross_samples()}
    yield "position_profile", along, measures | {"pairs": pairs}
    yield "token_identity", scores | {"vocabularies": all_vocabularies()}, measures
    yield "training", rollouts, intervals | {"training": training_groups()}
    if STUDY.scoring.ablation:
        ablation = [further.plain() for further in STUDY.scoring.ablation]
        yield "truncation", scores, measures | {"truncation": evaluation_truncation(), "ablation": ablation}
    if rl_models():
        over_seeds = {"groups": by_group(rl_models()), "confidence": STUDY.analysis.bootstrap.confidence}
        yield "training_curves", {"models": [manifest(model) for model in rl_models()]}, over_seeds
    if all_checkpoint_scores():
        yield "evolution", checkpoint_scores, measures
    if all_cross_samples():
        yield "cross_sampling", sweeps, intervals
        yield "recovered_gain", sweeps, intervals
        yield "budget_frontier", sweeps, measures
        yield "replacement_positions", sweeps, measures | {"budget": bounds.budget}
    judged = {
        "analysis": STUDY.analysis.plain(),
        "control_of": {name: pair.control for name, pair in STUDY.pairs.items()},
        "training": training_groups(),
        "weighted": weighted_groups(),
    }
    weighted = {"models": [manifest(model) for model in weighted_models()]}
    yield "claims", scores | checkpoint_scores | sweeps | rollouts | weighted, judged


TABLES = [table for table, *_ in tables()]

for table, files, settings in tables():
    csv = f"{RESULTS}/tables/{table}.csv"

    rule:
        name:
            f"table_{table}"
        input:
            **files,
        output:
            report(csv, caption="../report/claims_table.rst", category="Claims") if table == "claims" else csv,
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
            files=lambda w, input: " ".join(f"--{kind.replace('_', '-')} {paths}" for kind, paths in input.items()),
            spec=spec_later(f"tables/{table}.py", "analysis", allow_overlap=STUDY.allow_overlap, **settings),
        message:
            f"Table {table}"
        shell:
            "python $SCRIPTS/tables/{params.table}.py --spec {params.spec:q} {params.files} --output {output} 2> {log}"
