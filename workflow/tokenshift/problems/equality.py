r"""Whether two answers in LaTeX say the same: math-verify's verdict, and around it what that would get wrong.

docs/grading.md has an example of every decision that is made here. What a model writes may compute without end: call
this where time and memory are limited (tokenshift.problems.grading).
"""

import re
from itertools import pairwise
from typing import Any

# Digits to which exact numbers are compared, and the share of a number by which two that agree may differ.
DIGITS, TOLERANCE = 50, 1e-25
# Of numbers computed from decimals, such as 1.5 \cdot 10^3, whose last digits are those of binary floats.
FLOAT_TOLERANCE = 1e-9
# Of numbers of which the answer itself says that they are only about equal.
ABOUT = 0.01
# A decimal that is not exactly the other number has to show so many of its digits.
SIGNIFICANT = 6

_DENIAL = re.compile(r"\\(?:neq?|not\s*=|ncong|nsim)(?![a-zA-Z])|≠|!=")
_APPROXIMATE = r"\\(?:approx|simeq|doteq)(?![a-zA-Z])|≈"
_EQUALITY = re.compile(rf"((?<![<>!:])=|{_APPROXIMATE})")
_PERCENT = re.compile(r"\\?%")
_DECIMAL = re.compile(r"-?\d*\.\d+")

_SPELLINGS = (
    # $5$ and \(5\) are 5.
    (re.compile(r"^\s*(?:\$+|\\\(|\\\[)\s*(.*?)\s*(?:\$+|\\\)|\\\])\s*$", re.DOTALL), r"\1"),
    # 18. is 18, and 1./3 is 1/3; 0.\overline{3} keeps its point.
    (re.compile(r"([\w})\]])\s*\.\s*$"), r"\1"),
    (re.compile(r"(?<=\d)\.(?=[^\d\\])"), ""),
    # 1e3 is 1000; a number of more than a thousand digits is not worth it.
    (re.compile(r"(?<![\w\\.])(\d+(?:\.\d+)?|\.\d+)[eE]([+-]?\d{1,3})(?!\w)"), r"\1\\cdot 10^{\2}"),
    # Upright i, e and d are constants and differentials like slanted ones.
    (re.compile(r"\\(?:mathrm|text|textrm|operatorname|mathit|rm)\s*\{\s*([ied])\s*\}"), r"\1"),
    # math-verify reads b>a>c, and not b > a > c.
    (re.compile(r"\s*([<>])\s*"), r"\1"),
)


def normalised(answer: str) -> str:
    """`answer` in the spelling that math-verify reads: without a full stop, 1e3 as a product, i, e and d slanted."""
    for spelling, replacement in _SPELLINGS:
        answer = spelling.sub(replacement, answer)
    return answer.strip()


def parsed(answer: str, **options: str) -> list[Any]:
    """What math-verify reads in `answer`: a SymPy object, then the text that it was read from; nothing, if nothing."""
    from math_verify import parse

    # Without math-verify's own timeout: it needs SIGALRM, and does not stop arithmetic on big integers.
    return parse(rf"\boxed{{{answer}}}", parsing_timeout=None, **options)


def readable(gold: str) -> bool:
    """Whether math-verify can read the reference answer `gold`, and numbers can be compared with it."""
    found = parsed(normalised(gold), fallback_mode="no_fallback")
    if found and _is_number(found[0]):
        found[0].evalf(DIGITS)
    return bool(found)


def equal(gold: str, answer: str) -> bool:
    """Whether `answer` says what the reference answer `gold` says."""
    gold, answer = normalised(gold), normalised(answer)
    if ("%" in gold) != ("%" in answer):
        # A question that asks for percent has its answer with the sign or without.
        without = (_PERCENT.sub("", text).strip() for text in (gold, answer))
        return _same(gold, answer) or _same(*without)
    return _same(gold, answer)


