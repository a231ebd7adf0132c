"""From a problem to the token ids of its prompt."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tokenshift.config.problems import Prompt
from tokenshift.errors import StudyError
from tokenshift.problems.prompts import encode_prompt

TOKENS = ["<s>", "</s>", *"1+= usr"]
TEMPLATE = "{% for m in messages %}u{{ m['content'] }}{% endfor %}"


def tokenizer(adds_bos: bool, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """A token for each character; `<s>` begins every sequence if `adds_bos`."""
    fast = Tokenizer(models.WordLevel({token: number for number, token in enumerate(TOKENS)}))
    fast.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    if adds_bos:
        fast.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token="<s>", eos_token="</s>", chat_template=chat_template
    )


def test_a_prompt_is_the_template_with_the_problem():
    assert encode_prompt(tokenizer(False), Prompt(template="{problem}=", chat=False), "1+1") == [2, 3, 2, 4]
    assert encode_prompt(tokenizer(True), Prompt(template="{problem}=", chat=False), "1+1") == [0, 2, 3, 2, 4]
    assert encode_prompt(tokenizer(True, TEMPLATE), Prompt(template="{problem}", chat=True), "1") == [6, 2]


@pytest.mark.parametrize(
    ("prompt", "chat_template"),
    [
        (Prompt(template="<s>{problem}", chat=False), None),
        (Prompt(template="{problem}", chat=True), "<s><s>{{ messages[0]['content'] }}"),
    ],
)
def test_a_beginning_that_stands_twice_is_refused(prompt, chat_template):
    with pytest.raises(StudyError, match=r"prompts begin with <s> twice: .*leave it out of the template"):
        encode_prompt(tokenizer(True, chat_template), prompt, "1")


def test_a_study_may_give_a_system_turn_and_its_own_template():
    theirs = tokenizer(True, TEMPLATE)
    assert encode_prompt(theirs, Prompt(template="{problem}", system="+"), "1") == [6, 3, 6, 2]
    given = Prompt(
        template="{problem}", system="+", chat_template="{{ messages[0].role[0] }}={{ messages[1].content }}"
    )
    assert encode_prompt(theirs, given, "1") == [7, 4, 2]
    assert encode_prompt(tokenizer(True), given, "1") == [7, 4, 2]
    refusing = Prompt(template="{problem}", chat_template="{{ raise_exception('System role not supported') }}")
    with pytest.raises(StudyError, match=r"refuses the prompt \(System role not supported\); change `prompt.system`"):
        encode_prompt(theirs, refusing, "1")


def test_without_a_chat_template_none_can_be_asked_for():
    with pytest.raises(StudyError, match="has no chat template; set `chat: false`"):
        encode_prompt(tokenizer(True), Prompt(template="{problem}", chat=True), "1")
