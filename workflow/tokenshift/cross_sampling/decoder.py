"""Decoding with two policies (arXiv 2603.22446, analysis 2), exactly, with fewer forward passes than two per token.

At each position a switching rule looks at the next-token distributions; where it fires, the next token is drawn from
the intervention policy, else from the primary: pi_mix = (1 - S) pi_primary + S pi_intervention. Both draws use the same
uniform, so a switched token counts as *replaced* (effective) exactly when it differs from what the primary would have
drawn. When nothing is switched the responses are the primary's own rollouts, when everything is, the intervention's.

The rule looks at the prefix and the drafted token alone, so drafting is exact without a rejection step: the primary
drafts some tokens, the intervention scores them in one forward pass, and the first position where the rule fires and
the intervention draws another token cuts the draft. Rules that look at the primary alone decide while drafting: a row
waits where its rule fires, and the intervention catches up only there.

A row decodes one request at all thresholds, one after another. What is known of the finished ones gives the start of
the next without a model, and going back to it is a change of the row's length: keys and values stay.
"""

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from tokenshift.cross_sampling.drafts import DraftLengths
from tokenshift.cross_sampling.resources import Cost, Resources, rows_within
from tokenshift.cross_sampling.scores import SCORES, Distribution, Observed
from tokenshift.cross_sampling.trace import UNKNOWN, CrossSample, Rule, Trace, cross_sample_of, decide, shared_length
from tokenshift.distributions.sampling import Sampling
from tokenshift.policies.cached_policy import PREFILL, CachedPolicy, Sequences, bytes_per_token
from tokenshift.policies.generation import draw_tokens
from tokenshift.policies.kv_cache import slots_for
from tokenshift.policies.policy import Policy
from tokenshift.progress import progress
from tokenshift.registries.criteria import Criterion, Threshold

LOGITS_MB = 512  # of one policy's drafted logits, which limits drafts
ASKED_AT_ONCE = 32  # positions of one row at which the intervention speaks, in one forward pass, where it catches up
PRIOR = (1, 20)  # cuts and positions added to those observed


@torch.inference_mode()
def cross_sample(
    primary: Policy,
    intervention: Policy,
    prompts: Sequence[Sequence[int]],
    uniforms: np.ndarray,
    coins: np.ndarray,
    criterion: Criterion,
    thresholds: Sequence[Threshold],
    sampling: Sampling,
    resources: Resources,
    name: str | None = None,
) -> tuple[list[list[CrossSample]], Cost]:
    """Decode one response per prompt at each of `thresholds`; the responses of each threshold, and the cost of all.

    A response ends when the policy that its token was drawn from takes that token for an end of sequence. Neighbouring
    thresholds share most work when they come in order.

    Args:
        uniforms: (rows, max_new_tokens) in [0, 1), for tokens; shared by policies and thresholds.
        coins: of the same shape, for criterion `random`.
        thresholds: each one number or one per position; infinity switches nowhere, minus infinity everywhere.
        name: to report progress under.

    Raises:
        StudyError: a threshold lies outside the criterion's range, a policy's cache cannot be handled, or its logits
            are not finite.
    """
    if len(prompts) == 0:
        return [[] for _ in thresholds], Cost()
    decoder = _Decoder(primary, intervention, prompts, uniforms, coins, criterion, thresholds, sampling, resources)
    with progress(None, name, "response", total=len(prompts) * len(thresholds)) as bar:
        while decoder.sequences.active:
            done = len(decoder.finished)
            decoder.round()
            bar.update(len(decoder.finished) - done)
    cost, policies = decoder.cost, decoder.sequences.policies
    cost.primary_forwards, cost.intervention_forwards = (policy.forwards for policy in policies)
    cost.prefills = sum(policy.prefills for policy in policies)
    results = [[decoder.finished[number, level] for number in range(len(prompts))] for level in range(len(thresholds))]
    return results, cost


