"""Scripts in processes of their own, forked from one that has already imported what takes long.

Some train together, some are killed, and most are there because a process starts in a tenth of a second in this way.
"""

import functools
import multiprocessing
import os
import runpy
import socket
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).parents[1]

os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read when the server imports deepspeed
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "deepspeed",
        "deepspeed.runtime.zero.muon.muon_optimizer",
        "polars",
        "pulp",
        "scipy.stats",
        "tokenshift.rl.loop",
        "transformers.models.qwen2.modeling_qwen2",
    ]
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _enter(rank: int, size: int, port: int, log: str, function: Callable[..., None], arguments: tuple) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    world = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    if size > 1:
        os.environ.update({name: str(value) for name, value in world.items()})
    import torch

    torch.set_num_threads(1)
    function(*arguments)


def _nothing() -> None:
    pass


@functools.cache
def ready() -> None:
    """Wait until the server has imported everything: the first process takes as long as that."""
    process = _CONTEXT.Process(target=_nothing)
    process.start()
    process.join()


def start(size: int, log: Path, function: Callable[..., None], *arguments: object) -> list[BaseProcess]:
    """Start `function` in `size` processes that find each other as under a launcher; `log` receives their stderr."""
    port = _free_port()
    processes = [
        _CONTEXT.Process(target=_enter, args=(rank, size, port, str(log), function, arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    return processes


def ended(processes: list[BaseProcess], seconds: float = 60) -> list[int | None]:
    """Exit codes once all have ended; those that have not within `seconds` are killed, and have None."""
    codes = []
    for process in processes:
        process.join(seconds)
        codes.append(process.exitcode)
        process.kill()
        process.join()
    return codes


def run(size: int, log: Path, function: Callable[..., None], *arguments: object) -> None:
    """Run `function` to its end in `size` processes."""
    codes = ended(start(size, log, function, *arguments))
    assert codes == [0] * size, log.read_text()[-5000:]


def script(name: str, arguments: list[str]) -> None:
    """Run a script of the workflow in this process."""
    path = ROOT / "workflow/scripts" / name
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")
