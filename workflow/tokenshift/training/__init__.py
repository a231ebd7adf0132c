"""Training on DeepSpeed: the engine, batches of sequences, and runs that survive interruption; next-token training.

In: a model folder or an architecture, and a corpus. Out: model folders with checkpoints and metrics. Read `engine` (one
optimiser step), `batches` and `log_probs`; then `run` (saved state and published model) and `supervised`;
`pretraining` makes a small model from nothing.
"""
