"""The study's tables: one module per analysis, each from Parquet files to the rows of one CSV.

Every row ends with estimate, ci_low, ci_high (null where undefined), n_problems and n_tokens. A cell that no position
falls into is kept, with a null estimate and n_tokens 0, so that a table's shape does not depend on the data.
"""
