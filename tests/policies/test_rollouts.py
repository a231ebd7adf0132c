import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tokenshift.policies.rollouts import answer_position


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    """A token for every byte, so that a character may take several."""
    vocabulary = {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    fast = Tokenizer(models.BPE(vocabulary, []))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=fast)


@pytest.mark.parametrize(
    "before", ["", "so ", "the answer 中文 is ", r"first \boxed{1}, no: ", "𝛼 " * 50, "half \ufffd "]
)
@pytest.mark.parametrize(("opening", "answer"), [(r"\boxed{", "42"), (r"\boxed{", "文"), (r"\boxed {", " 7")])
def test_the_answer_begins_with_its_first_token(tokenizer, before, opening, answer):
    text = before + opening + answer + "} and on"
    up_to_its_first_character = text[: text.rindex(opening) + len(opening) + 1]
    expected = len(tokenizer.encode(up_to_its_first_character)) - 1
    assert answer_position(tokenizer.encode(text), text, tokenizer) == expected


@pytest.mark.parametrize("text", ["", "42", r"\boxed{42"])
def test_without_a_box_there_is_no_answer(tokenizer, text):
    assert answer_position(tokenizer.encode(text), text, tokenizer) is None
