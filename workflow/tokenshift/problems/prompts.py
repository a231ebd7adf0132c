"""From a problem to the token ids of its prompt: the same for training, rollouts and scoring."""

import contextlib
from collections.abc import Iterator

from transformers import PreTrainedTokenizerBase

from tokenshift.errors import StudyError


def encode_prompt(tokenizer: PreTrainedTokenizerBase, template: str, chat: bool, problem: str) -> list[int]:
    """Token ids of `template` with `problem` in place of {problem}; with `chat`, as a user turn of the chat template.

    Raises StudyError when a chat template is asked for and the tokenizer has none.
    """
    text = template.replace("{problem}", problem)
    if not chat:
        return tokenizer(text).input_ids
    if tokenizer.chat_template is None:
        raise StudyError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template; set `chat: false` in the study's `prompt`"
        )
    turns = [{"role": "user", "content": text}]
    return tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)


@contextlib.contextmanager
def unknown_characters_refused(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Turn the tokenizers library's bare Exception for a text that `tokenizer` has no tokens for into a StudyError."""
    try:
        yield
    except Exception as error:
        if "Missing [UNK] token" not in str(error):
            raise
        raise StudyError(
            f"a prompt or solution holds a character that the tokenizer of {tokenizer.name_or_path} does not know; "
            "train the base model on a corpus that holds it, or change the problems"
        ) from None
