"""From a problem to the token ids of its prompt: the same for training, rollouts and scoring."""

import contextlib
from collections.abc import Iterator

import polars as pl
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from tokenshift.config.problems import Prompt
from tokenshift.errors import StudyError


def prompt_text(prompt: Prompt, problem: str) -> str:
    """The template of `prompt` with `problem` in place of {problem}."""
    return prompt.template.replace("{problem}", problem)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, problem: str) -> list[int]:
    """Token ids of the prompt of `problem`: its text, as a user turn of a chat template if so asked.

    Raises StudyError when a chat template is asked for and the tokenizer has none, or it cannot hold these turns, and
    when the token that begins a sequence stands there twice.
    """
    tokens = _encoded(tokenizer, prompt, prompt_text(prompt, problem))
    if tokenizer.bos_token_id is not None and tokens[:2] == [tokenizer.bos_token_id] * 2:
        raise StudyError(
            f"prompts begin with {tokenizer.bos_token} twice: the tokenizer of {tokenizer.name_or_path} adds it, and "
            "so does the study's `prompt.template` or the chat template; leave it out of the template"
        )
    return tokens


def prompts_by_problem(
    problems: pl.DataFrame, tokenizer: PreTrainedTokenizerBase, prompt: Prompt
) -> dict[str, list[int]]:
    """Token ids of the prompt of each of `problems` (schemas.PROBLEMS), by its id.

    Raises StudyError as `encode_prompt` does, and when a problem holds a character without a token.
    """
    with unknown_characters_refused(tokenizer):
        return {
            problem_id: encode_prompt(tokenizer, prompt, problem)
            for problem_id, problem in problems.select("problem_id", "problem").iter_rows()
        }


def _encoded(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, text: str) -> list[int]:
    if not prompt.chat:
        return tokenizer(text).input_ids
    if tokenizer.chat_template is None and prompt.chat_template is None:
        raise StudyError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template; set `chat: false` in the study's "
            "`prompt` or the model's, or give its `chat_template`"
        )
    turns = [{"role": "system", "content": prompt.system}] if prompt.system is not None else []
    turns.append({"role": "user", "content": text})
    try:
        return tokenizer.apply_chat_template(
            turns, chat_template=prompt.chat_template, add_generation_prompt=True, return_dict=False
        )
    except TemplateError as error:
        raise StudyError(
            f"the chat template for {tokenizer.name_or_path} refuses the prompt ({error}); change `prompt.system` or "
            "`prompt.chat_template`"
        ) from None


@contextlib.contextmanager
def unknown_characters_refused(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Inside, a text with a character that `tokenizer` has no token for raises a StudyError.

    The tokenizers library raises a bare Exception for it.
    """
    try:
        yield
    except Exception as error:
        if "Missing [UNK] token" not in str(error):
            raise
        raise StudyError(
            f"a prompt or solution holds a character that the tokenizer of {tokenizer.name_or_path} does not know; "
            "train the base model on a corpus that holds it, or change the problems"
        ) from None
