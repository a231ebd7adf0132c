"""A training run that may be stopped at any moment and goes on from its last saved step as if it had not been.

Its state is in a folder, which is no output of any rule, with a name that is a hash of all that the run depends on:

    FOLDER/KEY/spec.json    all that the run depends on
               lock         held by the process that trains here, which may be what is left of a lost job
               step-N/      the state after that step (saved_state); the last two are kept
               failed-step-N/  what a step whose loss was not finite started from
               model/       what the finished run publishes: metrics.jsonl, checkpoints/ and, last, the model itself
               finished.json    the hashes of model/, once it is complete; both stay until a later start of the workflow
                            finds the published model complete (finished)
               times.jsonl, tensorboard/    what differs between two equal runs; these stay for good
"""

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from transformers import PreTrainedTokenizerBase

from tokenshift.atomic import atomic_folder, sync_folder, synced_sha256, write_json
from tokenshift.errors import StudyError
from tokenshift.training.engine import NonFiniteLoss
from tokenshift.training.finished import FINISHED
from tokenshift.training.metrics import Metrics
from tokenshift.training.outputs import export
from tokenshift.training.run_folder import checkpoint_folder, link_or_copy, locked, require_own, spec_key
from tokenshift.training.saved_state import (
    METRICS,
    STATE,
    Position,
    differing_file,
    last_whole_state,
    load_state,
    read_state,
    save_state,
    write_state,
)
from tokenshift.training.world import World

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


class Stopped(StudyError):
    """The run was asked to stop, and has saved its state."""


