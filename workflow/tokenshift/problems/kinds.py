r"""Kinds of reference answers: which answers are of a kind, and when two of a kind are the same without mathematics.

math: whatever math-verify reads (tokenshift.problems.equality decides). choice: a letter, however it is wrapped. text:
words. integer: a whole number. docs/grading.md has examples.
"""

import re
import unicodedata

# More words than this in a row are prose, not mathematics: an explanation, or a worked solution.
MOST_WORDS = 3

_WRAPPING = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathsf|operatorname|bf|rm)\s*\{([^{}]*)\}")
_AROUND = re.compile(r"\\(?:displaystyle|left|right|[()\[\]])")
_CHOICE = re.compile(r"\(?\s*([A-Za-z])\s*(?:[).:](?:\s.*)?|\)?)", re.DOTALL)
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_PROSE = re.compile(rf"(?:\b[a-z]{{2,}}\b[,;]?\s+){{{MOST_WORDS}}}[a-z]{{2,}}\b", re.IGNORECASE)


def unwrapped(answer: str) -> str:
    r"""`answer` without what only sets it: $...$, \text{...} and its like, a full stop at its end."""
    answer = _AROUND.sub("", answer).strip().strip("$").strip()
    while (inner := _WRAPPING.sub(r"\1", answer)) != answer:
        answer = inner
    return answer.replace(r"\ ", " ").replace("~", " ").strip().removesuffix(".").strip()


def choice(answer: str) -> str | None:
    """The letter, in upper case, that `answer` chooses: A, (A), A. or A) 12 is A; None where it chooses none."""
    found = _CHOICE.fullmatch(unwrapped(answer))
    return found[1].upper() if found else None


def integer(answer: str) -> int | None:
    """The whole number that `answer` writes, as 033 or 1,000; None where it writes none."""
    written = unwrapped(answer).replace("{,}", "").replace(",", "").replace(" ", "")
    return int(written) if _INTEGER.fullmatch(written) else None


def words(answer: str) -> str:
    """The words of `answer`, in one case, with single spaces, and Unicode's variants of a character as one."""
    return " ".join(unicodedata.normalize("NFKC", unwrapped(answer)).casefold().split())


def same(kind: str, gold: str, answer: str) -> bool:
    """Whether `answer` is the reference answer `gold` of a kind other than math."""
    reading = {"choice": choice, "integer": integer, "text": words}[kind]
    return reading(gold) is not None and reading(gold) == reading(answer)


def refusal(kind: str, gold: str) -> str | None:
    """Why `gold` is no reference answer of its kind, as far as can be told without mathematics; None where it is."""
    if kind == "choice" and choice(gold) is None:
        return "is no letter to choose (answers.kind: choice)"
    if kind == "integer" and integer(gold) is None:
        return "is no whole number (answers.kind: integer)"
    if kind == "math" and _PROSE.search(_WRAPPING.sub(" ", gold)):
        return (
            "is prose, not mathematics: say where the answer stands in it (answers.after, answers.boxed or "
            "answers.pattern), or that it is text (answers.kind: text)"
        )
    return None
