"""DeepSpeed: the one place that starts it and takes an optimiser step with it."""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import PreTrainedModel

from tokenshift.config.models import Optimisation
from tokenshift.errors import NotFinite
from tokenshift.policies.models import require_device
from tokenshift.training.log_probs import TokenModel
from tokenshift.training.phases import phase

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine
    from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine

LARGEST_BUCKET = 500_000_000  # elements that DeepSpeed's ZeRO sends at once

MicroBatch = TypeVar("MicroBatch")


def join_world(device: str) -> None:
    """Join the processes of a launcher (deepspeed, torchrun), or else form a world of this process alone.

    `device` is "cpu" (gloo) or "cuda" (NCCL). Call it first: loading a model may import deepspeed. Raises StudyError
    where there is no such device.
    """
    if dist.is_initialized():
        return
    require_device(device)
    os.environ["DS_ACCELERATOR"] = device  # read when deepspeed is first imported
    import deepspeed

    for handler in deepspeed.utils.logger.handlers:
        if handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    if device == "cpu":
        # Declares DeepSpeed's optional compiled operators absent: its shared-memory collectives would be compiled at
        # first use (20 s, and a C++ compiler), and gloo serves as well.
        deepspeed.ops.__compatible_ops__ = {}
    else:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    backend = {"cpu": "gloo", "cuda": "nccl"}[device]
    if "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        os.environ["LOCAL_RANK"] = "0"
        # The store lives in this process: no TCP port on which two jobs of one host could collide.
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1)


def initialise(
    model: PreTrainedModel, settings: Optimisation, schedule: Callable[[Optimizer], LRScheduler]
) -> "DeepSpeedEngine":
    """Engine that trains `model`, as a TokenModel, with torch's AdamW, in the world joined before.

    `schedule` makes the learning-rate scheduler of the optimiser it is given; both step together.
    """
    import deepspeed

    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimiser = torch.optim.AdamW(
        model.parameters(),
        lr=settings.learning_rate,
        betas=(0.9, settings.adam_beta2),
        weight_decay=settings.weight_decay,
    )
    trained = TokenModel(model, in_step=settings.zero_stage == 3)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    half = settings.precision == "bfloat16"
    engine, *_ = deepspeed.initialize(
        model=trained,
        optimizer=optimiser,
        lr_scheduler=schedule,
        config={
            # Micro-batches vary in size and number: `optimiser_step` says where an optimiser batch ends.
            "train_micro_batch_size_per_gpu": 1,
            "gradient_accumulation_steps": 1,
            "gradient_clipping": settings.gradient_clip,
            "bf16": {"enabled": half},
            "zero_optimization": {
                # DeepSpeed's optimiser for stage 0 in bfloat16 begins with a step of zero gradients, which decays the
                # weights and throws Adam's bias correction off by one; stage 1 has the same result without it.
                "stage": max(1, settings.zero_stage) if half else settings.zero_stage,
                # Allocated in full at every step: no larger than there is to send.
                "reduce_bucket_size": min(LARGEST_BUCKET, parameters),
                "allgather_bucket_size": min(LARGEST_BUCKET, parameters),
            },
            "zero_allow_untested_optimizer": True,
        },
    )
    engine.checkpoint_engine = _without_code()
    return engine


def _without_code() -> "TorchCheckpointEngine":
    """What writes and reads the files of DeepSpeed's saved states: its own, but reading them cannot run code."""
    from deepspeed.runtime.checkpoint_engine.torch_checkpoint_engine import TorchCheckpointEngine
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    class WithoutCode(TorchCheckpointEngine):
        def load(self, path: str, map_location: Any = None) -> Any:
            with torch.serialization.safe_globals([LossScaler, ZeroStageEnum, fragment_address]):
                return torch.load(path, map_location=map_location, weights_only=True)

    return WithoutCode()


class NonFiniteLoss(NotFinite):
    """The loss or its gradient is infinite or not a number; no optimiser step was taken with it.

    micro_batches: those that this process computed its share of the step on.
    """

    def __init__(self, message: str, micro_batches: Sequence[Any]):
        super().__init__(message)
        self.micro_batches = micro_batches


def optimiser_step(
    engine: "DeepSpeedEngine", micro_batches: Sequence[MicroBatch], loss_of: Callable[[MicroBatch], Tensor]
) -> tuple[float, float]:
    """One step down the gradient of the sum of `loss_of` over the micro-batches of all processes, as many on each.

    Each loss has to be divided by the count of the whole optimiser batch, so that the step depends neither on the size
    of the micro-batches nor on the number of processes. Returns the sum of all losses and the norm of the gradient
    before clipping. Raises NonFiniteLoss, on every process, where either is not finite; the weights are then unchanged.
    """
    losses = []
    with phase("gradient"):
        for number, micro_batch in enumerate(micro_batches, start=1):
            engine.set_gradient_accumulation_boundary(number == len(micro_batches))
            loss = loss_of(micro_batch)
            # DeepSpeed averages gradients over the processes; the factor makes it a sum.
            engine.backward(loss * dist.get_world_size(), scale_wrt_gas=False)
            losses.append(loss.detach().double())
            if number < len(micro_batches):
                engine.step()
    with phase("optimiser"):
        total = torch.stack(losses).sum()
        dist.all_reduce(total)
        norm = _plain_gradient_norm(engine)
        if not total.isfinite():
            raise NonFiniteLoss(f"the loss is {float(total)}", micro_batches)
        if norm is None or norm.isfinite():
            engine.step()
        if norm is None:
            norm = engine.get_global_grad_norm()  # not finite where DeepSpeed has left the step out for that reason
        if not math.isfinite(norm):
            raise NonFiniteLoss(f"the norm of the gradient is {float(norm)}, of a loss of {total:.4g}", micro_batches)
    return float(total), float(norm)


def _plain_gradient_norm(engine: "DeepSpeedEngine") -> Tensor | None:
    """Norm of the gradients where DeepSpeed leaves them on the parameters and reports none: stage 0 in float32."""
    if engine.zero_optimization_stage() > 0:
        return None
    return torch.nn.utils.get_total_norm([p.grad for p in engine.module.parameters() if p.grad is not None])


def gathered(engine: "DeepSpeedEngine") -> AbstractContextManager:
    """Context in which every process holds all parameters (ZeRO stage 3 splits them; below that it does nothing)."""
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(engine.module.parameters()))


@contextlib.contextmanager
def sharing_parameters(engine: "DeepSpeedEngine", twin: PreTrainedModel) -> Iterator[None]:
    """Let `twin`, a copy of the model made before `initialise`, compute with the engine's current parameters.

    The twin has none of DeepSpeed's hooks, which under ZeRO stage 3 would have all processes compute in step: each may
    generate as long as its own responses take. Outside the context the twin has no parameters and takes no memory.
    """
    with gathered(engine):
        for parameter, trained in zip(twin.parameters(), engine.module.parameters(), strict=True):
            parameter.data = trained.data
        yield
        for parameter in twin.parameters():
            parameter.data = parameter.new_empty(0)
