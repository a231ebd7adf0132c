"""What the page shows of a pair's responses: what is known of each, and, problem by problem, of each position."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.artifacts import scan_parquet
from tokenshift.schemas import ROLLOUTS, SCORES
from tokenshift.tables.cells import total
from tokenshift.viewer.columns import JS_STEP, NATS_STEP, PROBABILITY_STEP, Column, counted, named, rounded

# Of the scores, by what a code of the page's column is worth; log-probabilities are at most 0.
SHOWN = {
    "js": JS_STEP,
    "js_nucleus": JS_STEP,
    "entropy_base": NATS_STEP,
    "entropy_tuned": NATS_STEP,
    "logp_base": -NATS_STEP,
    "logp_tuned": -NATS_STEP,
    "mass_base_base_only": PROBABILITY_STEP,
    "mass_tuned_tuned_only": PROBABILITY_STEP,
}
POLICIES = ("base", "tuned")
KEYS = ["problem", "policy", "sample"]

Named = dict[str, Path]  # by policy, whose responses the file is about


def index(rollouts: Named, scores: Named, problems: Sequence[str]) -> pl.DataFrame:
    """A row per response, in the page's order: by problem, policy (0 base, 1 tuned) and sample.

    length in tokens; mean and highest JS are null where the policy's responses were not scored.
    """
    by_policy = []
    js = pl.col("js").cast(pl.Float64)
    of_scores = {"mean_js": total(js) / pl.len(), "highest_js": js.max()}
    order = pl.DataFrame({"problem_id": problems, "problem": range(len(problems))})
    for policy, name in enumerate(POLICIES):
        rows = scan_parquet(rollouts[name], ROLLOUTS).select(
            "problem_id",
            "sample",
            "correct",
            "extracted_answer",
            policy=pl.lit(policy),
            stopped=pl.col("finish_reason") == "stop",
            length=pl.col("response_token_ids").list.len().cast(pl.Int64),
        )
        if name in scores:
            seen = scan_parquet(scores[name], SCORES).group_by("problem_id", "sample").agg(**of_scores)
            rows = rows.join(seen, on=["problem_id", "sample"], how="left")
        else:
            rows = rows.with_columns(pl.lit(None, pl.Float64).alias(column) for column in of_scores)
        by_policy.append(rows.join(order.lazy(), on="problem_id").collect(engine="streaming"))
    return pl.concat(by_policy).sort(KEYS)


def positions(problem_id: str, responses: pl.DataFrame, rollouts: Named, scores: Named, size: int) -> dict[str, Column]:
    """Columns over all positions of the responses to one problem, one response after another as `responses` has them.

    Candidates are in flat columns, as many of each position as `candidates_base` and `candidates_tuned` count. `size`
    is that of the vocabulary.
    """
    keys = responses.select("policy", "sample", start=pl.col("length").cum_sum() - pl.col("length"))
    size_of_all = responses["length"].sum()
    tokens = np.zeros(size_of_all, np.int64)
    values = {name: np.full(size_of_all, np.nan) for name in SHOWN}
    rank = np.zeros(size_of_all, np.int64)
    counts = {name: np.zeros(size_of_all, np.int64) for name in POLICIES}
    candidates: dict[str, list[np.ndarray]] = {
        name: [] for name in ("ids_base", "logps_base", "ids_tuned", "logps_tuned")
    }
    for policy, name in enumerate(POLICIES):
        here = pl.col("problem_id") == problem_id
        own = keys.filter(policy=policy).lazy()
        written = scan_parquet(rollouts[name], ROLLOUTS).filter(here).select("sample", "response_token_ids")
        for start, ids in written.join(own, on="sample").select("start", "response_token_ids").collect().iter_rows():
            tokens[start : start + len(ids)] = ids
        if name not in scores:
            continue
        scored = scan_parquet(scores[name], SCORES).filter(here).join(own, on="sample")
        scored = scored.with_columns(at=pl.col("start") + pl.col("position")).sort("at").collect()
        at = scored["at"].to_numpy()
        for column in SHOWN:
            values[column][at] = scored[column].to_numpy()
        rank[at] = scored["rank_in_base_of_tuned_top1"].to_numpy()
        for of in POLICIES:
            counts[of][at] = scored[f"top_ids_{of}"].list.len().to_numpy()
            for part in ("ids", "logps"):
                listed = scored[f"top_{part}_{of}"].explode().drop_nulls()
                candidates[f"{part}_{of}"].append(listed.to_numpy())
    columns = {"token": named(tokens, size)}
    columns |= {name: rounded(values[name], step) for name, step in SHOWN.items()}
    columns["rank"] = counted(rank)
    for of in POLICIES:
        columns[f"candidates_{of}"] = Column(counts[of].astype(np.uint8))
        columns[f"ids_{of}"] = named(_joined(candidates[f"ids_{of}"]), size)
        columns[f"logps_{of}"] = rounded(_joined(candidates[f"logps_{of}"]), -NATS_STEP)
    return columns


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0)
