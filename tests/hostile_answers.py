"""Responses that a grader has to survive, generated from a seed."""

import random

KINDS = {
    "towers": lambda rng: "^{".join(str(rng.randint(2, 99)) for _ in range(rng.randint(3, 6))) + "}" * 5,
    "powers": lambda rng: f"{rng.randint(2, 99)}^{{{rng.randint(10**5, 10**9)}}}",
    "factorials": lambda rng: f"{rng.randint(10**4, 10**9)}" + "!" * rng.randint(1, 3),
    "digits": lambda rng: str(rng.randint(1, 9)) * rng.randint(300, 1900),
    "nesting": lambda rng: "{" * (depth := rng.randint(1, 900)) + "1" + "}" * depth,
    "fractions": lambda rng: "\\frac{1}{" * (depth := rng.randint(2, 120)) + "2" + "}" * depth,
    "roots": lambda rng: "\\sqrt{" * (depth := rng.randint(2, 200)) + str(rng.randint(2, 99)) + "}" * depth,
    "parentheses": lambda rng: "(" * (depth := rng.randint(2, 900)) + "x" + ")" * depth,
    "sums": lambda rng: "+".join(f"x_{{{rng.randint(0, 99)}}}" for _ in range(rng.randint(2, 150))),
    "expansions": lambda rng: f"(x+y+z+{rng.randint(1, 9)})^{{{rng.randint(20, 400)}}}",
    "integrals": lambda rng: f"\\int_0^{{{rng.randint(1, 9)}}} e^{{-x^{rng.randint(2, 9)}}} \\sin(x^{{x}}) dx",
    "limits": lambda rng: f"\\sum_{{k=1}}^{{{10 ** rng.randint(5, 30)}}} \\frac{{1}}{{k^{rng.randint(1, 9)}}}",
    "sets": lambda rng: "\\{" + ",".join(str(rng.randint(0, 10**6)) for _ in range(rng.randint(2, 250))) + "\\}",
    "intervals": lambda rng: " \\cup ".join(f"({i},{i + rng.randint(1, 2)}]" for i in range(rng.randint(2, 60))),
    "matrices": lambda rng: "\\begin{pmatrix}" + " & ".join("1" * rng.randint(1, 90)) + "\\end{pmatrix}",
    "unbalanced": lambda rng: "".join(rng.choices(["{", "}", "\\left(", "\\right]", "\\frac", "^_", "$", "1"], k=30)),
    "unicode": lambda rng: "".join(chr(rng.choice([rng.randint(32, 0x2FFF), 0x202E, 0x1F600, 0])) for _ in range(40)),
    "code": lambda rng: (
        rng.choice(["__import__('os').system('kill 1')", "exit()", "eval('9**9**9')", "lambda: 0"])
        + str(rng.randint(0, 999))
    ),
    "percents": lambda rng: "\\%" * rng.randint(1, 200) + "\\$" * rng.randint(1, 200),
    "commands": lambda rng: "".join(f"\\{rng.choice('abcdefghij')}{{{i}}}" for i in range(rng.randint(1, 90))),
    "equations": lambda rng: "=".join(str(rng.randint(0, 9)) for _ in range(rng.randint(2, 300))),
    "chains": lambda rng: rng.choice(["=", " \\approx "]).join(
        f"{rng.randint(1, 10**6)}+{rng.randint(0, 1)}" for _ in range(rng.randint(2, 90))
    ),
    "tiny": lambda rng: f"\\frac{{1}}{{{rng.randint(2, 99)}^{{{rng.randint(10**4, 10**9)}}}}}",
    "scientific": lambda rng: f"{rng.randint(1, 9)}e{rng.randint(-999, 999)}" + "e9" * rng.randint(0, 2),
    "large sets": lambda rng: ",".join(str(rng.randint(0, 99)) for _ in range(rng.randint(300, 900))),
    "upright": lambda rng: "\\mathrm{i}" * rng.randint(1, 150) + "." * rng.randint(0, 99),
    "denials": lambda rng: "\\neq " * rng.randint(1, 300) + "1 \\%" * rng.randint(0, 50),
    "decimals": lambda rng: f"{rng.random()}e{rng.randint(-(10**9), 10**9)}",
}


# Kinds that sympy or the parser works on until the deadline: each answer costs a worker.
ENDLESS = ("towers", "powers", "factorials", "nesting", "fractions", "roots", "parentheses", "sums")
ENDLESS += ("expansions", "integrals", "limits", "sets", "intervals", "equations", "chains", "tiny", "large sets")


def responses(quick: int, endless: int, seed: int) -> list[str]:
    """Boxed answers in random order: `endless` of each kind in ENDLESS, `quick` of each other kind."""
    rng = random.Random(seed)
    counts = {kind: endless if kind in ENDLESS else quick for kind in KINDS}
    answers = [f"So \\boxed{{{KINDS[kind](rng)}}}." for kind, count in counts.items() for _ in range(count)]
    rng.shuffle(answers)
    return answers


def unboxed(seed: int) -> list[str]:
    """Responses in which finding the answer is itself hard: long, adjacent or unfinished boxes."""
    rng = random.Random(seed)
    return [
        "\\boxed{" * 100_000,
        "}" * 1_000_000,
        "\\boxed{1}" * 100_000 + "\\boxed{2}",
        "\\boxed{" * 50_000 + "3" + "}" * 50_000,
        "\\boxed{" + "9" * 3_000_000 + "}",
        "\\" * 1_000_001 + "boxed{1}",
        "".join(rng.choices("\\{}boxed1 \n", k=1_000_000)),
        "\x00\\boxed{\ud800}",
        "\\boxed{1}\\boxed{2}\\boxed{",
    ]
