"""Problem sets and corpora, and the grading of answers.

In: generators, JSON-lines files and data sets, as the study file describes them. Out: problems/*.parquet and
corpora/*.parquet (tokenshift.schemas), the token ids of a problem's prompt, and verdicts on responses. Read `sources`,
then `sets` and `corpora`; `prompts`; then `answers` (where the final answer of a response is) and `grading` (whether it
is right).
"""
