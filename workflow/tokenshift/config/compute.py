"""Device, precision and resources of jobs."""

from typing import Literal

from pydantic import Field, model_validator

from tokenshift.config.section import Count, Positive, Section


class Hardware(Section):
    """What a result of a model job depends on of the machine, by rounding."""

    device: Literal["cpu", "cuda"] = Field("cpu", description="Device of inference and training.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="Precision of inference.")
    placement: Literal["together", "apart", "sharded"] = Field(
        "together",
        description="Where a pair's two models lie: both on the device, on two GPUs, or each spread over all GPUs. "
        "sharded: a part of every weight on each (tensor parallelism) where transformers has a plan for both models "
        "and they can be split evenly; else layer after layer, so that one GPU is busy at a time.",
    )
    exact: bool = Field(
        False,
        description="Decode in float32 whatever `dtype` says, so that tokens do not depend on the batch, the draft or "
        "the shard that they are decoded in, near ties aside; scores stay in `dtype`.",
    )
    threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="CPU threads of each model job, on however many cores it runs; sums are rounded by them.",
    )

    def decoding(self) -> "Hardware":
        """What rollouts and cross-samples are decoded on."""
        return self.model_copy(update={"dtype": "float32"}) if self.exact else self


class Compute(Hardware):
    """What the model jobs run on, and what they ask of it."""

    shards: int = Field(
        1,
        ge=1,
        le=1000,
        description="Jobs over which each stage's problems are spread; scores are the same to the bit.",
    )
    gpus: int = Field(
        0,
        ge=0,
        le=1024,
        description="GPUs requested for each model job, on each node; more where `billions` needs them.",
    )
    gpu_memory_gb: Count = Field(80, description="Memory of one GPU, for models with `billions`.")
    nodes: Count = Field(
        1, description="Nodes of each training job, under SLURM; each runs `gpus` processes, or one on the CPU."
    )
    mem_mb: Positive = Field(4000, description="Memory requested for each model job, in MB.")
    runtime: Count = Field(60, description="Time requested for each model job, in minutes.")

    @model_validator(mode="after")
    def _placed(self) -> "Compute":
        if self.placement != "together" and self.device == "cpu":
            raise ValueError(f"placement '{self.placement}' needs device cuda")
        if self.placement == "apart" and self.gpus < 2:
            raise ValueError(f"placement 'apart' needs gpus of at least 2, not {self.gpus}")
        if self.device == "cpu" and self.gpus:
            raise ValueError(f"gpus is {self.gpus}, but device is cpu: no job would use them")
        return self
