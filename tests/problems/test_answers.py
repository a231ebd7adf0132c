import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.problems.answers import last_boxed


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("no answer", None),
        (r"\boxed{3}", "3"),
        (r"\boxed{1} and then \boxed{ \frac{1}{2} }.", r"\frac{1}{2}"),
        (r"\boxed{1} and then \boxed{2", None),
        (r"\boxed{1 and then \boxed{2}", "2"),
        (r"\boxed{\boxed{4}}", "4"),
        (r"{ \boxed {5}", "5"),
        (r"} \boxed{6}}", "6"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{}", ""),
        (r"\fbox{7} \boxed 7", None),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


def last_boxed_by_search(text: str) -> str | None:
    """From the last opening to where its braces balance, if they do."""
    start = text.rfind("\\boxed{")
    depth = 0
    for place in range(start + 6, len(text) if start >= 0 else 0):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start + 7 : place].strip()
    return None


@given(st.lists(st.sampled_from(["\\boxed{", "{", "}", "1", " x"]), max_size=12).map("".join))
def test_last_boxed_equals_a_direct_search(text):
    assert last_boxed(text) == last_boxed_by_search(text)


def test_last_boxed_takes_linear_time():
    text = "\\boxed{" * 200_000
    start = time.perf_counter()
    assert last_boxed(text) is None
    assert time.perf_counter() - start < 2
