"""The blocks of data of a page: what is known of all responses, what searching needs, and each problem's positions."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tokenshift.artifacts import read_parquet
from tokenshift.config.specs import ViewerSpec
from tokenshift.schemas import PROBLEMS, VOCABULARY
from tokenshift.tables.token_texts import token_texts
from tokenshift.viewer import branches, responses
from tokenshift.viewer.columns import JS_STEP, Column, counted, named, pack, rounded


def blocks(
    spec: ViewerSpec,
    problems: Path,
    vocabulary: Path,
    rollouts: responses.Named,
    scores: responses.Named,
    sweeps: Sequence[Path],
) -> Iterator[tuple[str, str]]:
    """Names and packed data (columns.pack) of a page's blocks, in the order in which they are read.

    `index`: the vocabulary and a row per problem, response and cross-sample; `search`: token and JS of every position;
    `problem-N`: the columns of the Nth problem's responses and cross-samples.
    """
    known = read_parquet(problems, PROBLEMS).select("problem_id", "problem", "answer")
    ids = known["problem_id"].to_list()
    tokens = read_parquet(vocabulary, VOCABULARY).select(pl.coalesce("token_tuned", "token_base")).to_series()
    texts = token_texts(tokens.to_list())
    listed = responses.index(rollouts, scores, ids)
    branched = branches.index(sweeps, ids) if sweeps else None
    yield "index", _index(spec, known, texts, listed, branched, sweeps)
    parts = []
    for number, problem_id in enumerate(ids):
        columns = responses.positions(problem_id, listed.filter(problem=number), rollouts, scores, len(texts))
        parts.append((columns["token"].values, columns["js"].values))
        if sweeps:
            columns |= branches.tokens(problem_id, sweeps, len(texts))
        yield f"problem-{number}", pack({}, columns)
    tokens, js = (np.concatenate(part) for part in zip(*parts, strict=True))
    yield "search", pack({}, {"token": Column(tokens), "js": Column(js, JS_STEP)})


def _index(
    spec: ViewerSpec,
    known: pl.DataFrame,
    texts: Sequence[str | list[int] | None],
    listed: pl.DataFrame,
    branched: pl.DataFrame | None,
    sweeps: Sequence[Path],
) -> str:
    described = {
        "study": spec.study,
        "pair": spec.pair,
        "set": spec.set,
        "models": {"base": spec.base, "tuned": spec.tuned},
        "truncation": spec.truncation.plain(),
        "high": spec.high,
        "problems": known.rows(),
        "vocabulary": texts,
        "answers": listed["extracted_answer"].to_list(),
        "sweeps": [{"name": sweep.stem, "thresholds": _plain(branches.thresholds(sweep))} for sweep in sweeps],
        "branch_answers": [] if branched is None else branched["extracted_answer"].to_list(),
    }
    columns = {
        name: named(listed[name].to_numpy(), 1 + listed[name].max())
        for name in ("problem", "policy", "sample", "length")
    }
    columns |= {name: counted(listed[name].cast(pl.Int64).to_numpy()) for name in ("correct", "stopped")}
    for name in ("mean_js", "highest_js"):
        columns[name] = rounded(listed[name].to_numpy(), JS_STEP)
    if branched is not None:
        for name in ("problem", "sweep", "sample", "step", "length", "replaced", "switched"):
            columns[f"branch_{name}"] = named(branched[name].to_numpy(), 1 + branched[name].max())
        columns["branch_correct"] = counted(branched["correct"].cast(pl.Int64).to_numpy())
    return pack(described, columns)


def _plain(thresholds: Sequence[float]) -> list[float | None]:
    """As JSON has them: the two infinite ones, first and last, as null."""
    return [threshold if np.isfinite(threshold) else None for threshold in thresholds]
