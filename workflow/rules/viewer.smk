"""The token viewer: responses of a pair with their scores and cross-samples, to be read in a browser.

A page of 960 responses of 5,000 tokens takes a minute and 0.5 GB (benchmarks/viewer.md).
"""


rule viewer:
    input:
        problems=f"{RESULTS}/problems/{{problem_set}}.parquet",
        vocabulary=f"{RESULTS}/vocabularies/{{pair}}.parquet",
        base=lambda w: f"{RESULTS}/rollouts/{STUDY.pairs[w.pair].base}/{w.problem_set}.parquet",
        tuned=lambda w: f"{RESULTS}/rollouts/{STUDY.pairs[w.pair].tuned}/{w.problem_set}.parquet",
        scores=shown_scores,
        cross_samples=shown_sweeps,
    output:
        page=report(
            f"{RESULTS}/viewer/{{pair}}-{{problem_set}}.html",
            caption="../report/viewer.rst",
            category="Tokens",
            labels={"pair": "{pair}", "set": "{problem_set}"},
        ),
        chunks=f"{RESULTS}/viewer/{{pair}}-{{problem_set}}/manifest.json",
    log:
        f"{RESULTS}/logs/viewer/{{pair}}-{{problem_set}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/viewer/{{pair}}-{{problem_set}}.tsv"
    conda:
        "../../envs/analysis.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        spec=lambda w: spec(
            "viewer.py",
            "analysis",
            page=file_hash(ROOT / "workflow/tokenshift/viewer/page.html"),
            study=STUDY.name,
            pair=w.pair,
            set=w.problem_set,
            base=STUDY.pairs[w.pair].base,
            tuned=STUDY.pairs[w.pair].tuned,
            truncation=evaluation_truncation(),
            high=STUDY.analysis.high,
        ),
    message:
        "Viewer of {wildcards.pair} on {wildcards.problem_set}"
    shell:
        "python $SCRIPTS/viewer.py --spec {params.spec:q} --problems {input.problems} --vocabulary {input.vocabulary}"
        " --base {input.base} --tuned {input.tuned} --scores {input.scores} --cross-samples {input.cross_samples}"
        " --output {output.page} --output-chunks $(dirname {output.chunks}) 2> {log}"
