from snakemake.utils import min_version

min_version("9.14")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/problems.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/rollouts.smk"
include: "workflow/rules/scores.smk"
include: "workflow/rules/cross_samples.smk"
include: "workflow/rules/shards.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/viewer.smk"
include: "workflow/rules/start.smk"
include: "workflow/rules/audit.smk"


localrules:
    all,


rule all:
    default_target: True
    input:
        expand(f"{RESULTS}/tables/{{table}}.csv", table=TABLES),
        expand(f"{RESULTS}/figures/{{figure}}.{{form}}", figure=FIGURES, form=["pdf", "png", "csv"]),
        expand(f"{RESULTS}/viewer/{{pair}}-{{problem_set}}.html", pair=STUDY.pairs, problem_set=STUDY.evaluation.sets),


onsuccess:
    print(summary(Path(RESULTS)))
