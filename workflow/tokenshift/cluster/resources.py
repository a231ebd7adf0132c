"""What a job that holds models asks of a machine, from the sizes of the models."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tokenshift.errors import StudyError

if TYPE_CHECKING:
    from tokenshift.config.compute import Compute
    from tokenshift.config.study import Study

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Bytes a parameter of mixed-precision Adam (ZeRO, arXiv 1910.02054, section 3.1): weights 2 and gradients 2 in half
# precision; weights, momentum and variance 4 each in float32.
TRAINING_BYTES = 16
USABLE = 0.6  # of a GPU's memory; the rest is for activations, the key-value cache and logits


def size_of(study: "Study", model: str) -> float | None:
    """Billions of parameters of `model`: its own `billions`, or those of the model that its training started from."""
    entry = study.models[model]
    if entry.billions is None and entry.from_ is not None:
        return size_of(study, entry.from_)
    return entry.billions


def gpus_to_hold(billions: float, bytes_each: int, gpu_memory_gb: int) -> int:
    """GPUs over which parameters of `bytes_each` bytes are to be spread."""
    return math.ceil(billions * bytes_each / (USABLE * gpu_memory_gb))


def inference_gpus(compute: "Compute", sizes: Sequence[float | None]) -> int:
    """GPUs of a job that runs models of these sizes at once.

    Raises StudyError where `compute.placement` cannot spread them over enough GPUs.
    """
    if compute.device == "cpu" or None in sizes:
        return compute.gpus
    each = [gpus_to_hold(size, BYTES[compute.decoding().dtype], compute.gpu_memory_gb) for size in sizes]
    together = gpus_to_hold(sum(sizes), BYTES[compute.decoding().dtype], compute.gpu_memory_gb)
    if compute.placement == "sharded":  # heads come in powers of two
        return max(compute.gpus, 2 ** math.ceil(math.log2(together)))
    if (compute.placement == "together" and together > 1) or max(each) > 1:
        described = " and ".join(f"{size:g}" for size in sizes)
        raise StudyError(
            f"models of {described} billion parameters in {compute.dtype} do not fit into GPUs of "
            f"{compute.gpu_memory_gb} GB as placement '{compute.placement}' lays them: set compute.placement to "
            f"sharded{', or to apart with gpus: 2' if max(each) == 1 else ''}"
        )
    return max(compute.gpus, 1)


def training_gpus(compute: "Compute", size: float | None) -> int:
    """GPUs on each node of a job that trains a model of this size, its state split over all of them (ZeRO stage 3)."""
    if compute.device == "cpu" or size is None:
        return compute.gpus
    return max(compute.gpus, math.ceil(gpus_to_hold(size, TRAINING_BYTES, compute.gpu_memory_gb) / compute.nodes))


def memory_mb(compute: "Compute", sizes: Sequence[float | None]) -> int:
    """Memory of the host, where weights are read before they go to a GPU: `compute.mem_mb` plus the weights."""
    if None in sizes:
        return compute.mem_mb
    return compute.mem_mb + math.ceil(1000 * sum(sizes) * BYTES[compute.decoding().dtype])


def fetching_mb(study: "Study", model: str) -> int:
    """Memory in which an existing model is made ready; of a GGUF file, all weights in float32 and their copy."""
    size, gguf = size_of(study, model), study.models[model].pretrained.gguf
    return 4000 + math.ceil(1000 * size * 2 * BYTES["float32"]) if gguf and size else 4000


def launcher(compute: "Compute", gpus: int, threads: int, python: str = "python") -> str:
    """The command before a training script: a process for each GPU, on each node, each run by `python`.

    On several nodes a step of SLURM's starts them, and the script launch.py inside it finds out where the first one is.
    """
    if compute.nodes == 1:
        return _processes(gpus, python)
    processes = max(1, gpus)
    step = f"srun --nodes={compute.nodes} --ntasks={compute.nodes * processes} --ntasks-per-node={processes}"
    step += f" --cpus-per-task={threads}"
    step += f" --gres=gpu:{gpus}" if gpus else ""
    # A process that ends badly ends the others, which would wait for it.
    return f"{step} --kill-on-bad-exit=1 {python} $SCRIPTS/launch.py"


def inference_launcher(compute: "Compute", gpus: int) -> str:
    """The command before a script that runs models: a process for each GPU where they are sharded, else one."""
    return _processes(gpus if compute.placement == "sharded" else 1)


def _processes(gpus: int, python: str = "python") -> str:
    # The deepspeed launcher would take GPUs 0, 1 ... whatever SLURM gave, and one port for all jobs of a node.
    return f"{python} -m torch.distributed.run --standalone --nproc-per-node={gpus}" if gpus > 1 else python
