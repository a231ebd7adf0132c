"""Next-token training on written solutions: pretraining from scratch and supervised fine-tuning."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from transformers import PreTrainedTokenizerBase

from tokenshift.errors import StudyError
from tokenshift.progress import progress
from tokenshift.prompts import encode_prompt
from tokenshift.training.batches import Padded, micro_batches, pad, shuffled_batch
from tokenshift.training.engine import export, optimiser_step, world_total
from tokenshift.training.log_probs import log_probs, target_logits

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

WARMUP_SHARE = 0.1  # of the steps of supervised fine-tuning


@dataclass(frozen=True)
class Example:
    """One prompt with its solution and the end-of-sequence token; tokens from `first` on are learned."""

    token_ids: list[int]
    first: int


def encode_examples(
    corpus: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, template: str, chat: bool, learn_prompt: bool
) -> list[Example]:
    """Examples of `corpus` (schemas.CORPUS). With `learn_prompt` all but the first token is learned, else the solution.

    Raises StudyError when a solution holds no token of its own.
    """
    prompts = {
        problem: encode_prompt(tokenizer, template, chat, problem) for problem in corpus["problem"].unique(maintain_order=True)
    }
    solutions = tokenizer(corpus["solution"].to_list(), add_special_tokens=False).input_ids
    examples = []
    for problem, solution in zip(corpus["problem"], solutions, strict=True):
        prompt = prompts[problem]
        examples.append(Example([*prompt, *solution, tokenizer.eos_token_id], 1 if learn_prompt else len(prompt)))
    return examples
