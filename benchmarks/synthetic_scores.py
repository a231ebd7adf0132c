"""Synthetic scores for benchmarks: 30 problems, 32 responses each, thousands of tokens.

The values are plausible in distribution (most positions unchanged, heavy-tailed token frequencies, candidate lists that
mostly agree) and mean nothing. Columns that no table reads are constant or empty.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tokenshift.artifacts import write_parquet
from tokenshift.schemas import CHECKPOINT_SCORES, ROLLOUTS, SCORES, VOCABULARY

PROBLEMS, SAMPLES, TOP_K, VOCABULARY_SIZE, LONGEST = 30, 32, 10, 150_000, 20_000
UNREAD = ("kl_base_tuned", "kl_tuned_base", "logp_base", "logp_tuned", "nucleus_size_base", "nucleus_size_tuned")


def write_scores(path: Path, rows: int, shifted: float, seed: int) -> None:
    """Write a scores file of about that many rows, the policies differing at the share `shifted` of positions."""
    generator = np.random.default_rng(seed)
    where = positions(generator, rows)
    table = pa.table(where | score_columns(generator, len(where["sample"]), shifted))
    write_parquet(path, table, SCORES, {}, ())


def write_checkpoint_scores(path: Path, rows: int, steps: list[int], seed: int) -> None:
    """Write a checkpoint_scores file of about that many rows in all; the shifts grow with the step."""
    generator = np.random.default_rng(seed)
    where = positions(generator, rows // len(steps))
    n = len(where["sample"])
    js = [divergences(generator, n, 0.1 * (step / max(steps))) for step in steps]
    parts = [
        pa.table(where | {"step": np.full(n, step), "js": of_step, "js_nucleus": truncated(of_step)})
        for step, of_step in zip(steps, js, strict=True)
    ]
    write_parquet(path, pa.concat_tables(parts), CHECKPOINT_SCORES, {}, ())


def write_vocabulary(path: Path) -> None:
    """Write the vocabulary of every token that the scores mention."""
    ids = np.arange(VOCABULARY_SIZE)
    tokens = [f"token {i}" for i in ids]
    columns = {"token_id": ids, "token_base": tokens, "token_tuned": tokens, "shared": [True] * len(ids)}
    write_parquet(path, pa.table(columns), VOCABULARY, {}, ())


def write_rollouts(path: Path, seed: int) -> None:
    """Write a rollouts file of empty responses, of which it says where the answer begins."""
    n = PROBLEMS * SAMPLES
    response = np.arange(n)
    columns = {field.name: pa.nulls(n, field.type) for field in ROLLOUTS} | {
        "problem_id": problem_ids(response),
        "sample": response % SAMPLES,
        "answer_position": np.random.default_rng(seed).integers(0, 2000, n),
    }
    write_parquet(path, pa.table(columns), ROLLOUTS, {}, ())


def problem_ids(response: np.ndarray) -> pa.Array:
    """Ids of the problems that these responses, numbered over all problems, are to."""
    return pa.array([f"problem-{index:05}" for index in range(PROBLEMS)]).take(response // SAMPLES)


def positions(generator: np.random.Generator, rows: int) -> dict[str, np.ndarray | pa.Array]:
    """problem_id, sample and position of responses of log-normal lengths that sum to about `rows`."""
    drawn = generator.lognormal(0, 0.6, PROBLEMS * SAMPLES)
    lengths = np.clip(drawn / drawn.sum() * rows, 1, LONGEST).astype(int)
    response = np.repeat(np.arange(PROBLEMS * SAMPLES), lengths)
    starts = np.cumsum(lengths) - lengths
    return {
        "problem_id": problem_ids(response),
        "sample": response % SAMPLES,
        "position": np.arange(len(response)) - starts[response],
    }


def divergences(generator: np.random.Generator, n: int, shifted: float) -> np.ndarray:
    """JS (n,): tiny but at the share `shifted` of positions, where it is anything up to ln 2."""
    tiny = np.minimum(np.exp(generator.normal(-11, 3, n)), 0.01)
    return np.where(generator.random(n) < shifted, np.log(2) * generator.beta(0.6, 1.5, n), tiny)


def truncated(js: np.ndarray) -> np.ndarray:
    """JS on the nuclei (n,): mostly 0."""
    return np.where(js < 0.05, 0, js)


def candidates(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Top-k ids of base and tuned policy, (n, k) each: the tuned policy's are the base's, some moved or replaced."""
    apart = VOCABULARY_SIZE // TOP_K
    base = (generator.integers(0, apart, (n, 1)) + np.arange(TOP_K) * apart).astype("i4")
    moved = np.where(generator.random((n, 1)) < 0.2, np.roll(base, 1, axis=1), base)
    return base, np.where(generator.random((n, TOP_K)) < 0.1, (moved + 1) % VOCABULARY_SIZE, moved).astype("i4")


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many of the k first of two lists (n, K) are the same, for k = 1 to K: (n, K)."""
    found = np.zeros(first.shape, "i1")
    for rank in range(TOP_K):
        where = np.argmax(np.column_stack([second == first[:, [rank]], np.ones(len(first), bool)]), axis=1)
        later = np.maximum(where, rank)  # from this k on, both lists hold the token
        found[np.arange(len(first))[where < TOP_K], later[where < TOP_K]] += 1
    return found.cumsum(axis=1, dtype="i1")


def lists(values: np.ndarray) -> pa.ListArray:
    """An (n, k) array as a column of lists."""
    return pa.ListArray.from_arrays(np.arange(0, values.size + 1, values.shape[1], dtype="i4"), values.ravel())


def score_columns(generator: np.random.Generator, n: int, shifted: float) -> dict[str, np.ndarray | pa.Array]:
    """The columns of a scores file that do not say whose position it is, (n,) each."""
    js = divergences(generator, n, shifted)
    base_only, tuned_only = (js * generator.random(n) for _ in range(2))
    top_base, top_tuned = candidates(generator, n)
    rank = np.minimum(generator.zipf(2.0, n), VOCABULARY_SIZE)
    logp = -js * generator.exponential(4, n)
    entropy = generator.exponential(0.5, n)
    empty = pa.array([[]], pa.list_(pa.float32())).take(np.zeros(n, "i4"))
    return dict.fromkeys(UNREAD, np.ones(n)) | {
        "token_id": np.minimum(generator.zipf(1.2, n), VOCABULARY_SIZE) - 1,
        "js": js,
        "js_nucleus": truncated(js),
        "entropy_base": entropy,
        "entropy_tuned": entropy * generator.random(n),
        "rank_in_base_of_tuned_top1": rank,
        "rank_in_tuned_of_base_top1": rank[::-1],
        "logp_base_of_tuned_top1": logp,
        "logp_tuned_of_base_top1": logp[::-1],
        "mass_base_shared": 0.8 - base_only / 2,
        "mass_base_base_only": base_only,
        "mass_base_tuned_only": tuned_only / 4,
        "mass_tuned_shared": 0.8 - tuned_only / 2,
        "mass_tuned_base_only": base_only / 4,
        "mass_tuned_tuned_only": tuned_only,
        "mass_base_unshared": np.zeros(n),
        "mass_tuned_unshared": np.zeros(n),
        "js_ablation": empty,
        "top_shared": lists(shared(top_base, top_tuned)),
        "top_ids_base": lists(top_base),
        "top_logps_base": empty,
        "top_ids_tuned": lists(top_tuned),
        "top_logps_tuned": empty,
    }
