"""Reinforcement learning with verifiable rewards, with weighted advantages (arXiv 2603.22446, analysis 4).

In: a model folder and a problem set. Out: a model folder with checkpoints and metrics. Read `losses`, `advantages` and
`weights` (the formulas), `objective` (put together), `rollout_batches` (what is sampled), `decoders` (by what),
`trainer` (one update) and `loop` (the run).
"""
