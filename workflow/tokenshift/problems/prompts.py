"""From a problem to the token ids of its prompt: the same for training, rollouts and scoring."""

import contextlib
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from tokenshift.config.problems import Prompt
from tokenshift.errors import StudyError


def prompt_text(prompt: Prompt, problem: str) -> str:
    """The template of `prompt` with `problem` in place of {problem}."""
    return prompt.template.replace("{problem}", problem)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, problem: str) -> list[int]:
    """Token ids of the prompt of `problem`: its text, as a user turn of the tokenizer's chat template if so asked.

    Raises StudyError when a chat template is asked for and the tokenizer has none, and when the token that begins a
    sequence stands there twice.
    """
    tokens = _encoded(tokenizer, prompt, prompt_text(prompt, problem))
    if tokenizer.bos_token_id is not None and tokens[:2] == [tokenizer.bos_token_id] * 2:
        raise StudyError(
            f"prompts begin with {tokenizer.bos_token} twice: the tokenizer of {tokenizer.name_or_path} adds it, and "
            "so does the study's `prompt.template` or the chat template; leave it out of the template"
        )
    return tokens


def _encoded(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, text: str) -> list[int]:
    if not prompt.chat:
        return tokenizer(text).input_ids
    if tokenizer.chat_template is None:
        raise StudyError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template; set `chat: false` in the study's `prompt`"
        )
    turns = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)


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
