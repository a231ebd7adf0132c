"""What a study will cost, before it is run, and what it has cost.

In: the study, its problems where they are at hand, Snakemake's benchmarks. Out: hours, memory and disk of each stage.
Read `known`, `rates`, then `estimate`.
"""
