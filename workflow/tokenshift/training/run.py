"""A training run that may be stopped at any moment and goes on from its last saved step as if it had not been.

Its state is in a folder, which is no output of any rule, with a name that is a hash of all that the run depends on:

    FOLDER/KEY/spec.json    all that the run depends on
               state.json   the last saved step, and where in the data it stands; written last, so a state is whole
               lock         held by the process that trains here, which may be what is left of a lost job
               step-N/      DeepSpeed's state after that step, and each process's random number generators
               failed-step-N/  what a step whose loss was not finite started from
               model/       what the finished run publishes: metrics.jsonl, checkpoints/
               times.jsonl, tensorboard/    what differs between two equal runs; these stay when the run is over
"""

import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from transformers import PreTrainedTokenizerBase

from tokenshift.atomic import atomic_folder, write_json
from tokenshift.errors import StudyError
from tokenshift.training.engine import NonFiniteLoss
from tokenshift.training.metrics import Metrics
from tokenshift.training.outputs import export
from tokenshift.training.run_folder import (
    checkpoint_folder,
    generator_states,
    link_or_copy,
    locked,
    restore_generators,
    spec_key,
)
from tokenshift.training.world import World

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

LASTING = ("spec.json", "times.jsonl", "tensorboard")  # what stays in the folder when the run is over

Position = dict[str, int]  # how far a run has come: its step, and what else tells its place in the data


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
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = locked(self.root / "lock")
        self._check_spec()
        self._signal: int | None = None
        self._saved: int | None = None
        self.metrics = Metrics(self.root, self.model_folder)

    def _check_spec(self) -> None:
        known = self.root / "spec.json"
        if known.is_file() and json.loads(known.read_text()) != self._spec:
            raise StudyError(f"{self.root} holds the state of another run (see its spec.json); delete it to start anew")
        if self.world.first:
            self.model_folder.mkdir(parents=True, exist_ok=True)
            write_json(known, self._spec)
        self.world.barrier()

    def restore(self, start: Position) -> Position:
        """Put the engine and the reports where the last saved step left them; returns that position.

        Without a saved step, the run is at `start`.
        """
        state = self.root / "state.json"
        position, size = start, 0
        if state.is_file():
            saved = json.loads(state.read_text())
            position, size = saved["position"], saved["metrics_bytes"]
            folder = self.root / f"step-{position['step']}"
            self.engine.load_checkpoint(str(self.root), tag=folder.name)
            restore_generators(torch.load(folder / f"generators-{self.world.rank}.pt", weights_only=False))
            self._saved = position["step"]
        self.world.barrier()
        if self.world.first:
            self.metrics.rewind(position["step"], size)
            for folder in self.model_folder.glob("checkpoints/step-*"):
                if int(folder.name.removeprefix("step-")) > position["step"]:
                    shutil.rmtree(folder)
        self.world.barrier()
        return position

    @property
    def fresh(self) -> bool:
        """Whether no state of this run has been saved so far, so that nothing it reported counts."""
        return self._saved is None

    def save(self, position: Position) -> None:
        """Save all that the rest of the run depends on; then delete the state that was saved before."""
        folder = self.root / f"step-{position['step']}"
        self.engine.save_checkpoint(str(self.root), tag=folder.name, save_latest=False)
        torch.save(generator_states(), folder / f"generators-{self.world.rank}.pt")
        self.world.barrier()
        if self.world.first:
            write_json(self.root / "state.json", {"position": position, "metrics_bytes": self.metrics.size()})
            for other in self.root.glob("step-*"):
                if other != folder:
                    shutil.rmtree(other)
        self._saved = position["step"]
        self.world.barrier()

    def finish_step(self, position: Position) -> None:
        """Save the state if that is due after `position`. Raises Stopped, after saving, when a signal has come."""
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
        export(self.engine, self.tokenizer, checkpoint_folder(self.model_folder, step), self._card)

    def publish(self, output: str | Path) -> None:
        """Export the final model to `output`, with checkpoints and metrics, and delete the state."""
        export(self.engine, self.tokenizer, self.model_folder, self._card)
        self.world.barrier()
        if self.world.first:
            self.metrics.close()
            with atomic_folder(output) as folder:
                shutil.copytree(self.model_folder, folder, copy_function=link_or_copy, dirs_exist_ok=True)
            (self.root / "state.json").unlink(missing_ok=True)
            for file in [file for file in self.root.iterdir() if file.name not in LASTING]:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
        self.world.barrier()

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
