"""Small valid files for the tests of tables and claims: scores of real distributions, responses as told."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from tokenshift import schemas
from tokenshift.artifacts import write_parquet
from tokenshift.config.analysis import Analysis

VOCABULARY = 12
TOP_P = 0.7


def analysis(**changes) -> Analysis:
    """The analysis section with few resamples."""
    given = {"bootstrap": {"replicates": 200}, "identity_minimum": 5, "identity_tokens": 4} | changes
    return Analysis.model_validate(given)


def four_digits(value: float) -> float:
    """A value as the table of evolution counts it."""
    return float(f"{value:.3e}")


def write(path: Path, rows: pl.DataFrame | list[dict], schema: pa.Schema) -> Path:
    table = pa.Table.from_pylist(rows, schema) if isinstance(rows, list) else rows.to_arrow()
    write_parquet(path, table, schema, {}, ())
    return path


def nucleus(probabilities: np.ndarray) -> np.ndarray:
    """Which tokens are in the top-p nucleus: (N, V)."""
    order = np.argsort(-probabilities, axis=1)
    ordered = np.take_along_axis(probabilities, order, axis=1)
    inside = np.zeros(probabilities.shape, bool)
    np.put_along_axis(inside, order, np.cumsum(ordered, axis=1) - ordered < TOP_P, axis=1)
    return inside


def kl(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(first > 0, first * np.log(first / second), 0).sum(axis=1)


def js(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    middle = (first + second) / 2
    return (kl(first, middle) + kl(second, middle)) / 2


def tempered(probabilities: np.ndarray) -> np.ndarray:
    """The distributions at half the temperature: (N, V)."""
    return probabilities**2 / (probabilities**2).sum(axis=1, keepdims=True)


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """How many of the k first of two orders (N, V) are the same, for k = 1 to 10: (N, 10)."""
    rows = zip(first.tolist(), second.tolist(), strict=True)
    return np.array([[len({*a[:k]} & {*b[:k]}) for k in range(1, 11)] for a, b in rows])


def scores(seed: int = 0, problems: int = 6, samples: int = 3, shifted: float = 0.3) -> pl.DataFrame:
    """Scores of two random policies that differ at the share `shifted` of positions; lengths vary from 1 to 30."""
    generator = np.random.default_rng(seed)
    places = [
        (f"p{problem:02}", sample, position)
        for problem in range(problems)
        for sample in range(samples)
        for position in range(generator.integers(1, 31))
    ]
    n, rows = len(places), np.arange(len(places))
    logits = 2 * generator.normal(size=(n, VOCABULARY))
    moved = logits + 3 * generator.normal(size=(n, VOCABULARY)) * (generator.random((n, 1)) < shifted)
    base, tuned = (np.exp(block) / np.exp(block).sum(axis=1, keepdims=True) for block in (logits, moved))
    tokens = generator.integers(0, VOCABULARY, size=n)
    order_base, order_tuned = (np.argsort(-block, axis=1, kind="stable") for block in (base, tuned))
    in_base, in_tuned = nucleus(base), nucleus(tuned)
    cut_base, cut_tuned = base * in_base, tuned * in_tuned
    cut_base, cut_tuned = (block / block.sum(axis=1, keepdims=True) for block in (cut_base, cut_tuned))
    kinds = {"shared": in_base & in_tuned, "base_only": in_base & ~in_tuned, "tuned_only": in_tuned & ~in_base}
    top_base, top_tuned = order_base[:, 0], order_tuned[:, 0]
    columns = {
        "token_id": tokens,
        "js": js(base, tuned),
        "js_nucleus": js(cut_base, cut_tuned),
        "js_ablation": js(tempered(base), tempered(tuned))[:, None].tolist(),
        "kl_base_tuned": kl(base, tuned),
        "kl_tuned_base": kl(tuned, base),
        "entropy_base": -(base * np.log(base)).sum(axis=1),
        "entropy_tuned": -(tuned * np.log(tuned)).sum(axis=1),
        "logp_base": np.log(base[rows, tokens]),
        "logp_tuned": np.log(tuned[rows, tokens]),
        "rank_in_base_of_tuned_top1": np.argmax(order_base == top_tuned[:, None], axis=1) + 1,
        "rank_in_tuned_of_base_top1": np.argmax(order_tuned == top_base[:, None], axis=1) + 1,
        "logp_base_of_tuned_top1": np.log(base[rows, top_tuned]),
        "logp_tuned_of_base_top1": np.log(tuned[rows, top_base]),
        "nucleus_size_base": in_base.sum(axis=1),
        "nucleus_size_tuned": in_tuned.sum(axis=1),
        **{f"mass_base_{kind}": (base * inside).sum(axis=1) for kind, inside in kinds.items()},
        **{f"mass_tuned_{kind}": (tuned * inside).sum(axis=1) for kind, inside in kinds.items()},
        "mass_base_unshared": generator.random(n) / 100,
        "mass_tuned_unshared": generator.random(n) / 50,
        "top_shared": shared(order_base, order_tuned).tolist(),
        "top_ids_base": order_base[:, :10].tolist(),
        "top_logps_base": np.log(np.take_along_axis(base, order_base, axis=1))[:, :10].tolist(),
        "top_ids_tuned": order_tuned[:, :10].tolist(),
        "top_logps_tuned": np.log(np.take_along_axis(tuned, order_tuned, axis=1))[:, :10].tolist(),
    }
    where = pl.DataFrame(places, schema=["problem_id", "sample", "position"], orient="row")
    # Float32, as in the files, so that expectations computed from this frame are of the same numbers.
    return where.hstack(pl.DataFrame(columns)).cast({pl.Float64: pl.Float32, pl.Int64: pl.Int32})


def write_scores(folder: Path, pair="dapo", problem_set="heldout", trajectory="tuned", **settings) -> Path:
    return write(folder / "scores" / pair / problem_set / f"{trajectory}.parquet", scores(**settings), schemas.SCORES)


def write_vocabulary(folder: Path, pair="dapo") -> Path:
    letters = [chr(ord("a") + token) for token in range(VOCABULARY)]
    rows = [{"token_id": n, "token_base": a, "token_tuned": a, "shared": True} for n, a in enumerate(letters)]
    return write(folder / "vocabularies" / f"{pair}.parquet", rows, schemas.VOCABULARY)


def write_checkpoint_scores(folder: Path, pair="dapo", problem_set="heldout", growth=0.1) -> Path:
    """Three checkpoints; JS is uniform on [0, growth * step] for step 1, 2, 3."""
    generator = np.random.default_rng(3)
    rows = [
        {
            "step": step,
            "problem_id": f"p{problem:02}",
            "sample": 0,
            "position": position,
            "js": value,
            "js_nucleus": 0.0,
        }
        for step in (1, 2, 3)
        for problem in range(6)
        for position, value in enumerate(generator.random(20) * growth * step)
    ]
    path = folder / "checkpoint_scores" / pair / f"{problem_set}.parquet"
    return write(path, rows, schemas.CHECKPOINT_SCORES)


def response(problem: int, sample: int, correct: bool, length: int, answer_position: int | None = None) -> dict:
    return {
        "problem_id": f"p{problem:02}",
        "sample": sample,
        "prompt_token_ids": [1, 2],
        "response_token_ids": [3] * length,
        "response": "x" * length,
        "finish_reason": "stop",
        "extracted_answer": None,
        "answer_position": answer_position,
        "correct": bool(correct),
    }


def answer_position(problem: int, sample: int) -> int | None:
    """Where the answer begins in the rollouts below; those to the last problem have none."""
    return None if problem == 5 else (problem + sample) % 4


def write_rollouts(folder: Path, model: str, accuracy: float, problem_set="heldout", problems=6, samples=10) -> Path:
    """Rollouts of which exactly the share `accuracy` of each problem's samples is correct, 4 + problem tokens long."""
    rows = [
        response(problem, sample, sample < accuracy * samples, 4 + problem, answer_position(problem, sample))
        for problem in range(problems)
        for sample in range(samples)
    ]
    return write(folder / "rollouts" / model / f"{problem_set}.parquet", rows, schemas.ROLLOUTS)