class Run:
    """One training run: its engine, its folder, and what it has reported so far."""

    def __init__(
        self,
        folder: str | Path,
        spec: dict[str, Any],
        engine: "DeepSpeedEngine",
        tokenizer: PreTrainedTokenizerBase,
        card: str,
        save_every: int,
    ):
        """A run whose state is in `folder`.

        Args:
            folder: where the states of runs are, each in a folder of its own.
            spec: all that the run depends on, hashes of its inputs included.
            engine: trains the model.
            tokenizer: exported with the model.
            card: model card, exported with the model.
            save_every: steps between saves of the state.

        Raises StudyError when the run's folder holds the state of another spec, and while another process trains in it.
        """
        self.engine = engine
        self.tokenizer = tokenizer
        self.world = World.current()
        self._card = card
        self._save_every = save_every
        self._spec = json.loads(json.dumps(spec | {"processes": self.world.size}))  # as it is read back from its file
        self.root = Path(folder) / spec_key(self._spec)
        self.model_folder = self.root / "model"
        if self.world.first:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            require_own(self.root)
            self._lock = locked(self.root / "lock")
        self._check_spec()
        self._signal: int | None = None
        self._position: Position = {}  # the last one given to `restore` or `finish_step`
        self._saved: int | None = None
        self._published: dict[str, str] = {}  # SHA-256 of the files of checkpoints, on the first process
        self.metrics = Metrics(self.root, self.model_folder)

    def _check_spec(self) -> None:
        known = self.root / "spec.json"
        try:
            same = not known.is_file() or json.loads(known.read_text()) == self._spec
        except ValueError:
            same = False
        if not same:
            raise StudyError(f"{self.root} holds the state of another run (see its spec.json); delete it to start anew")
        if self.world.first:
            self.model_folder.mkdir(parents=True, exist_ok=True)
            write_json(known, self._spec)
        self.world.barrier()

    def restore(self, start: Position) -> Position:
        """Put the engine and the reports where the last saved step left them; returns that position.

        Without a saved step, the run is at `start`; once it is finished, it is at its last step, and the engine is left
        as it is. Raises StudyError when no saved state is as it was saved any more.
        """
        self._position = self._finished_position() or self._last_position(start)
        return self._position

    def _finished_position(self) -> Position | None:
        """The last position, if this run was finished before."""
        if not (self.root / FINISHED).is_file():
            return None
        try:
            position, hashes = read_state(self.root / FINISHED)
            fault = differing_file(self.root, hashes)
        except ValueError as error:
            fault = str(error)
        if fault:
            raise StudyError(f"a finished model is not whole: {fault}; delete {self.root} to train it again")
        self._published, self._saved = hashes, position["step"]
        return position

    def _last_position(self, start: Position) -> Position:
        folder, wrong = last_whole_state(self.root)
        position, metrics = start, None
        if folder is not None:
            position, hashes = read_state(folder / STATE)
            load_state(self.root, folder, self.engine)
            self._saved, metrics = position["step"], folder / METRICS
            self._published = {file: hashed for file, hashed in hashes.items() if not file.startswith(folder.name)}
        self.world.barrier()
        if self.world.first:
            for words in wrong:
                print(f"{words}; going on from step {position['step']}", file=sys.stderr)
            self.metrics.rewind(position["step"], metrics)
            self._forget_after(position["step"])
        self.world.barrier()
        return position

    def _forget_after(self, step: int) -> None:
        """Delete what is left of later steps, which are taken again."""
        for folder in [*self.root.glob("step-*"), *self.model_folder.glob("checkpoints/step-*")]:
            if int(folder.name.removeprefix("step-")) > step:
                shutil.rmtree(folder)

    @property
    def fresh(self) -> bool:
        """Whether no state of this run has been saved so far, so that nothing it reported counts."""
        return self._saved is None

    def save(self, position: Position) -> None:
        """Save all that the rest of the run depends on; then delete the states that were saved before the last two."""
        save_state(self.root, self.engine, position, self.metrics.file, self._published)
        if self.world.first:
            for folder in self.root.glob("step-*"):
                if folder.name not in {f"step-{step}" for step in (position["step"], self._saved)}:
                    shutil.rmtree(folder)
        self._saved = position["step"]
        self.world.barrier()

    def finish_step(self, position: Position) -> None:
        """Save the state if that is due after `position`. Raises Stopped, after saving, when a signal has come."""
        self._position = position
        if position["step"] % self._save_every == 0:
            self.save(position)
        self.stop_if_asked(position)

    def stop_if_asked(self, position: Position) -> None:
        """Save the state after `position` and raise Stopped, when a signal has asked any process to stop.

        To be called only while nothing has changed since `position`.
        """
        if self.world.any(self.asked_to_stop(), self.engine.device):
            self.stop(position)

    def asked_to_stop(self) -> bool:
        """Whether a signal has asked this process to stop."""
        return self._signal is not None

    def stop(self, position: Position) -> NoReturn:
        """Save the state after `position`, unless it is saved, and raise Stopped; on every process."""
        if self._saved != position["step"]:
            self.save(position)
        raise Stopped(
            f"stopped by a signal after step {position['step']}; the state is saved in {self.root}: run it again to go "
            "on from there"
        )

    def keep_failure(self, step: int, error: NonFiniteLoss) -> str:
        """Keep what the failed optimiser step of `step` started from; returns the words in which messages say where.

        Every process has to call this. The folder holds DeepSpeed's state from just before that optimiser step, the
        micro-batches of each process (batch-RANK.pt), and the cause (failure.json): enough to take the step again with
        tokenshift.training.engine.optimiser_step.
        """
        folder = self.root / f"failed-step-{step}"
        self.engine.save_checkpoint(str(self.root), tag=folder.name, save_latest=False)
        torch.save(error.micro_batches, folder / f"batch-{self.world.rank}.pt")
        self.world.barrier()
        if self.world.first:
            write_json(folder / "failure.json", {"step": step, "cause": str(error)})
        return f"what it started from is kept in {folder}, and {self.saved_state()}"

    def saved_state(self) -> str:
        """The words in which messages say where the last saved state is."""
        if self._saved is None:
            return "no state was saved yet"
        return f"the state after step {self._saved} is kept in {self.root}"

    def keep(self, step: int) -> None:
        """Export the model after `step`, as a checkpoint that is published with the final model."""
        folder = checkpoint_folder(self.model_folder, step)
        export(self.engine, self.tokenizer, folder, self._card)
        if self.world.first:
            self._published |= self._synced(folder)

    def publish(self, output: str | Path) -> None:
        """Publish the finished model, with checkpoints and metrics, as the folder `output`; delete the saved states.

        What is published stays in the run's folder too, as other names of the same files: the next start of a run that
        was finished publishes it again.
        """
        if not (self.root / FINISHED).is_file():
            export(self.engine, self.tokenizer, self.model_folder, self._card)
        self.world.barrier()
        if self.world.first:
            self.metrics.close()
            if not (self.root / FINISHED).is_file():
                self._finish()
            with atomic_folder(output) as folder:
                shutil.copytree(self.model_folder, folder, copy_function=link_or_copy, dirs_exist_ok=True)
            for folder in [*self.root.glob("step-*"), *self.root.glob("failed-step-*")]:
                shutil.rmtree(folder)
        self.world.barrier()

    def _finish(self) -> None:
        """Write down that the model is complete, unless a checkpoint of it is no longer what was exported."""
        hashes = self._synced(self.model_folder)
        if changed := [file for file, hashed in self._published.items() if hashes.get(file) != hashed]:
            raise StudyError(
                f"{self.root / changed[0]} is missing or was changed since it was exported; delete {self.root} to "
                "train again"
            )
        write_state(self.root / FINISHED, self._position, hashes)

    def _synced(self, folder: Path) -> dict[str, str]:
        """SHA-256 of each file in `folder`, by its path from the run's folder; all are on disk then."""
        for inner in (folder, *folder.rglob("*/")):
            sync_folder(inner)
        return {str(file.relative_to(self.root)): synced_sha256(file) for file in folder.rglob("*") if file.is_file()}

    def __enter__(self) -> "Run":
        self._before = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGTERM, signal.SIGUSR1)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask_to_stop(self, number: int, _: object) -> None:
        self._signal = number


def checkpoint_due(step: int, steps: int, every: int | None) -> bool:
    """Whether `step` is a multiple of `every` or the last of `steps`; never when `every` is None."""
    return every is not None and (step % every == 0 or step == steps)
