"""What is compared of policies whose tokenizers differ in special tokens: the tokens that both have.

Both distributions are those over the shared tokens, renormalised; the probability that a policy gives to its others is
told beside them. A response is compared up to its first token that is not shared: the other policy could not read on.
"""

import sys

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tokenshift.distributions.log_probabilities import at_least_float32
from tokenshift.errors import StudyError
from tokenshift.policies.policy import Policy

TOKEN_COLUMNS = ("top_ids_base", "top_ids_tuned")  # of `compare`, which counts tokens from 0


class SharedTokens:
    """The tokens of a pair that both policies have, by `ids` (V,), ascending; without, all below either's size."""

    def __init__(self, base: Policy, tuned: Policy, ids: np.ndarray | None):
        self.sizes = (base.vocabulary_size, tuned.vocabulary_size)
        self.ids = np.arange(min(self.sizes)) if ids is None else ids
        self._is_shared = np.zeros(max(self.sizes), dtype=bool)
        self._is_shared[self.ids] = True
        self._leading = bool((self.ids == np.arange(len(self.ids))).all())
        self._device_ids = torch.from_numpy(self.ids).long().to(base.model.device)

    def logits(self, blocks: list[Tensor]) -> list[Tensor]:
        """Logits (N, V) of base and tuned policy for the shared tokens, from those for all of their outputs."""
        if self._leading:
            return [block[:, : len(self.ids)] for block in blocks]
        return [block.index_select(-1, self._device_ids) for block in blocks]

    def unshared_mass(self, blocks: list[Tensor], shared: list[Tensor]) -> dict[str, Tensor]:
        """Probability (N,) that each policy gives to its other tokens, from `blocks` and what `logits` made of them."""
        masses = {}
        for which, block, part, size in zip(("base", "tuned"), blocks, shared, self.sizes, strict=True):
            if size == len(self.ids):
                mass = torch.zeros(len(block), device=block.device)
            else:
                totals = (at_least_float32(logits).logsumexp(-1) for logits in (part, block[:, :size]))
                within, everything = totals
                mass = -torch.expm1((within - everything).clamp(max=0))
            masses[f"mass_{which}_unshared"] = mass
        return masses

    def places(self, tokens: Tensor) -> Tensor:
        """Columns of shared `tokens` in the logits."""
        return tokens if self._leading else torch.searchsorted(self._device_ids, tokens)

    def with_ids(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """`columns` with token ids in place of the logits' columns; -1 stays."""
        if self._leading:
            return columns
        named = {name: self._device_ids[columns[name].clamp(min=0)] for name in TOKEN_COLUMNS}
        return columns | {name: ids.where(columns[name] >= 0, -1) for name, ids in named.items()}

    def cut(self, rollouts: pl.DataFrame) -> pl.DataFrame:
        """`rollouts` (schemas.ROLLOUTS), each response up to its first token that is not shared; tells how many were.

        Raises StudyError at a token that neither policy has.
        """
        largest = rollouts["response_token_ids"].list.max()
        if (outside := (largest >= max(self.sizes)).arg_true()).len():
            problem_id, sample = rollouts["problem_id"][outside[0]], rollouts["sample"][outside[0]]
            raise StudyError(
                f"problem {problem_id}, sample {sample}: token id {largest[outside[0]]} lies outside the pair's "
                f"vocabulary of {max(self.sizes)}"
            )
        if self._leading and (largest.max() or 0) < len(self.ids):
            return rollouts
        responses, cut, lost = [], 0, 0
        for tokens in rollouts["response_token_ids"].to_list():
            others = np.flatnonzero(~self._is_shared[np.array(tokens, dtype=int)])
            responses.append(tokens[: others[0]] if len(others) else tokens)
            cut, lost = cut + bool(len(others)), lost + len(tokens) - len(responses[-1])
        if cut:
            print(
                f"{cut} of {len(rollouts)} responses are compared up to their first token that only one model has; "
                f"{lost} positions lie behind it",
                file=sys.stderr,
            )
        kind = rollouts.schema["response_token_ids"]
        return rollouts.with_columns(response_token_ids=pl.Series(responses, dtype=kind))
