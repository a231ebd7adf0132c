"""What jobs ask of SLURM, and what is checked before a run starts.

In: the study's `compute` section and sizes of models. Out: resources of jobs, refusals with a remedy, ranks of training
processes. Read `resources`, `start`, then `ranks`.
"""
