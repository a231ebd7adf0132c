"""Is every file what its record says, made as it would be made today? On demand: no other rule depends on these."""


localrules:
    audit,
    audit_page,


rule audit:
    log:
        f"{RESULTS}/logs/audit.log",
    conda:
        "../../envs/data.yaml"
    params:
        python=sys.executable,  # Snakemake's own, in every deployment: the audit asks it for the plan
        study=config["study"],
    message:
        "Auditing the study"
    shell:
        "{params.python:q} $SCRIPTS/audit.py --study {params.study:q} 2> {log}"


rule audit_page:
    output:
        report(f"{RESULTS}/audit.html", caption="../report/audit.rst", category="Provenance"),
    log:
        f"{RESULTS}/logs/audit_page.log",
    conda:
        "../../envs/data.yaml"
    params:
        python=sys.executable,
        study=config["study"],
    message:
        "Auditing the study for its report"
    shell:
        "{params.python:q} $SCRIPTS/audit.py --study {params.study:q} --page {output} 2> {log}"
