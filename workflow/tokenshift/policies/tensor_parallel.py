"""Models over several GPUs that all work at once: a process for each, with a part of every weight (placement sharded).

The processes of a job run one script on the same inputs, and the tensor parallelism of transformers sums or gathers the
parts of each product, so that all see the same logits and come to the same decisions. The first one writes the result.
Models that transformers cannot split are left to the first process, which spreads their layers over the GPUs instead.
"""

import atexit
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch.distributed as dist
from transformers import AutoConfig, PretrainedConfig

from tokenshift.policies.adapters import has_adapter
from tokenshift.policies.models import trusts

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by which processes find each other


def split_together(folders: Sequence[Path]) -> bool:
    """Whether this process and those beside it each hold a part of the models of these folders.

    False in the only process of a job, and where a model cannot be split: the processes beside the first then end here.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes == 1:
        return False
    if all(splits(folder, processes) for folder in folders):
        atexit.register(_leave)
        return True
    if not _first():
        sys.exit(0)
    for name in LAUNCHED:
        os.environ.pop(name, None)
    return False


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def splits(folder: Path, processes: int) -> bool:
    """Whether transformers can split the model of a folder evenly among so many processes: not one with an adapter."""
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusts(folder)).get_text_config()
    return bool(config.base_model_tp_plan) and _evenly(config, processes) and not has_adapter(folder)


def _evenly(config: PretrainedConfig, processes: int) -> bool:
    parts = ("num_attention_heads", "num_key_value_heads", "intermediate_size", "vocab_size")
    return all((getattr(config, part, None) or processes) % processes == 0 for part in parts)


@contextlib.contextmanager
def output_of(path: Path) -> Iterator[Path]:
    """Where this process writes what all have computed: `path` in the first, a file that is thrown away in others."""
    if _first():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / path.name


def _first() -> bool:
    return os.environ.get("RANK", "0") == "0"
