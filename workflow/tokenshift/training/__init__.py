"""Training on DeepSpeed: the engine, batches of sequences, log-probabilities, supervised training."""
