"""From problems to graded responses: the rows of a rollouts file."""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedTokenizerBase

from tokenshift.config.problems import Prompt
from tokenshift.problems.answers import last_box
from tokenshift.problems.grading import Grade, Grader
from tokenshift.problems.prompts import prompts_by_problem


@dataclass(frozen=True)
class PromptBatch:
    """Prompts to answer, in the problems' order; every list has one entry for each sample of each problem."""

    problem_ids: list[str]
    samples: list[int]
    prompts: list[list[int]]
    answers: list[str]
    answer_kinds: list[str]


def prompt_batch(
    problems: pl.DataFrame, samples: int, tokenizer: PreTrainedTokenizerBase, prompt: Prompt
) -> PromptBatch:
    """Prompts for `samples` responses to each of `problems` (schemas.PROBLEMS), as the study's `prompt` puts them.

    Raises StudyError when a problem holds a character without a token.
    """
    rows = PromptBatch([], [], [], [], [])
    prompts = prompts_by_problem(problems, tokenizer, prompt)
    for problem_id, answer, answer_kind in problems.select("problem_id", "answer", "answer_kind").iter_rows():
        for sample in range(samples):
            rows.problem_ids.append(problem_id)
            rows.samples.append(sample)
            rows.prompts.append(prompts[problem_id])
            rows.answers.append(answer)
            rows.answer_kinds.append(answer_kind)
    return rows


def grade(
    batch: PromptBatch, responses: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, grader: Grader
) -> tuple[list[str], list[Grade]]:
    """Text and grade of each of `responses` to `batch`."""
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    return texts, grader.grade(batch.answer_kinds, batch.answers, texts)


def answer_position(response: Sequence[int], text: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Position of the token that completes the first character of the final answer, in the last box of `text`.

    None without a box. `text` is the decoded response; the fewest tokens that decode to that character and all before
    it are found by bisection.
    """
    box = last_box(text)
    if box is None:
        return None
    begun = text[: box.start + 1]

    def includes(n_tokens: int) -> bool:
        return tokenizer.decode(response[:n_tokens], skip_special_tokens=True).startswith(begun)

    return bisect.bisect_left(range(len(response)), True, key=includes) - 1


def response_columns(
    batch: PromptBatch,
    responses: Sequence[Sequence[int]],
    stops: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    grader: Grader,
) -> dict[str, list]:
    """The columns of schemas.ROLLOUTS for `responses` to `batch`; `stops` are the ids that end a response."""
    texts, grades = grade(batch, responses, tokenizer, grader)
    return {
        "problem_id": batch.problem_ids,
        "sample": batch.samples,
        "prompt_token_ids": batch.prompts,
        "response_token_ids": [list(response) for response in responses],
        "response": texts,
        "finish_reason": ["stop" if response and response[-1] in stops else "length" for response in responses],
        "extracted_answer": [given.extracted_answer for given in grades],
        "answer_position": [
            answer_position(response, text, tokenizer) for response, text in zip(responses, texts, strict=True)
        ],
        "correct": [given.correct for given in grades],
    }
