"""One schema per kind of Parquet file: the contracts between the stages.

Probabilities are in [0, 1], log-probabilities, divergences and entropies in nats. Positions count from 0 at the first
response token; a final end-of-sequence token is a position. Ranks count from 1 (the most probable token). "base" and
"tuned" are the two policies of a pair.
"""

import pyarrow as pa

TOKENS = pa.list_(pa.int32())

PROBLEMS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("problem", pa.string()),
        ("answer", pa.string()),
        ("answer_kind", pa.string()),  # how it is graded: math, choice, text or integer
        ("metadata", pa.string()),  # JSON: whatever else the source said of this problem
    ]
)

CORPUS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("problem", pa.string()),
        ("solution", pa.string()),
        ("manner", pa.string()),
    ]
)

# Of a pair, by id; null where a tokenizer has no such token. Only shared tokens are compared, and only they are drawn
# when both models decode together.
VOCABULARY = pa.schema(
    [
        ("token_id", pa.int32()),
        ("token_base", pa.string()),
        ("token_tuned", pa.string()),
        ("shared", pa.bool_()),
    ]
)

ROLLOUTS = pa.schema(
    [
        ("problem_id", pa.string()),
        ("sample", pa.int32()),
        ("prompt_token_ids", TOKENS),
        ("response_token_ids", TOKENS),
        ("response", pa.string()),
        ("finish_reason", pa.string()),  # "stop" (end-of-sequence drawn) or "length"
        ("extracted_answer", pa.string()),  # null where the response holds none
        ("answer_position", pa.int32()),  # of the token that completes its first character
        ("correct", pa.bool_()),
    ]
)

# In the distributions of the two policies at one response position:
# js: full vocabulary at temperature 1; js_nucleus: at the sampling temperature, truncated to top-p, renormalised.
# js_ablation: as js_nucleus, at each truncation of scoring.ablation in turn.
# top_shared: how many of the k most probable tokens the two have in common, for k = 1 to scoring.top_k. The lists of
# these tokens end at probability scoring.list_minimum.
# The six masses are full-vocabulary probabilities (at the sampling temperature) of tokens in both nuclei ("shared"),
# in the base's alone and in the tuned policy's alone.
SCORES = pa.schema(
    [
        ("problem_id", pa.string()),
        ("sample", pa.int32()),
        ("position", pa.int32()),
        ("token_id", pa.int32()),
        ("js", pa.float32()),
        ("js_nucleus", pa.float32()),
        ("js_ablation", pa.list_(pa.float32())),
        ("kl_base_tuned", pa.float32()),
        ("kl_tuned_base", pa.float32()),
        ("entropy_base", pa.float32()),
        ("entropy_tuned", pa.float32()),
        ("logp_base", pa.float32()),
        ("logp_tuned", pa.float32()),
        ("rank_in_base_of_tuned_top1", pa.int32()),
        ("rank_in_tuned_of_base_top1", pa.int32()),
        ("logp_base_of_tuned_top1", pa.float32()),
        ("logp_tuned_of_base_top1", pa.float32()),
        ("nucleus_size_base", pa.int32()),
        ("nucleus_size_tuned", pa.int32()),
        ("mass_base_shared", pa.float32()),
        ("mass_base_base_only", pa.float32()),
        ("mass_base_tuned_only", pa.float32()),
        ("mass_tuned_shared", pa.float32()),
        ("mass_tuned_base_only", pa.float32()),
        ("mass_tuned_tuned_only", pa.float32()),
        ("mass_base_unshared", pa.float32()),  # on tokens that the other policy lacks; all else is of the shared ones
        ("mass_tuned_unshared", pa.float32()),
        ("top_shared", pa.list_(pa.int8())),
        ("top_ids_base", TOKENS),  # most probable first
        ("top_logps_base", pa.list_(pa.float32())),
        ("top_ids_tuned", TOKENS),
        ("top_logps_tuned", pa.list_(pa.float32())),
    ]
)

# Checkpoints of one training run against its base, along the tuned policy's responses.
CHECKPOINT_SCORES = pa.schema(
    [
        ("step", pa.int32()),
        ("problem_id", pa.string()),
        ("sample", pa.int32()),
        ("position", pa.int32()),
        ("js", pa.float32()),
        ("js_nucleus", pa.float32()),
    ]
)

# threshold: of the switching rule; +inf switches nowhere ("none"), -inf everywhere ("all"). For a random control,
# the threshold of the js run that it matches.
CROSS_SAMPLES = pa.schema(
    [
        ("threshold", pa.float64()),
        *ROLLOUTS,
        ("switched", pa.list_(pa.bool_())),  # the rule fired: the token was drawn from the intervention
        ("replaced", pa.list_(pa.bool_())),  # ... and differs from what the primary would have drawn
        ("primary_token_ids", TOKENS),  # what the primary would have drawn at each position
        ("near_ties", pa.int32()),  # decisions whose margin was below the decoder's tolerance
    ]
)