def _same(gold: str, answer: str) -> bool:
    if gold == answer:
        return True
    if bool(_DENIAL.search(gold)) != bool(_DENIAL.search(answer)):
        return False
    both_say_equal = bool(_EQUALITY.search(gold) and _EQUALITY.search(answer))
    gold, answer = (_without_chain(text, 2 if both_say_equal else 1) for text in (gold, answer))
    if gold is None or answer is None:
        return False
    from math_verify import verify

    of_gold, of_answer = parsed(gold), parsed(answer)
    if not verify(of_gold, of_answer, timeout_seconds=None, allow_set_relation_comp=True):
        return False
    if not of_gold or not of_answer:
        return False
    if _brackets(gold) != _brackets(answer) and {_brackets(gold), _brackets(answer)} == {"()", "{}"}:
        return False
    if _size(of_gold[0]) != _size(of_answer[0]):
        return False
    if _is_number(of_gold[0]) and _is_number(of_answer[0]):
        return _numbers_agree(gold, of_gold[0], answer, of_answer[0])
    return True


def _without_chain(text: str, fewest: int) -> str | None:
    r"""The number that a chain such as x = 2+3 = 5 \approx 5.0 says; None where it is false; another text as it is.

    The first side may be anything, such as x; all others have to be numbers, and at least `fewest` sides, or there is
    no chain.
    """
    first, *others = _EQUALITY.split(text)
    sides = [("=", first), *zip(others[::2], others[1::2], strict=True)]
    if _number(first) is None:
        sides = sides[1:]
    if not others or len(sides) < fewest or any(_number(side) is None for _, side in sides):
        return text
    for (_, left), (sign, right) in pairwise(sides):
        value, other = _number(left), _number(right)
        if not (_numbers_agree(left, value, right, other) if sign == "=" else _near(value, other, ABOUT)):
            return None
    return sides[0][1]


def _number(text: str) -> Any:
    """The number that `text` is; None where it is none."""
    found = parsed(normalised(text), fallback_mode="no_fallback")
    return found[0] if found and _is_number(found[0]) else None


def _is_number(value: Any) -> bool:
    import sympy

    return isinstance(value, sympy.Expr) and not isinstance(value, sympy.Tuple) and bool(value.is_number)


def _numbers_agree(text: str, value: Any, other_text: str, other: Any) -> bool:
    """Whether two numbers are one: exactly, or where a decimal shows at least SIGNIFICANT digits of the other."""
    import sympy

    texts = [one.replace(" ", "") for one in (text, other_text)]
    decimals = [one for one in texts if _DECIMAL.fullmatch(one)]
    value, other = (
        sympy.Rational(one) if one in decimals else number.replace(sympy.UnevaluatedExpr, lambda inner: inner)
        for one, number in zip(texts, (value, other), strict=True)
    )
    if _near(value, other, TOLERANCE):
        return True
    if not decimals:
        return _has_floats(value, other) and _near(value, other, FLOAT_TOLERANCE)
    shown = min(len(decimal.partition(".")[2]) for decimal in decimals)
    significant = min(len(decimal.replace(".", "").lstrip("-0")) for decimal in decimals)
    return significant >= SIGNIFICANT and bool(_distance(value, other) <= 0.5 * 10.0**-shown)


def _has_floats(*values: Any) -> bool:
    import sympy

    return any(value.atoms(sympy.Float) for value in values)


def _distance(value: Any, other: Any) -> Any:
    return abs((value - other).evalf(DIGITS))


def _near(value: Any, other: Any, tolerance: float) -> bool:
    """Whether two numbers differ by at most that share of the larger one; infinities, whether they are the same."""
    sizes = [abs(number.evalf(DIGITS)) for number in (value, other)]
    if not all(size.is_finite for size in sizes):
        return bool(value == other)
    return bool(_distance(value, other) <= tolerance * max(sizes))


def _size(value: Any) -> int:
    """How many elements a list or set has; 1 of anything else."""
    import sympy

    return len(value.args) if isinstance(value, sympy.FiniteSet | sympy.Tuple) else 1


def _brackets(answer: str) -> str:
    """() around the whole of a tuple, {} around that of a set, and nothing around anything else."""
    bare = re.sub(r"\\(?:left|right|big|Big)", "", answer).strip()
    if bare.startswith(r"\{") and bare.endswith(r"\}"):
        return "{}"
    return "()" if bare.startswith("(") and bare.endswith(")") and "," in bare else ""
