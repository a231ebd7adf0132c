"""From problems to graded responses: the rows of a rollouts file."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedTokenizerBase

from tokenshift.prompts import encode_prompt, unknown_characters_refused
from tokenshift.verification import Grader


@dataclass(frozen=True)
class Requests:
    """What to answer: one row per (problem, sample), in the problems' order. All columns have one entry per row."""

    problem_ids: list[str]
    samples: list[int]
    prompts: list[list[int]]
    answers: list[str]


def requests(
    problems: pl.DataFrame, samples: int, tokenizer: PreTrainedTokenizerBase, template: str, chat: bool
) -> Requests:
    """Requests for `samples` responses to each of `problems` (schemas.PROBLEMS).

    Raises StudyError when a problem holds a character without a token.
    """
    rows = Requests([], [], [], [])
    for problem_id, problem, answer in problems.select("problem_id", "problem", "answer").iter_rows():
        with unknown_characters_refused(tokenizer):
            prompt = encode_prompt(tokenizer, template, chat, problem)
        for sample in range(samples):
            rows.problem_ids.append(problem_id)
            rows.samples.append(sample)
            rows.prompts.append(prompt)
            rows.answers.append(answer)
    return rows


def response_columns(
    asked: Requests,
    responses: Sequence[Sequence[int]],
    stops: Sequence[int],
    tokenizer: PreTrainedTokenizerBase,
    grader: Grader,
) -> dict[str, list]:
    """The columns of schemas.ROLLOUTS for `responses` to `asked`; `stops` are the ids that end a response."""
    texts = tokenizer.batch_decode(responses, skip_special_tokens=True)
    grades = grader.grade(asked.answers, texts)
    return {
        "problem_id": asked.problem_ids,
        "sample": asked.samples,
        "prompt_token_ids": asked.prompts,
        "response_token_ids": [list(response) for response in responses],
        "response": texts,
        "finish_reason": ["stop" if response and response[-1] in stops else "length" for response in responses],
        "extracted_answer": [grade.extracted_answer for grade in grades],
        "correct": [grade.correct for grade in grades],
    }
