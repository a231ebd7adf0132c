"""Figures: one rule and one script each, drawn from the table of the same name; the CSV holds what is drawn.

`figure_1` alone tells the whole story in four panels, from three tables; of the first pair that is cross-sampled, or the first.

A figure takes at most 6 s and 0.3 GB, whatever the size of the study.
"""

CATEGORIES = {
    "claims": "Claims",
    "sparsity": "Where the policies differ",
    "position_profile": "Where the policies differ",
    "entropy_by_js": "Where the policies differ",
    "js_entropy": "Where the policies differ",
    "token_identity": "Where the policies differ",
    "truncation": "Where the policies differ",
    "cross_sampling": "Which differences cause the gain",
    "recovered_gain": "Which differences cause the gain",
    "budget_frontier": "Which differences cause the gain",
    "replacement_positions": "Which differences cause the gain",
    "top_k_overlap": "What the differences are made of",
    "first_choices": "What the differences are made of",
    "mass_reallocation": "What the differences are made of",
    "evolution": "Training",
    "training": "Training",
    "training_curves": "Training",
}


# What figures need beside their table: the names of all pairs, for their colours, and thresholds that they name.
PAIRS = {"pairs": sorted(STUDY.pairs)}
HIGH = PAIRS | {"high": STUDY.analysis.high}
THRESHOLDS = HIGH | {"near_zero": STUDY.analysis.near_zero}
FIGURE_SETTINGS = {
    **dict.fromkeys(["position_profile", "evolution"], PAIRS),
    **dict.fromkeys(["top_k_overlap", "first_choices", "mass_reallocation", "token_identity"], HIGH),
    **dict.fromkeys(["sparsity", "truncation"], THRESHOLDS),
    "entropy_by_js": PAIRS | {"low_entropy": STUDY.analysis.claims.low_entropy},
}

FIGURES = [*TABLES, "figure_1"]

for figure in TABLES:

    rule:
        name:
            f"figure_{figure}"
        input:
            table=f"{RESULTS}/tables/{figure}.csv",
        output:
            pdf=f"{RESULTS}/figures/{figure}.pdf",
            png=report(
                f"{RESULTS}/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category=CATEGORIES[figure],
                labels={"figure": figure.replace("_", " ")},
            ),
            csv=f"{RESULTS}/figures/{figure}.csv",
        log:
            f"{RESULTS}/logs/figures/{figure}.log",
        benchmark:
            f"{RESULTS}/benchmarks/figures/{figure}.tsv"
        group:
            "tables"
        conda:
            "../../envs/analysis.yaml"
        resources:
            mem_mb=1000,
            tables=1,
            runtime=5,
        params:
            figure=figure,
            spec=spec_later(f"figures/{figure}.py", "analysis", **FIGURE_SETTINGS.get(figure, {})),
        message:
            f"Figure {figure}"
        shell:
            "python $SCRIPTS/figures/{params.figure}.py --spec {params.spec:q} --table {input.table} --output-pdf {output.pdf}"
            " --output-png {output.png} --output-csv {output.csv} 2> {log}"


# Drawn from several tables, it would bind their jobs together if it were of their group.
rule figure_1:
    input:
        tables=[
            f"{RESULTS}/tables/{table}.csv"
            for table in ("sparsity", "token_identity", "cross_sampling")
            if table in TABLES
        ],
    output:
        pdf=f"{RESULTS}/figures/figure_1.pdf",
        png=report(
            f"{RESULTS}/figures/figure_1.png",
            caption="../report/figure_1.rst",
            category="The finding",
            labels={"figure": "figure 1"},
        ),
        csv=f"{RESULTS}/figures/figure_1.csv",
    log:
        f"{RESULTS}/logs/figures/figure_1.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/figure_1.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        spec=lambda w: spec(
            "figures/figure_1.py",
            "analysis",
            pair=[*STUDY.cross_sampling.pairs, *STUDY.pairs][0],
            set=STUDY.evaluation.sets[0],
            **HIGH,
        ),
    message:
        "Figure 1"
    shell:
        "python $SCRIPTS/figures/figure_1.py --spec {params.spec:q} --table {input.tables} --output-pdf {output.pdf}"
        " --output-png {output.png} --output-csv {output.csv} 2> {log}"
