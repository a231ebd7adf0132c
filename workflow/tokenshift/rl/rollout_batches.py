"""Rollout batches: which problems are drawn, how the policy answers them, and which groups are kept."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedTokenizerBase

from tokenshift.config.problems import Prompt
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.policies.generation import Cancelled, never
from tokenshift.policies.rollouts import PromptBatch, grade, prompt_batch
from tokenshift.problems.grading import Grader
from tokenshift.rl.decoders import Decoder, Keys
from tokenshift.training.batches import shuffled_batch
from tokenshift.training.encoding import require_context
from tokenshift.training.phases import phase
from tokenshift.training.world import World


@dataclass(frozen=True)
class Group:
    """One problem's prompt with its n responses and their grades."""

    problem_id: str
    prompt: list[int]  # token ids
    responses: list[list[int]]  # token ids of each, the end-of-sequence token included where it was drawn
    correct: list[bool]  # of each

    @property
    def mixed(self) -> bool:
        """Whether some responses are correct and some are not: only then do the advantages differ from zero."""
        return len(set(self.correct)) > 1


@dataclass(frozen=True)
class RolloutBatch:
    """What one step trains on, and all that was drawn for it."""

    groups: list[Group]
    drawn: list[Group]  # those of `groups` too
    draws: int


@dataclass(frozen=True)
class Rollouts:
    """How the policy answers problems: all that stays the same from step to step."""

    decoder: Decoder
    tokenizer: PreTrainedTokenizerBase
    grader: Grader
    problems: pl.DataFrame  # schemas.PROBLEMS
    prompt: Prompt
    problems_per_draw: int
    responses_per_problem: int
    sampling: Sampling
    batch_size: int  # responses decoded together
    seed: int

    def check_prompts(self) -> None:
        """Raise StudyError without problems, or when a prompt cannot be encoded or leaves no room for a response."""
        if self.problems.is_empty():
            raise StudyError("the problem set to train on is empty")
        prompts = self._prompts(self.problems, 1).prompts
        require_context((len(prompt) + self.sampling.max_new_tokens for prompt in prompts), self.decoder.model)

    def draw(self, number: int, purpose: str, cancelled: Callable[[], bool] = never) -> list[Group]:
        """Groups for the problems of draw `number` (from 0, over the whole run), with the noise of `purpose`.

        Raises StudyError when there are fewer problems than a draw takes, and Cancelled as `answered` does.
        """
        rows = shuffled_batch(self.seed, len(self.problems), self.problems_per_draw, number)
        return self.answered(self.problems[rows], purpose, cancelled)

    def answered(self, problems: pl.DataFrame, purpose: str, cancelled: Callable[[], bool] = never) -> list[Group]:
        """Groups for `problems`, with the noise of `purpose`. Each process answers its share and receives all groups.

        `cancelled` is asked while they are decoded. Raises Cancelled, on every process, when it has returned true on
        one.
        """
        world, n = World.current(), self.responses_per_problem
        batch = self._prompts(problems[world.rank :: world.size], n)  # the problems of World.share
        gave_up, responses = False, []
        with phase("generation"):
            try:
                keys = Keys(self.seed, purpose)
                responses = self.decoder.responses(batch, keys, self.sampling, self.batch_size, cancelled)
            except Cancelled:
                gave_up = True
        if world.any(gave_up, self.decoder.model.device):
            raise Cancelled
        with phase("grading"):
            _, grades = grade(batch, responses, self.tokenizer, self.grader)
        correct = [graded.correct for graded in grades]
        return world.merged(
            [
                Group(batch.problem_ids[i], batch.prompts[i], responses[i : i + n], correct[i : i + n])
                for i in range(0, len(responses), n)
            ]
        )

    def _prompts(self, problems: pl.DataFrame, samples: int) -> PromptBatch:
        return prompt_batch(problems, samples, self.tokenizer, self.prompt)


def collect(draw: Callable[[int], list[Group]], size: int, most_draws: int | None) -> RolloutBatch:
    """Rollout batch of `size` groups, where draw(k) gives the groups of this step's k-th draw (from 0).

    Without `most_draws`, it is the first draw as it is. With it, the batch holds mixed groups only, drawn until there
    are enough, but at most `most_draws` times: then the batch is smaller, even empty (dynamic sampling, DAPO,
    arXiv 2503.14476, section 3.2).
    """
    if most_draws is None:
        drawn = draw(0)
        return RolloutBatch(drawn, drawn, 1)
    drawn, kept, draws = [], [], 0
    while len(kept) < size and draws < most_draws:
        groups = draw(draws)
        drawn += groups
        kept += [group for group in groups if group.mixed]
        draws += 1
    return RolloutBatch(kept[:size], drawn, draws)


def shortfall(batch: RolloutBatch, size: int) -> str | None:
    """What to log when dynamic sampling has found fewer than `size` groups; None when it has found enough."""
    if len(batch.groups) == size:
        return None
    consequence = "the batch is smaller" if batch.groups else "the step is skipped"
    mixed = f"{len(batch.groups)} of {size} groups of mixed correctness"
    return f"{mixed} after {batch.draws} draws of prompts; {consequence}"