class _Decoder:
    """The state of a run: for each row its request, threshold, and how far its response is committed and known.

    Positions before `committed` are decided. Those from there to `known` are drafted: drawn by the primary, or taken
    from the response at another threshold.
    """

    def __init__(
        self,
        primary: Policy,
        intervention: Policy,
        prompts: Sequence[Sequence[int]],
        uniforms: np.ndarray,
        coins: np.ndarray,
        criterion: Criterion,
        thresholds: Sequence[Threshold],
        sampling: Sampling,
        resources: Resources,
    ):
        self.prompts, self.uniforms, self.coins = prompts, uniforms, coins
        self.criterion, self.sampling, self.resources = criterion, sampling, resources
        self.rule = Rule(criterion, primary.stop_token_ids, intervention.stop_token_ids)
        vocabulary_size = min(primary.vocabulary_size, intervention.vocabulary_size)
        positions = sampling.max_new_tokens
        self.thresholds = np.stack([criterion.thresholds(one, positions, vocabulary_size) for one in thresholds])
        longest = max(map(len, prompts)) + positions
        bytes_per_row = slots_for(longest) * sum(bytes_per_token(policy.model) for policy in (primary, intervention))
        rows = rows_within(resources.memory_mb, bytes_per_row, min(resources.batch_size, len(prompts)))
        self.sequences = Sequences(rows, longest)
        self.primary, self.intervention = (
            CachedPolicy(policy.model, vocabulary_size, self.sequences) for policy in (primary, intervention)
        )
        self.drafts = DraftLengths(
            resources.draft, LOGITS_MB * 10**6 // (8 * rows * vocabulary_size), criterion.primary_alone
        )
        self.request, self.level, self.start, self.committed, self.known, self.inherited = (
            np.zeros(rows, dtype=np.int64) for _ in range(6)
        )
        self.over = np.zeros(rows, dtype=bool)
        self.trace = Trace.empty(rows, positions)
        self.history: list[list[Trace]] = [[] for _ in range(rows)]  # of the request, at the thresholds before
        self.cuts, self.decided = np.zeros((2, len(thresholds)))
        self.finished: dict[tuple[int, int], CrossSample] = {}
        self.cost = Cost()
        self.queue = deque(range(len(prompts)))
        self._refill(list(range(rows)))

    def round(self) -> None:
        """Draft, let the intervention speak, commit, and hand rows that are done to the next request."""
        active = np.arange(self.sequences.active)
        rates = (self.cuts + PRIOR[0]) / (self.decided + PRIOR[1])
        drafted = self._draft(active, self.drafts.choose(np.minimum(rates, 0.99)[self.level[active]]))
        start = time.perf_counter()
        asked = self._ask_waiting(active) if self.criterion.primary_alone else self._ask_drafted(drafted)
        if asked:
            self.drafts.observe_verification(len(active), asked, time.perf_counter() - start)
        self._settle(active, decoded=True)
        self._refill([row for row in active[self.over[active]] if self._finish(row)])

    def _draft(self, active: np.ndarray, length: int) -> list[tuple[np.ndarray, np.ndarray, Distribution]]:
        """Extend rows by at most `length` tokens of the primary.

        Each step's rows, positions and distributions, where the rule waits for the intervention's.
        """
        steps = []
        going = active[self.known[active] == self.committed[active]]
        for _ in range(length):
            if len(going) == 0:
                break
            start = time.perf_counter()
            at = self.known[going]
            distribution = Distribution(self._primary_logits(active, going), self.sampling)
            drawn, margins = self._draw(going, at, distribution)
            self.trace.primary[going, at], self.trace.primary_margins[going, at] = drawn, margins
            self.trace.intervention[going, at] = UNKNOWN
            self._write(going, at, drawn)
            self.known[going] += 1
            stays = np.isin(drawn, self.rule.primary_stops) | (self.known[going] == self.sampling.max_new_tokens)
            if self.criterion.primary_alone:
                self._score(going, at, distribution, None)
                fires = self.criterion.switches(self.trace.scores[going, at], self.thresholds[self.level[going], at])
                self._count(self.level[going], 1, self.level[going[fires]])
                stays |= fires
            else:
                steps.append((going, at, distribution))
            self.drafts.observe_step(len(active), time.perf_counter() - start)
            going = going[~stays]
        return steps

    def _primary_logits(self, active: np.ndarray, going: np.ndarray) -> torch.Tensor:
        """Logits (N, V) after the known tokens of the rows `going`.

        Rows that stay are run along when they are the fewer, so that no cache is copied: on a token that is cached.
        """
        last = self.start + self.known - 1
        if 2 * len(going) <= len(active):
            return self.primary.logits(going, last[going])
        behind = np.maximum(self.primary.cached - 1, 0)
        behind[going] = last[going]
        logits = self.primary.logits(active, behind[active])
        return logits if len(going) == len(active) else logits[torch.from_numpy(going).to(logits.device)]

    def _ask_drafted(self, steps: list[tuple[np.ndarray, np.ndarray, Distribution]]) -> int:
        """Let the intervention speak at all drafted positions; how many they are in the longest draft."""
        rows, at = (np.concatenate([step[column] for step in steps]) for column in (0, 1))
        logits = self.intervention.logits(rows, self.start[rows] + at - 1)
        for (rows, at, own), other in zip(steps, logits.split([len(step[0]) for step in steps]), strict=True):
            distribution = Distribution(other.to(own.logits.device), self.sampling)
            self._hear(rows, at, distribution)
            self._score(rows, at, own, distribution)
        return len(steps)

    def _ask_waiting(self, active: np.ndarray) -> int:
        """Let the intervention speak where the rule fires and it has not yet; 1 if there is such a position, else 0."""
        asked = []
        for row in active[self.known[active] > self.committed[active]]:
            at = np.arange(self.committed[row], self.known[row])
            unknown = at[decide(self.rule, self.trace[row, at], self.thresholds[self.level[row], at]).unknown]
            asked += [(row, position) for position in unknown[:ASKED_AT_ONCE]]
        if not asked:
            return 0
        rows, at = np.array(asked).T
        logits = self.intervention.logits(rows, self.start[rows] + at - 1, lag=PREFILL // len(np.unique(rows)))
        self._hear(rows, at, Distribution(logits, self.sampling))
        return 1

    def _hear(self, rows: np.ndarray, at: np.ndarray, distribution: Distribution) -> None:
        """Note what the intervention draws."""
        drawn, margins = self._draw(rows, at, distribution)
        self.trace.intervention[rows, at], self.trace.intervention_margins[rows, at] = drawn, margins

    def _draw(self, rows: np.ndarray, at: np.ndarray, distribution: Distribution) -> tuple[np.ndarray, np.ndarray]:
        return draw_tokens(distribution.sampled, self.uniforms[self.request[rows], at], self.sampling.top_p)

    def _score(self, rows: np.ndarray, at: np.ndarray, own: Distribution, other: Distribution | None) -> None:
        drafted, coins = self.trace.primary[rows, at], self.coins[self.request[rows], at]
        drafted, coins = (torch.from_numpy(values).to(own.logits.device) for values in (drafted, coins))
        scores = SCORES[self.criterion.name](Observed(own, other, drafted, coins))
        self.trace.scores[rows, at] = scores.double().cpu().numpy()

    def _write(self, rows: np.ndarray, at: np.ndarray, tokens: np.ndarray) -> None:
        self.trace.tokens[rows, at] = tokens
        self.sequences.write(rows, self.start[rows] + at, tokens)

    def _count(self, levels: np.ndarray, positions: np.ndarray | int, cut_levels: np.ndarray) -> None:
        """Note, for the choice of draft lengths, positions decided at each of `levels`, and where drafts were cut."""
        np.add.at(self.decided, levels, positions)
        np.add.at(self.cuts, cut_levels, 1)
        self.cost.cut += len(cut_levels)

    def _settle(self, rows: np.ndarray, decoded: bool) -> None:
        """Commit the known positions of `rows` up to the first that their thresholds decide otherwise, or that ends."""
        width = int((self.known[rows] - self.committed[rows]).max())
        columns = self.committed[rows, None] + np.arange(width)
        valid = columns < self.known[rows, None]
        columns = np.minimum(columns, self.sampling.max_new_tokens - 1)
        trace = self.trace[rows[:, None], columns]
        decisions = decide(self.rule, trace, self.thresholds[self.level[rows, None], columns])
        events = decisions.events & valid
        hit = events.any(axis=1)
        found = np.flatnonzero(hit), events[hit].argmax(axis=1)
        stopped, at = rows[hit], columns[found]
        changed, unknown = decisions.changed[found], decisions.unknown[found]
        self._write(stopped[changed], at[changed], decisions.tokens[found][changed])
        self.inherited[stopped[changed]] = np.minimum(self.inherited[stopped[changed]], at[changed])
        self.known[stopped[~unknown]] = at[~unknown] + 1
        before = self.committed[rows]
        self.committed[rows] = self.known[rows]
        self.committed[stopped[unknown]] = at[unknown]
        self.over[rows] = self.committed[rows] == self.sampling.max_new_tokens
        self.over[stopped] |= decisions.ends[found]
        if decoded and not self.criterion.primary_alone:
            self._count(self.level[rows], self.committed[rows] - before, self.level[stopped[changed]])

    def _finish(self, row: int) -> bool:
        """Keep the finished response of `row` and go on to its request's next threshold; True when none is left."""
        while self.over[row]:
            level, length = self.level[row], self.committed[row]
            trace = self.trace[row, :length].copy()
            sample = cross_sample_of(self.rule, trace, self.thresholds[level, :length], self.resources.near_tie)
            self.finished[int(self.request[row]), int(level)] = sample
            reused = min(self.inherited[row], length)
            self.cost.reused += int(reused)
            self.cost.decided += int(length - reused)
            self.history[row].append(trace)
            if level + 1 == len(self.thresholds):
                return True
            self.level[row] += 1
            shared = [
                shared_length(self.rule, one, self.thresholds[level + 1, : len(one.tokens)])
                for one in self.history[row]
            ]
            self._resume(row, self.history[row][max(range(len(shared)), key=lambda index: (shared[index], index))])
        return False

    def _resume(self, row: int, parent: Trace) -> None:
        """Start the response of `row` from what is known of it by the finished response `parent`."""
        length = len(parent.tokens)
        prompt = self.sequences.tokens[row, : self.start[row]]
        self.sequences.replace(row, np.concatenate([prompt, parent.tokens]))
        self.trace[row, :length] = parent
        self.committed[row], self.known[row], self.inherited[row] = 0, length, length
        self._settle(np.array([row]), decoded=False)

    def _refill(self, done: list[int]) -> None:
        """Give rows whose requests are done the next ones; without any, the last rows move into their places."""
        begun, moved = self.sequences.refill(done, self.queue)
        for target, source in moved.items():
            self.sequences.move(target, source, self.start[source] + self.known[source])
            for values in (
                self.request, self.level, self.start, self.committed, self.known, self.inherited, self.over, self.trace
            ):  # fmt: skip
                values[target] = values[source]
            self.history[target] = self.history[source]
        for row, number in begun.items():
            self.request[row], self.start[row] = number, len(self.prompts[number])
            self.level[row] = self.committed[row] = self.known[row] = self.inherited[row] = 0
            self.over[row] = False
            self.history[row] = []
        self.sequences.begin({row: self.prompts[number] for row, number in begun.items()})