def write_metrics(folder: Path, model: str, rows: list[dict]) -> Path:
    """The manifest of a trained model, beside the metrics that its run reported."""
    made = folder / "models" / model
    made.mkdir(parents=True)
    (made / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (made / "manifest.json").write_text("{}")
    return made / "manifest.json"


def write_cross_samples(
    folder: Path,
    steps: dict[float, tuple[float, int, int]],
    pair="dapo",
    problem_set="heldout",
    run="forward-js",
    problems=6,
    samples=10,
) -> Path:
    """A sweep: threshold -> (accuracy, tokens switched, tokens replaced) of responses of 20 tokens.

    Every other problem is easier by 0.1, so that accuracies have intervals.
    """
    rows = []
    for threshold, (accuracy, switched, replaced) in steps.items():
        for problem in range(problems):
            for sample in range(samples):
                correct = sample < round((accuracy + 0.1 * (problem % 2)) * samples)
                rows.append(
                    {"threshold": threshold}
                    | response(problem, sample, correct, 20)
                    | {
                        "switched": [position < switched for position in range(20)],
                        "replaced": [position < replaced for position in range(20)],
                        "primary_token_ids": [4 if position < replaced else 3 for position in range(20)],
                        "near_ties": sample % 2,
                    }
                )
    path = folder / "cross_samples" / pair / problem_set / f"{run}.parquet"
    return write(path, rows, schemas.CROSS_SAMPLES)


def random_sweep(
    seed: int, thresholds: list[float], problems: int = 5, samples: int = 4, longest: int = 30
) -> list[dict]:
    """Rows of a sweep with random lengths, marks and answers; nothing is switched at +inf, everything at -inf."""
    generator = np.random.default_rng(seed)
    rows = []
    for problem in range(problems):
        for sample in range(samples):
            for step, threshold in enumerate(thresholds):
                length, done = int(generator.integers(1, longest + 1)), step / (len(thresholds) - 1)
                switched = generator.random(length) < done
                replaced = switched & (generator.random(length) < 0.4)
                rows.append(
                    {"threshold": threshold}
                    | response(problem, sample, generator.random() < 0.2 + 0.6 * done, length)
                    | {"switched": switched.tolist(), "replaced": replaced.tolist()}
                    | {"primary_token_ids": np.where(replaced, 4, 3).tolist()}
                    | {"near_ties": int(generator.integers(0, 3))}
                )
    return rows


def write_random_sweep(folder: Path, run: str = "forward-js", pair="dapo", problem_set="heldout", **settings) -> Path:
    path = folder / "cross_samples" / pair / problem_set / f"{run}.parquet"
    return write(path, random_sweep(**settings), schemas.CROSS_SAMPLES)
