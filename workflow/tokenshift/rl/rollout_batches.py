"""Rollout batches: which prompts are drawn, what the policy answers, and which groups are kept."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
from transformers import PreTrainedTokenizerBase

from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import StudyError
from tokenshift.noise import uniforms
from tokenshift.policies.generation import Cancelled, batches, generate, never
from tokenshift.policies.policy import Policy
from tokenshift.policies.rollouts import Requests, grade, requests
from tokenshift.problems.grading import Grader
from tokenshift.training.batches import shuffled_batch
from tokenshift.training.encoding import require_context
from tokenshift.training.phases import phase
from tokenshift.training.world import World


@dataclass(frozen=True)
class Group:
    """One prompt with its n responses (token ids, the end-of-sequence token included where drawn) and their grades."""

    problem_id: str
    prompt: list[int]
    responses: list[list[int]]
    correct: list[bool]

    @property
    def mixed(self) -> bool:
        """Whether some responses are correct and some are not: only then do the advantages differ from zero."""
        return len(set(self.correct)) > 1


@dataclass(frozen=True)
class RolloutBatch:
    """What one step trains on, and what was drawn for it."""

    groups: list[Group]
    drawn: list[Group]
    draws: int


@dataclass(frozen=True)
class Rollouts:
    """How the policy answers prompts: all that stays the same from step to step."""

    policy: Policy  # of a model that is not DeepSpeed's (tokenshift.training.engine.sharing_parameters)
    tokenizer: PreTrainedTokenizerBase
    grader: Grader
    problems: pl.DataFrame  # schemas.PROBLEMS
    template: str
    chat: bool
    prompts: int  # in a draw
    responses_per_prompt: int
    sampling: Sampling
    batch_size: int  # responses decoded together
    seed: int

    def check_prompts(self) -> None:
        """Raise StudyError without problems, or when a prompt cannot be encoded or leaves no room for a response."""
        if self.problems.is_empty():
            raise StudyError("the problem set to train on is empty")
        prompts = requests(self.problems, 1, self.tokenizer, self.template, self.chat).prompts
        require_context((len(prompt) + self.sampling.max_new_tokens for prompt in prompts), self.policy.model)

    def draw(self, number: int, purpose: str, cancelled: Callable[[], bool] = never) -> list[Group]:
        """Groups for the prompts of draw `number` (from 0, over the whole run), with the noise of `purpose`.

        Raises StudyError when there are fewer problems than prompts in a draw, and Cancelled as `answered` does.
        """
        rows = shuffled_batch(self.seed, len(self.problems), self.prompts, number)
        return self.answered(self.problems[rows], purpose, cancelled)

    def answered(self, problems: pl.DataFrame, purpose: str, cancelled: Callable[[], bool] = never) -> list[Group]:
        """Groups for `problems`, with the noise of `purpose`. Each process answers its share and receives all.

        Raises Cancelled, on every process, when `cancelled` has said so to one of them, which it asks at every token.
        """
        world, n = World.current(), self.responses_per_prompt
        asked = requests(problems[world.rank :: world.size], n, self.tokenizer, self.template, self.chat)
        gave_up, responses = False, []
        with phase("generation"):
            try:
                responses = self._responses(asked, purpose, cancelled)
            except Cancelled:
                gave_up = True
        if world.any(gave_up, self.policy.model.device):
            raise Cancelled
        with phase("grading"):
            _, grades = grade(asked, responses, self.tokenizer, self.grader)
        correct = [given.correct for given in grades]
        return world.merged(
            [
                Group(asked.problem_ids[i], asked.prompts[i], responses[i : i + n], correct[i : i + n])
                for i in range(0, len(responses), n)
            ]
        )

    def _responses(self, asked: Requests, purpose: str, cancelled: Callable[[], bool]) -> list[list[int]]:
        responses = []
        for part in batches(len(asked.prompts), self.batch_size):
            noise = uniforms(
                self.seed, purpose, asked.problem_ids[part], asked.samples[part], self.sampling.max_new_tokens
            )
            responses += generate(
                self.policy, asked.prompts[part], noise, self.sampling, self.batch_size, cancelled=cancelled
            )
        return responses


def collect(draw: Callable[[int], list[Group]], prompts: int, most_draws: int | None) -> RolloutBatch:
    """Rollout batch of `prompts` groups, where draw(k) gives the groups of this step's k-th draw (from 0).

    Without `most_draws`: the first draw as it is. With it, dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): only
    mixed groups, drawn until there are enough or for `most_draws` draws, after which the batch is smaller, even empty.
    """
    if most_draws is None:
        drawn = draw(0)
        return RolloutBatch(drawn, drawn, 1)
    drawn, kept, draws = [], [], 0
    while len(kept) < prompts and draws < most_draws:
        groups = draw(draws)
        drawn += groups
        kept += [group for group in groups if group.mixed]
        draws += 1
    return RolloutBatch(kept[:prompts], drawn, draws)


def shortfall(batch: RolloutBatch, prompts: int) -> str | None:
    """What to log when dynamic sampling found fewer than `prompts` groups; None when it found enough."""
    found = len(batch.groups)
    if found == prompts:
        return None
    consequence = "the step is skipped" if found == 0 else "the batch is smaller"
    return f"{found} of {prompts} groups of mixed correctness after {batch.draws} draws of prompts; {consequence}"
