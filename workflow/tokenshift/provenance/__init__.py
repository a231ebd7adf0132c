"""What made each file, and whether it would be made so today.

In: the files, and Snakemake's plan of the study. Out: a record beside each file, the audit, a figure made again, an
RO-Crate. Read `hashes` (of code and files), `packages` and `records` (what a job leaves); then `plan`, `audit` (records
against the plan) and `lineage` (an audit in words); `rebuild` and `crate` use them.
"""
