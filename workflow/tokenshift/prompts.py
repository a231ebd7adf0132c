"""From a problem to the token ids of its prompt: the same for training, rollouts and scoring."""

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
