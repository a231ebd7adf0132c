"""What a training run reports: metrics and times of each step, and both for TensorBoard where that is installed."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from tokenshift.atomic import atomic_file
from tokenshift.training.world import World

Row = dict[str, float | int | None]


class Metrics:
    """The files that a training run reports to. The first process writes them; on the others nothing happens.

    metrics.jsonl, in the model folder, holds no times: two runs of one study write the same bytes. times.jsonl and
    tensorboard/ are beside the model folder.
    """

    def __init__(self, root: Path, model_folder: Path):
        self._root = root
        self.file = model_folder / "metrics.jsonl"
        self._times = root / "times.jsonl"
        self._first = World.current().first
        self._board: Any = None
        self._purge_step: int | None = None

    def rewind(self, step: int, saved: Path | None) -> None:
        """Forget all that was reported after `step`; `saved` holds what was, none where nothing was."""
        if step == 0:
            self._times.unlink(missing_ok=True)
            shutil.rmtree(self._root / "tensorboard", ignore_errors=True)
        with atomic_file(self.file) as temporary:
            shutil.copyfile(saved, temporary) if saved else temporary.touch()
        self._purge_step = step + 1

    def report(self, step: int, metrics: Row, times: Row) -> None:
        """Append what is reported of `step`."""
        if not self._first:
            return
        for file, row in ((self.file, metrics), (self._times, times)):
            with open(file, "a") as lines:
                lines.write(json.dumps({"step": step, **row}) + "\n")
        self._to_board(step, metrics | times)

    def _to_board(self, step: int, row: Row) -> None:
        if self._board is None and importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self._root / "tensorboard"), purge_step=self._purge_step)
        if self._board is not None:
            for name, value in row.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what TensorBoard's writer still holds back."""
        if self._board is not None:
            self._board.close()
