"""One policy: a model with its tokenizer, its forward passes, and the responses that are sampled from it.

In: Hugging Face model folders and problem sets. Out: hidden states, logits, rollouts/*.parquet. Read `models` (loading,
and which two models can be compared) and `policy`; then `generation`, which decodes the rows of `decoded` with
`cached_policy` over `kv_cache`, or `own_cache`, and `rollouts` (graded responses). `forward` is the other way to run a
model: along fixed responses. `context` asks beforehand whether they fit.
"""
