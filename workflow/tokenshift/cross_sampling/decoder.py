"""Decoding with two policies (arXiv 2603.22446, analysis 2), exactly, with fewer forward passes than two per token.

At each position a switching rule looks at the next-token distributions; where it fires, the next token is drawn from
the intervention policy, else from the primary: pi_mix = (1 - S) pi_primary + S pi_intervention. Both draws use the same
uniform, so a switched token counts as *replaced* (effective) exactly when it differs from what the primary would have
drawn. When nothing is switched the responses are the primary's own rollouts, when everything is, the intervention's.

Each round of the decoder has four steps:

1. Draft: the primary draws some tokens of every row, one forward pass for each.
2. Verify: the intervention scores all drafted positions in one forward pass, and what it would draw there is recorded.
   The rule looks at the prefix and the drafted token alone, so that this is exact without a rejection step. A rule that
   looks at the primary alone decides while drafting: a row stops where its rule fires, and the intervention catches up
   only there.
3. Accept: the first position where the rule fires and the intervention draws another token cuts the draft. Its token is
   replaced, and what was drafted behind it is dropped.
4. Go on: a row whose response has ended decodes its prompt at the next threshold, or takes the next prompt.

A row decodes one prompt at all thresholds, one after another. What is known of the finished responses gives the start
of the next without a model, and going back to it is a change of the row's length: keys and values stay.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tokenshift.cross_sampling.drafted import Drafted, note_interventions, note_scores
from tokenshift.cross_sampling.drafts import DraftLengths
from tokenshift.cross_sampling.prompted import PromptedPolicy
from tokenshift.cross_sampling.resources import Cost, Resources, rows_within
from tokenshift.cross_sampling.rows import Rows
from tokenshift.cross_sampling.scores import Distribution
from tokenshift.cross_sampling.trace import UNKNOWN, CrossSample, Rule, Trace, cross_sample_of, decide, shared_length
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.cached_policy import PREFILL, bytes_of_row
from tokenshift.policies.decoded import refill
from tokenshift.policies.draws import DrawnAhead, Draws
from tokenshift.policies.policy import Policy
from tokenshift.progress import progress
from tokenshift.registries.criteria import Criterion, Threshold

LOGITS_MB = 512  # of one policy's drafted logits, which limits drafts
IN_VAIN = 0.3  # rows whose rule fires, as expected, among tokens that are drawn ahead
VERIFIED_AT_ONCE = 32  # positions of one row at which the intervention catches up in one forward pass
PRIOR = (1, 20)  # cuts and positions added to those observed


@dataclass(frozen=True)
class SweepTask:
    """What to decode: prompts with their random numbers, and where to switch.

    Args:
        prompts: token ids of each, of the primary.
        uniforms: (prompts, max_new_tokens) in [0, 1), for tokens; shared by policies and thresholds.
        coins: of the same shape, for criterion `random`.
        criterion: what the rule compares with its threshold.
        thresholds: each one number or one per position; infinity switches nowhere, minus infinity everywhere.
            Neighbouring ones share most work when they come in order.
        sampling: how either policy is sampled.
        intervention_prompts: what the intervention is conditioned on in place of the primary's prompts.
        shared_ids: ids, ascending, of the tokens that both policies have; by default all. No other is drawn.
    """

    prompts: Sequence[Sequence[int]]
    uniforms: np.ndarray
    coins: np.ndarray
    criterion: Criterion
    thresholds: Sequence[Threshold]
    sampling: Sampling
    intervention_prompts: Sequence[Sequence[int]] | None = None
    shared_ids: np.ndarray | None = None


@torch.inference_mode()
def cross_sample(
    primary: Policy, intervention: Policy, task: SweepTask, resources: Resources, name: str | None = None
) -> tuple[list[list[CrossSample]], Cost]:
    """Decode one response per prompt at each threshold; the responses of each threshold, and the cost of all.

    A response ends when the policy that its token was drawn from takes that token for an end of sequence. With a
    `name`, reports progress under it.

    Raises:
        StudyError: a threshold lies outside the criterion's range, a policy's cache cannot be handled, or its logits
            are not finite.
    """
    if len(task.prompts) == 0:
        return [[] for _ in task.thresholds], Cost()
    decoder = _Decoder(primary, intervention, task, resources)
    with progress(None, name, "response", total=len(task.prompts) * len(task.thresholds)) as bar:
        while decoder.n_active:
            done = len(decoder.finished)
            decoder.round()
            bar.update(len(decoder.finished) - done)
    cost, policies = decoder.cost, [decoder.primary.computing, decoder.intervention.computing]
    cost.primary_forwards, cost.intervention_forwards = (policy.forwards for policy in policies)
    cost.prefills = sum(policy.prefills for policy in policies)
    cost.computed = sum(policy.computed for policy in policies)
    cost.needed = sum(policy.needed for policy in policies)
    return [
        [decoder.finished[prompt, level] for prompt in range(len(task.prompts))]
        for level in range(len(task.thresholds))
    ], cost


class _Decoder:
    """The rows being decoded, the policies with their caches, and what is finished."""

    def __init__(self, primary: Policy, intervention: Policy, task: SweepTask, resources: Resources):
        self.task, self.criterion, self.sampling, self.resources = task, task.criterion, task.sampling, resources
        self.rule = Rule(task.criterion, primary.stop_token_ids, intervention.stop_token_ids)
        shared_ids = task.shared_ids
        if shared_ids is None:
            shared_ids = np.arange(min(primary.vocabulary_size, intervention.vocabulary_size))
        positions = task.sampling.max_new_tokens
        self.thresholds = np.stack(
            [task.criterion.thresholds(one, positions, len(shared_ids)) for one in task.thresholds]
        )
        prompted = ((primary, task.prompts), (intervention, task.intervention_prompts or task.prompts))
        bytes_per_row = sum(
            bytes_of_row(policy.model, max(map(len, prompts)) + positions) for policy, prompts in prompted
        )
        n_rows = rows_within(resources.memory_mb, bytes_per_row, min(resources.batch_size, len(task.prompts)))
        self.primary, self.intervention = (
            PromptedPolicy(policy, prompts, n_rows, positions, shared_ids) for policy, prompts in prompted
        )
        longest_draft = LOGITS_MB * 10**6 // (8 * n_rows * len(shared_ids))
        # Tokens of a draft are taken back where it is cut.
        alone = all(prompted.computing.advances_alone for prompted in (self.primary, self.intervention))
        draft = resources.draft if alone else 1
        self.draft_lengths = DraftLengths(draft, longest_draft, task.criterion.primary_alone)
        self.rows = Rows.empty(n_rows, positions)
        self.cuts, self.decided = np.zeros((2, len(task.thresholds)))  # by threshold
        self.finished: dict[tuple[int, int], CrossSample] = {}  # by prompt and threshold
        self.cost = Cost()
        self.queue, self.n_active = deque(range(len(task.prompts))), n_rows
        self._refill(list(range(n_rows)))

    def round(self) -> None:
        """Draft, verify, accept, and let rows whose response has ended go on."""
        active = np.arange(self.n_active)
        rates = np.minimum((self.cuts + PRIOR[0]) / (self.decided + PRIOR[1]), 0.99)
        rates = rates[self.rows.level]
        length, accepted = self.draft_lengths.choose(rates[active]), self.rows.accepted[active].sum()
        begun = time.perf_counter()
        drafted = self._draft(active, length, rates)
        start = time.perf_counter()
        verified = self._catch_up(active) if self.criterion.primary_alone else self._verify(drafted)
        if verified:
            self.draft_lengths.observe_verification(len(active), verified, time.perf_counter() - start)
        self._accept(active, decoded=True)
        decided = self.rows.accepted[active].sum() - accepted
        self.draft_lengths.observe_round(len(active), length, int(decided), time.perf_counter() - begun)
        ended = active[self.rows.over[active]]
        self._refill([row for row in ended if self._finish(row)])

    # Step 1.

    def _draft(self, active: np.ndarray, length: int, rates: np.ndarray) -> list[Drafted]:
        """Let the primary draw at most `length` tokens of each row; what is to be verified, token by token.

        Rows with tokens that are not yet decided, since they are reused, draft none. Where the rule fires while
        drafting, as often as `rates` (rows,) say, what is drawn ahead is in vain.
        """
        rows, drafted = self.rows, []
        going = active[rows.drafted[active] == rows.accepted[active]]
        while length and len(going):
            start = time.perf_counter()
            positions = rows.drafted[going]
            steps = min(length, self.primary.computing.span, self.sampling.max_new_tokens - int(positions.max()))
            if self.criterion.primary_alone:
                steps = min(steps, max(1, int(IN_VAIN / rates[going].sum())))
            along = positions[:, None] + np.arange(steps)  # (rows, steps)
            drawn, distributions = self._ahead(going, active, positions, steps)
            stops = np.isin(drawn.tokens, self.rule.primary_stops)
            rows.trace.primary[going[:, None], along] = drawn.tokens
            rows.trace.primary_margins[going[:, None], along] = drawn.margins
            rows.trace.intervention[going[:, None], along] = UNKNOWN
            tokens = [Drafted(going, at, each) for at, each in zip(along.T, distributions, strict=True)]
            if self.criterion.primary_alone:
                note_scores(rows, tokens, self.criterion, self.task.coins)
                thresholds = self.thresholds[rows.level[going, None], along]
                fires = self.criterion.switches(rows.trace.scores[going[:, None], along], thresholds)
                stops |= fires
            stops &= np.arange(steps) < drawn.held[:, None]
            taken = np.where(stops.any(axis=1), stops.argmax(axis=1) + 1, drawn.held)
            self._write(going, positions, drawn.tokens, taken)
            rows.drafted[going] += taken
            if self.criterion.primary_alone:
                level = rows.level[going]
                self._count(level, taken, level[fires[np.arange(len(going)), taken - 1]])
            else:
                drafted += [token.some(taken > step) for step, token in enumerate(tokens)]
            for _ in range(steps):
                self.draft_lengths.observe_step(len(active), (time.perf_counter() - start) / steps)
            length -= steps
            going = going[~stops.any(axis=1) & (rows.drafted[going] < self.sampling.max_new_tokens)]
        return [token for token in drafted if len(token.rows)]

    def _ahead(
        self, going: np.ndarray, active: np.ndarray, positions: np.ndarray, steps: int
    ) -> tuple[DrawnAhead, list[Distribution]]:
        """Tokens that the primary draws at `positions` of the rows `going` and behind, and what they are drawn from."""
        along = positions[:, None] + np.arange(steps)
        draws = Draws(self.task.uniforms[self.rows.prompt[going, None], along], self.sampling)
        distributions: list[Distribution] = []

        def draw(logits: Tensor) -> Tensor:
            distributions.append(Distribution(logits, self.sampling))
            return draws.draw(logits, distributions[-1].sampled)

        self.primary.ahead_of_some(going, active, positions, draw, steps)
        return draws.seen(), distributions

    # Step 2.

    def _verify(self, drafted: list[Drafted]) -> int:
        """Let the intervention score all drafted positions; how many they are in the longest draft."""
        rows = np.concatenate([token.rows for token in drafted])
        positions = np.concatenate([token.positions for token in drafted])
        logits = self.intervention.logits(rows, positions)
        parts = logits.split([len(token.rows) for token in drafted])
        verified = [
            token.verified(Distribution(part.to(token.primary.logits.device), self.sampling))
            for token, part in zip(drafted, parts, strict=True)
        ]
        note_interventions(self.rows, verified, self.task.uniforms)
        note_scores(self.rows, verified, self.criterion, self.task.coins)
        return len(drafted)

    def _catch_up(self, active: np.ndarray) -> int:
        """Let the intervention draw where the rule fires and it has not yet; 1 if there is such a position, else 0."""
        waiting = []
        for row in active[self.rows.drafted[active] > self.rows.accepted[active]]:
            positions = np.arange(self.rows.accepted[row], self.rows.drafted[row])
            thresholds = self.thresholds[self.rows.level[row], positions]
            unknown = positions[decide(self.rule, self.rows.trace[row, positions], thresholds).unknown]
            waiting += [(row, position) for position in unknown[:VERIFIED_AT_ONCE]]
        if not waiting:
            return 0
        rows, positions = np.array(waiting).T
        lag = PREFILL // len(np.unique(rows))
        logits = self.intervention.logits(rows, positions, lag)
        waited_for = Drafted(rows, positions, intervention=Distribution(logits, self.sampling))
        note_interventions(self.rows, [waited_for], self.task.uniforms)
        return 1

    def _write(
        self, rows: np.ndarray, positions: np.ndarray, tokens: np.ndarray, drawn_ahead: np.ndarray | None = None
    ) -> None:
        """Put `tokens` (N,) at `positions` of `rows`; or the first `drawn_ahead` of those (N, steps) drawn ahead."""
        self.primary.write(rows, positions, tokens, 1 if drawn_ahead is None else drawn_ahead)
        columns = tokens[:, None] if tokens.ndim == 1 else tokens
        for step, column in enumerate(columns.T):
            there = slice(None) if drawn_ahead is None else drawn_ahead > step
            self.rows.trace.tokens[rows[there], positions[there] + step] = column[there]
            self.intervention.write(rows[there], positions[there] + step, column[there])

    def _count(self, levels: np.ndarray, positions: np.ndarray | int, cut_levels: np.ndarray) -> None:
        """Note, for the choice of draft lengths, positions decided at each of `levels`, and where drafts were cut."""
        np.add.at(self.decided, levels, positions)
        np.add.at(self.cuts, cut_levels, 1)
        self.cost.cut += len(cut_levels)

    # Step 3.

    def _accept(self, active: np.ndarray, decoded: bool) -> None:
        """Decide the drafted positions of rows, up to the first where the draft is cut, the row waits, or it ends."""
        rows = self.rows
        width = int((rows.drafted[active] - rows.accepted[active]).max())
        columns = rows.accepted[active, None] + np.arange(width)
        is_drafted = columns < rows.drafted[active, None]
        columns = np.minimum(columns, self.sampling.max_new_tokens - 1)
        thresholds = self.thresholds[rows.level[active, None], columns]
        decisions = decide(self.rule, rows.trace[active[:, None], columns], thresholds)
        events = decisions.events & is_drafted
        stops = events.any(axis=1)
        first = np.flatnonzero(stops), events[stops].argmax(axis=1)
        stopped, positions = active[stops], columns[first]
        cut, waits = decisions.changed[first], decisions.unknown[first]
        self._write(stopped[cut], positions[cut], decisions.tokens[first][cut])
        rows.reused[stopped[cut]] = np.minimum(rows.reused[stopped[cut]], positions[cut])
        rows.drafted[stopped[~waits]] = positions[~waits] + 1
        before = rows.accepted[active]
        rows.accepted[active] = rows.drafted[active]
        rows.accepted[stopped[waits]] = positions[waits]
        rows.over[active] = rows.accepted[active] == self.sampling.max_new_tokens
        rows.over[stopped] |= decisions.ends[first]
        if decoded and not self.criterion.primary_alone:
            self._count(rows.level[active], rows.accepted[active] - before, rows.level[stopped[cut]])

    # Step 4.

    def _finish(self, row: int) -> bool:
        """Keep the finished response of `row` and go on to its prompt's next threshold; True when none is left."""
        rows = self.rows
        while rows.over[row]:
            level, length = rows.level[row], rows.accepted[row]
            trace = rows.trace[row, :length].copy()
            sample = cross_sample_of(self.rule, trace, self.thresholds[level, :length], self.resources.near_tie)
            self.finished[int(rows.prompt[row]), int(level)] = sample
            reused = min(rows.reused[row], length)
            self.cost.reused += int(reused)
            self.cost.decided += int(length - reused)
            rows.finished_traces[row].append(trace)
            if level + 1 == len(self.task.thresholds):
                return True
            rows.level[row] += 1
            self._reuse(row)
        return False

    def _reuse(self, row: int) -> None:
        """Start the response of `row` from the finished one that it shares most tokens with, the latest of equals."""
        rows, traces = self.rows, self.rows.finished_traces[row]
        thresholds = self.thresholds[rows.level[row]]
        shared = [shared_length(self.rule, trace, thresholds[: len(trace.tokens)]) for trace in traces]
        parent: Trace = traces[max(range(len(shared)), key=lambda index: (shared[index], index))]
        length = len(parent.tokens)
        for policy in (self.primary, self.intervention):
            policy.respond(row, parent.tokens)
        rows.trace[row, :length] = parent
        rows.accepted[row], rows.drafted[row], rows.reused[row] = 0, length, length
        self._accept(np.array([row]), decoded=False)

    def _refill(self, done: list[int]) -> None:
        """Give rows whose prompts are done the next ones; without any, the last rows move into their places."""
        self.n_active, begun, moved = refill(self.n_active, done, self.queue)
        policies = (self.primary, self.intervention)
        for target, source in moved.items():
            for policy in policies:
                policy.move(target, source, self.rows.drafted[source])
            self.rows.move(target, source)
        for row, index in begun.items():
            self.rows.begin(row, index)
        for policy in policies:
            policy.begin(begun)
