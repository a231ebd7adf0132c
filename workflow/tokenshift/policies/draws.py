"""Tokens drawn one after another on a model's device; the host sees them all at the end."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenshift.distributions.sampling import Sampling, draw_among, draw_with_margins, probabilities
from tokenshift.errors import NotFinite
from tokenshift.policies.captured import sent


@dataclass(frozen=True)
class DrawnAhead:
    """Tokens of N rows, and the margins of their draws, (N, steps); of each row the first `held` (N,) are right.

    Those behind follow a token that had to be drawn again, from more candidates.
    """

    tokens: np.ndarray
    margins: np.ndarray
    held: np.ndarray


class Draws:
    """Draws of N rows, a step after another, at `uniforms` (N, steps)."""

    def __init__(self, uniforms: np.ndarray, sampling: Sampling):
        self.sampling = sampling
        self._values = uniforms
        self._uniforms: Tensor | None = None
        self._logits: list[Tensor] = []
        self._drawn: list[tuple[Tensor, Tensor, Tensor]] = []

    def draw(self, logits: Tensor, probs: Tensor | None = None) -> Tensor:
        """Tokens (N,) of the next step, from `logits` (N, V); their probabilities are computed unless known."""
        if probs is None:
            probs = probabilities(logits, self.sampling.temperature)
        if self._uniforms is None:
            self._uniforms = sent(self._values, logits.device)
        drawn = draw_among(probs, self._uniforms[:, len(self._drawn)], self.sampling.top_p)
        self._logits.append(logits)
        self._drawn.append(drawn)
        return drawn[0]

    def seen(self) -> DrawnAhead:
        """What has been drawn. Raises NotFinite when probabilities of a token that is right are not finite."""
        tokens, margins, complete = (torch.stack(parts, dim=-1) for parts in zip(*self._drawn, strict=True))
        together = torch.cat([part.double() for part in (tokens, margins, complete)], dim=-1).cpu().numpy()
        tokens, margins, complete = np.split(together, 3, axis=-1)
        tokens, complete = tokens.astype(np.int64), complete.astype(bool)
        held = np.where(complete.all(axis=-1), tokens.shape[1], complete.argmin(axis=-1) + 1)
        incomplete = ~complete.all(axis=-1)
        for step in np.unique(held[incomplete] - 1):
            rows = np.flatnonzero(incomplete & (held == step + 1))
            index = sent(rows, self._uniforms.device)
            probs = probabilities(self._logits[step][index], self.sampling.temperature)
            again = draw_with_margins(probs, self._uniforms[index, step], self.sampling.top_p)
            tokens[rows, step], margins[rows, step] = (values.cpu().numpy() for values in again)
        if np.isnan(margins[np.arange(tokens.shape[1]) < held[:, None]]).any():
            raise NotFinite("a model's logits are not finite while it is decoding; check its weights and precision")
        return DrawnAhead(tokens, margins, held)
