"""Both policies of a pair along fixed responses, position by position, by teacher forcing.

In: two policies and a trajectory (rollouts of either, or cross-samples). Out: scores/*.parquet and
checkpoint_scores/*.parquet. Read `trajectories` (whose responses), then `teacher_forcing` (batches, chunks, columns).
"""
