"""How fast a device computes: measured on GPUs once, on a CPU on the spot."""

import time
from dataclasses import dataclass

import torch

from tokenshift.config.study import Study

# Of the rate of matrix products: passes over given tokens and decoding; forward and backward passes of training.
IN_PASSES, IN_TRAINING = 0.6, 0.5


@dataclass(frozen=True)
class Rates:
    """What a device does: measured, with models as large as this one or smaller.

    step: seconds of a decoding step of up to `rows` rows, at least, and per billion parameters. flops: a second, in
    passes over given tokens; in training. optimiser: seconds of an optimiser step per billion parameters. start:
    seconds until a job has loaded its models.
    """

    step: float
    step_per_billion: float
    rows: int
    flops: float
    training_flops: float
    optimiser: float
    start: float


# In bfloat16 a step of 1.5 B or 7 B takes 28 ms at 32 rows, bound by Python; scoring runs at half of 519 TFLOP/s; the
# update of a DAPO step at 31.
H200 = Rates(
    step=0.028, step_per_billion=0.0005, rows=128, flops=2.6e14, training_flops=3.1e13, optimiser=0.02, start=60.0
)


def cpu_rates(products: float) -> Rates:
    """Rates of one CPU thread whose matrix products run at `products` FLOP/s: all of it is bound by arithmetic.

    A token costs two operations per parameter. An AdamW step of SmolLM2-135M took 4 s.
    """
    passes = IN_PASSES * products
    return Rates(
        step=0.0,
        step_per_billion=2e9 / passes,
        rows=1,
        flops=passes,
        training_flops=IN_TRAINING * products,
        optimiser=30.0,
        start=15.0,
    )


def measured_products(dtype: str) -> float:
    """FLOP/s of matrix products in `dtype` on one thread of this machine, by the processor's own clock."""
    threads, size = torch.get_num_threads(), 1024
    torch.set_num_threads(1)
    left, right = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    left @ right
    repeats, began = 0, time.process_time()
    while time.process_time() - began < 0.5:
        left @ right
        repeats += 1
    spent = time.process_time() - began
    torch.set_num_threads(threads)
    return repeats * 2 * size**3 / spent


def rates_of(study: Study) -> Rates:
    """The rates of what the study's jobs run on: an H200, or the threads of a job on this machine."""
    if study.compute.device == "cuda":
        return H200
    return cpu_rates(measured_products(study.compute.decoding().dtype) * study.compute.threads)
