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

from tokenshift.cross_sampling.drafts import DraftLengths
from tokenshift.cross_sampling.prompted import PromptedPolicy
from tokenshift.cross_sampling.resources import Cost, Resources, rows_within
from tokenshift.cross_sampling.rows import Rows
from tokenshift.cross_sampling.scores import SCORES, Distribution, Observed
from tokenshift.cross_sampling.trace import UNKNOWN, CrossSample, Rule, Trace, cross_sample_of, decide, shared_length
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.cached_policy import PREFILL, how_decoded
from tokenshift.policies.decoded import refill
from tokenshift.policies.generation import draw_tokens
from tokenshift.policies.kv_cache import slots_for
from tokenshift.policies.policy import Policy
from tokenshift.progress import progress
from tokenshift.registries.criteria import Criterion, Threshold

LOGITS_MB = 512  # of one policy's drafted logits, which limits drafts
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


@dataclass(frozen=True)
class _Drafted:
    """One drafted token of several rows, and the primary's distribution that it was drawn from."""

    rows: np.ndarray
    positions: np.ndarray
    primary: Distribution


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
            slots_for(max(map(len, prompts)) + positions) * how_decoded(policy.model).bytes_per_token
            for policy, prompts in prompted
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
        drafted = self._draft(active, self.draft_lengths.choose(rates[self.rows.level[active]]))
        start = time.perf_counter()
        verified = self._catch_up(active) if self.criterion.primary_alone else self._verify(drafted)
        if verified:
            self.draft_lengths.observe_verification(len(active), verified, time.perf_counter() - start)
        self._accept(active, decoded=True)
        ended = active[self.rows.over[active]]
        self._refill([row for row in ended if self._finish(row)])

    # Step 1.

    def _draft(self, active: np.ndarray, length: int) -> list[_Drafted]:
        """Let the primary draw at most `length` tokens of each row; what is to be verified, token by token.

        Rows with tokens that are not yet decided, since they are reused, draft none.
        """
        rows, drafted = self.rows, []
        going = active[rows.drafted[active] == rows.accepted[active]]
        for _ in range(length):
            if len(going) == 0:
                break
            start = time.perf_counter()
            positions = rows.drafted[going]
            primary = Distribution(self.primary.logits_of_some(going, active, positions), self.sampling)
            drawn, margins = self._draw(going, positions, primary)
            rows.trace.primary[going, positions], rows.trace.primary_margins[going, positions] = drawn, margins
            rows.trace.intervention[going, positions] = UNKNOWN
            self._write(going, positions, drawn)
            rows.drafted[going] += 1
            stops = np.isin(drawn, self.rule.primary_stops) | (rows.drafted[going] == self.sampling.max_new_tokens)
            if self.criterion.primary_alone:
                self._score(going, positions, primary, None)
                level = rows.level[going]
                fires = self.criterion.switches(rows.trace.scores[going, positions], self.thresholds[level, positions])
                self._count(level, 1, level[fires])
                stops |= fires
            else:
                drafted.append(_Drafted(going, positions, primary))
            self.draft_lengths.observe_step(len(active), time.perf_counter() - start)
            going = going[~stops]
        return drafted

    # Step 2.

    def _verify(self, drafted: list[_Drafted]) -> int:
        """Let the intervention score all drafted positions; how many they are in the longest draft."""
        rows = np.concatenate([token.rows for token in drafted])
        positions = np.concatenate([token.positions for token in drafted])
        logits = self.intervention.logits(rows, positions)
        for token, part in zip(drafted, logits.split([len(token.rows) for token in drafted]), strict=True):
            intervention = Distribution(part.to(token.primary.logits.device), self.sampling)
            self._record_intervention(token.rows, token.positions, intervention)
            self._score(token.rows, token.positions, token.primary, intervention)
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
        self._record_intervention(rows, positions, Distribution(logits, self.sampling))
        return 1

    def _record_intervention(self, rows: np.ndarray, positions: np.ndarray, intervention: Distribution) -> None:
        """Note what the intervention would draw."""
        trace = self.rows.trace
        trace.intervention[rows, positions], trace.intervention_margins[rows, positions] = self._draw(
            rows, positions, intervention
        )

    def _draw(self, rows: np.ndarray, positions: np.ndarray, policy: Distribution) -> tuple[np.ndarray, np.ndarray]:
        uniforms = self.task.uniforms[self.rows.prompt[rows], positions]
        return draw_tokens(policy.sampled, uniforms, self.sampling.top_p)

    def _score(
        self, rows: np.ndarray, positions: np.ndarray, primary: Distribution, intervention: Distribution | None
    ) -> None:
        """Note the criterion's score of each drafted token."""
        tokens, coins = self.rows.trace.primary[rows, positions], self.task.coins[self.rows.prompt[rows], positions]
        tokens, coins = (torch.from_numpy(values).to(primary.logits.device) for values in (tokens, coins))
        scores = SCORES[self.criterion.name](Observed(primary, intervention, tokens, coins))
        self.rows.trace.scores[rows, positions] = scores.double().cpu().numpy()

    def _write(self, rows: np.ndarray, positions: np.ndarray, tokens: np.ndarray) -> None:
        self.rows.trace.tokens[rows, positions] = tokens
        for policy in (self.primary, self.intervention):
            policy.write(rows, positions, tokens)

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
