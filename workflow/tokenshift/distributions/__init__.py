"""Next-token distributions: how two of them differ, and how a token is drawn from one. Pure functions of logits.

In: blocks of logits (positions, vocabulary) of one or two policies. Out: divergences, entropies, ranks, nuclei,
candidate lists, drawn tokens. Read `log_probabilities` and `divergence` (the definitions), `sampling` (temperature,
nucleus, inverse CDF), `reduction` (everything that needs the whole vocabulary, in one pass) and `comparison` (every
column of a scores file); `candidates` finds the most probable tokens, and `kernels` are the loops that Numba compiles
for a CPU.
"""
