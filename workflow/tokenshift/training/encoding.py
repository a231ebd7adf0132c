"""From problems and solutions to token ids to train on."""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tokenshift.config.problems import Prompt
from tokenshift.errors import StudyError
from tokenshift.problems.prompts import encode_prompt, unknown_characters_refused


@dataclass(frozen=True)
class Example:
    """A prompt with its solution and the end-of-sequence token."""

    token_ids: list[int]
    first: int  # index of the first token that is learned


def encode_examples(
    corpus: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, prompt: Prompt, learn_prompt: bool
) -> list[Example]:
    """Examples of `corpus` (schemas.CORPUS), of which the solution is learned and, with `learn_prompt`, the prompt too.

    The first token of a sequence has no prediction and is never learned. Raises StudyError at a character that the
    tokenizer has no token for.
    """
    problems = corpus["problem"].unique(maintain_order=True)
    with unknown_characters_refused(tokenizer):
        prompts = {problem: encode_prompt(tokenizer, prompt, problem) for problem in problems}
        solutions = tokenizer(corpus["solution"].to_list(), add_special_tokens=False).input_ids
    examples = []
    for problem, solution in zip(corpus["problem"], solutions, strict=True):
        token_ids = [*prompts[problem], *solution, tokenizer.eos_token_id]
        examples.append(Example(token_ids, first=1 if learn_prompt else len(prompts[problem])))
    return examples


def require_context(lengths: Iterable[int], model: PreTrainedModel) -> None:
    """Raise StudyError when the longest of `lengths` exceeds the positions that `model` was built for."""
    longest, limit = max(lengths, default=0), model.config.max_position_embeddings
    if longest > limit:
        raise StudyError(f"a sequence of {longest} tokens is longer than the model's context of {limit}")
