"""Room for prompts and responses in the models' contexts."""

from pathlib import Path

import polars as pl
import pytest

from tiny_models import save_tokenizer, tiny_policy
from tokenshift.config.problems import Prompt
from tokenshift.config.specs import Fit
from tokenshift.errors import StudyError
from tokenshift.policies.context import context_of, require_room

PROMPT = Prompt(template="{problem}=", chat=False)
PROBLEMS = {
    "problems/sums": pl.DataFrame({"problem_id": ["a", "b"], "problem": ["0+1", "0+1+1"]}),
    "corpora/worked": pl.DataFrame({"problem_id": ["a"], "problem": ["0+1"], "solution": ["1" * 20]}),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model with a context of 128 tokens, one for each character."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tiny_policy(0).model.save_pretrained(folder)
    save_tokenizer(folder, "01+=")
    return folder


def fit(problems: str, new_tokens: int, context: int | None = None) -> list[Fit]:
    setting = "evaluation.max_new_tokens"
    return [Fit(problems=problems, prompt=PROMPT, root="base", context=context, new_tokens=new_tokens, setting=setting)]


def test_the_longest_prompt_and_response_just_fit(base):
    assert context_of(base) == 128
    require_room(fit("problems/sums", 122), PROBLEMS, {"base": base})
    message = (
        "evaluation.max_new_tokens: problem b of problems/sums has as a prompt 6 tokens, which with 123 new ones exceed"
    )
    with pytest.raises(StudyError, match=message):
        require_room(fit("problems/sums", 123), PROBLEMS, {"base": base})


def test_a_solution_counts_with_its_end(base):
    require_room(fit("corpora/worked", 0, context=25), PROBLEMS, {"base": base})
    with pytest.raises(StudyError, match="problem a of corpora/worked has with its solution 25 tokens"):
        require_room(fit("corpora/worked", 0, context=24), PROBLEMS, {"base": base})


def test_of_a_model_trained_from_nothing_characters_are_tokens():
    require_room(fit("problems/sums", 4, context=10), PROBLEMS, {})
    with pytest.raises(StudyError, match=r"the context of model base, 10: lower the new tokens"):
        require_room(fit("problems/sums", 5, context=10), PROBLEMS, {})


def test_a_problem_without_tokens_is_refused(base):
    problems = {"problems/sums": pl.DataFrame({"problem_id": ["a"], "problem": ["7"]})}
    with pytest.raises(StudyError, match="holds a character that the tokenizer"):
        require_room(fit("problems/sums", 1), problems, {"base": base})
