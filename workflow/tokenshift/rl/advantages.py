"""Rewards of graded responses and their group-normalised advantages."""

import torch
from torch import Tensor

EPSILON = 1e-6  # added to the standard deviation, as in verl


def rewards(correct: Tensor, reward_correct: float, reward_wrong: float) -> Tensor:
    """Task reward of each response, float64, in the shape of `correct` (bool)."""
    return torch.where(correct, reward_correct, reward_wrong).double()


def overlong_penalty(lengths: Tensor, max_new_tokens: int, buffer: int, factor: float) -> Tensor:
    """Soft overlong penalty of responses of these `lengths` in tokens, at most 0, float64.

    It is 0 up to max_new_tokens - buffer, and falls linearly from there to -factor at max_new_tokens (DAPO,
    arXiv 2503.14476, equation 13).
    """
    excess = (lengths.double() - (max_new_tokens - buffer)).clamp(min=0)
    return -factor * excess / buffer


def group_advantages(rewards: Tensor, scale: bool, epsilon: float = EPSILON) -> Tensor:
    """Advantages (G, n) of `rewards` (G, n): n responses to each of G prompts.

    A = R - mean of the group; with `scale`, divided by the group's standard deviation (Bessel's correction) + epsilon
    (GRPO, arXiv 2402.03300, section 4.1.2), which Dr. GRPO leaves out (arXiv 2503.20783). Exactly 0 where all rewards
    are equal.
    """
    advantages = rewards - rewards.mean(-1, keepdim=True)
    if scale:
        advantages = advantages / (rewards.std(-1, keepdim=True) + epsilon)
    mixed = (rewards != rewards[..., :1]).any(-1, keepdim=True)
    return torch.where(mixed, advantages, 0.0)
