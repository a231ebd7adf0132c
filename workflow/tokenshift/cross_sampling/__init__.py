"""Decoding with two policies (arXiv 2603.22446, analysis 2): which of the differing tokens cause the gain.

In: two policies, problems, and scores from which thresholds are chosen. Out: cross_samples/*.parquet. Read `scores`
(what a switching rule looks at), `trace` (what is known of a response, and what a threshold makes of it), `decoder`
(draft, verify, accept) with `prompted` (a policy after its prompts), `rows`, `drafts` and `resources`; then `sweeps`
(all thresholds of a criterion) and `controls` (switching at random with a matched budget), which counts in the bins of
`positions`.
"""
