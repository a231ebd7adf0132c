"""Estimates with their intervals: one module per table, each from Parquet files to the rows of one CSV.

In: scores, checkpoint scores, cross-samples, rollouts, metrics. Out: tables/*.csv. Every row ends with estimate,
ci_low, ci_high (null where undefined), n_problems and n_tokens. A cell that no position falls into is kept, with a null
estimate and n_tokens 0, so that a table's shape does not depend on the data. Read `statistics` (the bootstrap), `cells`
(a row as a ratio of two sums) and `files`; then any table; `claims` last.
"""
