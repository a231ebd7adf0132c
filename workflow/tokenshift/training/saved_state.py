"""The state of a training run after a step: files of which a wrong one is found, and from which no code can run.

step-N/state.json          the position, and the SHA-256 of every other file; written last, once those are on disk
       metrics.jsonl       what was reported up to that step
       generators-R.json   random number generators of process R
       ...                 DeepSpeed's own files
"""

import hashlib
import json
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tokenshift.atomic import sync_folder, synced_sha256, write_json
from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import sha256
from tokenshift.training.world import World

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

STATE, METRICS = "state.json", "metrics.jsonl"

Position = dict[str, int]  # how far a run has come: its step, and what else tells its place in the data


def save_state(
    root: Path, engine: "DeepSpeedEngine", position: Position, metrics: Path, published: Mapping[str, str]
) -> None:
    """Save the state after `position` to its folder in `root`. Every process has to call this.

    `metrics` is the file of what was reported so far; `published` the SHA-256 of each file that the finished model will
    hold besides, by its path from `root`, such as those of a checkpoint.
    """
    world, folder = World.current(), root / f"step-{position['step']}"
    if world.first and folder.exists():
        shutil.rmtree(folder)  # a save that was cut short
    world.barrier()
    engine.save_checkpoint(str(root), tag=folder.name, save_latest=False)
    write_json(folder / f"generators-{world.rank}.json", _generators())
    if world.first and metrics.is_file():
        shutil.copyfile(metrics, folder / METRICS)
    world.barrier()
    files = sorted(str(file.relative_to(root)) for file in folder.rglob("*") if file.is_file())
    hashes = world.merged([synced_sha256(root / file) for file in world.share(files)])
    if world.first:
        known = dict(zip(files, hashes, strict=True)) | dict(published)
        write_state(folder / STATE, position, known)
        sync_folder(root)
    world.barrier()


def last_whole_state(root: Path) -> tuple[Path | None, list[str]]:
    """The folder of the last state in `root` of which every file is as it was saved, and what is wrong with later ones.

    None where no save was ever finished. Every process has to call this. Raises StudyError where no state is whole any
    more.
    """
    found = {int(file.parent.name.removeprefix("step-")): file.parent for file in root.glob(f"step-*/{STATE}")}
    wrong = []
    for step in sorted(found, reverse=True):
        fault = _fault(root, found[step])
        if fault is None:
            return found[step], wrong
        wrong.append(f"the state saved after step {step} is not whole: {fault}")
    if wrong:
        raise StudyError(f"{wrong[0]}, and there is no whole one before it; delete {root} to train from the beginning")
    return None, wrong


def write_state(file: Path, position: Position, hashes: Mapping[str, str]) -> None:
    """Write a position with the hashes of the files that belong to it."""
    write_json(file, {"position": position, "sha256": dict(hashes), "digest": _digest(position, hashes)})


def read_state(file: Path) -> tuple[Position, dict[str, str]]:
    """What `write_state` wrote to `file`. Raises ValueError when that was damaged."""
    try:
        state = json.loads(file.read_text(encoding="utf-8"))
        position, hashes = state["position"], state["sha256"]
        sound = state["digest"] == _digest(position, hashes)
    except (ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound:
        raise ValueError(f"{file} is cut short or changed")
    return position, hashes


def differing_file(root: Path, hashes: Mapping[str, str]) -> str | None:
    """Which of the files with these `hashes`, by path from `root`, is missing or another; on every process the same."""
    world = World.current()
    mine = [
        None if _has_hash(root / file, hashed) else f"{root / file} is missing, cut short or changed"
        for file, hashed in world.share(sorted(hashes.items()))
    ]
    return next(filter(None, world.merged(mine)), None)


def load_state(root: Path, folder: Path, engine: "DeepSpeedEngine") -> None:
    """Put the engine, and the random number generators of this process, into the state in `folder`, which is whole."""
    engine.load_checkpoint(str(root), tag=folder.name)
    generators = folder / f"generators-{World.current().rank}.json"
    _restore_generators(json.loads(generators.read_text(encoding="utf-8")))


def _digest(position: Position, hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([position, dict(hashes)], sort_keys=True).encode()).hexdigest()


def _fault(root: Path, folder: Path) -> str | None:
    try:
        _, hashes = read_state(folder / STATE)
    except ValueError as error:
        return str(error)
    return differing_file(root, hashes)


def _has_hash(file: Path, hashed: str) -> bool:
    return file.is_file() and sha256(file) == hashed


def _generators() -> dict[str, Any]:
    """States of the random number generators of this process, as JSON holds them."""
    name, keys, *rest = np.random.get_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {
        "python": random.getstate(),
        "numpy": [name, keys.tolist(), *rest],
        "torch": torch.get_rng_state().tolist(),
        "cuda": None if cuda is None else cuda.tolist(),
    }


def _restore_generators(states: dict[str, Any]) -> None:
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(torch.tensor(states["torch"], dtype=torch.uint8))
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(torch.tensor(states["cuda"], dtype=torch.uint8))
