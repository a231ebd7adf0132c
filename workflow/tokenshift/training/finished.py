"""What finished training runs keep until it is certain that their models are published.

The main process of Snakemake imports this, so it imports nothing that takes long.
"""

import shutil
from collections.abc import Collection
from pathlib import Path

LASTING = ("spec.json", "times.jsonl", "tensorboard")  # what stays in a run's folder for good
FINISHED = "finished.json"


def forget_finished(states: Path, complete: Collection[str]) -> None:
    """Delete what the runs of the `complete` models, by name, would go on from; `states` holds a folder for each model.

    To be called with the models that Snakemake and their records know to be complete.
    """
    for model in complete:
        for folder in (states / model).glob("*/"):
            for file in [file for file in folder.iterdir() if file.name not in LASTING]:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
