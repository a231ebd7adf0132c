"""Which prompts the two policies of a pair are conditioned on, where those of their models differ.

The study says so in scoring.conditioning. "responder": both on the prompt of the policy whose response it is, so that
the models are all that differs. "own": each on its own, as it is used by itself.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.config.specs import PairPrompts
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_tokenizer
from tokenshift.problems.prompts import prompts_by_problem

Prompts = dict[str, list[int]]  # token ids by problem


def own_prompts(
    conditioning: str, prompts: PairPrompts, problems: pl.DataFrame, base: Path, tuned: Path
) -> tuple[Prompts, Prompts] | None:
    """The prompts of base and tuned model for `problems` (schemas.PROBLEMS); None where the responder's are used.

    Tells the first of each, with its token ids.
    """
    if conditioning == "responder":
        return None
    found = []
    for which, folder, prompt in (("base", base, prompts.base), ("tuned", tuned, prompts.tuned)):
        tokenizer = load_tokenizer(folder)
        found.append(prompts_by_problem(problems, tokenizer, prompt))
        first = next(iter(found[-1].values()), [])
        print(f"the first prompt of the {which} model: {tokenizer.decode(first)!r}, tokens {first}", file=sys.stderr)
    return tuple(found)


def require_shared(prompts: Mapping[str, list[int]], shared_ids: np.ndarray) -> None:
    """Raise StudyError when a prompt that both policies are to be conditioned on holds a token that one lacks.

    `prompts` are token ids by problem, `shared_ids` those of the tokens that both policies have.
    """
    known = set(shared_ids.tolist())
    for problem_id, prompt in prompts.items():
        if others := [token for token in prompt if token not in known]:
            raise StudyError(
                f"problem {problem_id}: its prompt holds token {others[0]}, which one of the pair's models does not "
                "have: set scoring.conditioning to own, so that each has its own prompt, or map the token in the "
                "pair's special_tokens"
            )
