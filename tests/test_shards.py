import importlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tables.examples import analysis
from tiny_models import VOCABULARY, mixed, tiny_policy
from tokenshift.artifacts import gather_parquet, write_csv, write_parquet_parts
from tokenshift.config.measurements import Compared, Truncation
from tokenshift.errors import StudyError
from tokenshift.schemas import SCORES
from tokenshift.scoring.teacher_forcing import Work, score
from tokenshift.shards import shard

TRUNCATION, COMPARED = Truncation(temperature=1.0, top_p=0.7), Compared()
SPEC = {
    "pair": "pair",
    "set": "heldout",
    "trajectory": "tuned",
    "truncation": TRUNCATION.plain(),
    "compared": COMPARED.plain(),
}
TABLES = ("sparsity", "mass_reallocation", "js_entropy", "top_k_overlap", "first_choices")


def rollouts(samples: list[int]) -> pl.DataFrame:
    """As many rows of each problem as `samples` says."""
    problem_ids = [f"p{problem}" for problem, number in enumerate(samples) for _ in range(number)]
    return pl.DataFrame({"problem_id": problem_ids, "row": range(len(problem_ids))})


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_shards_in_order_are_the_whole_and_keep_problems_together(samples, data):
    count = data.draw(st.integers(1, len(samples)))
    parts = [shard(rollouts(samples), number, count) for number in range(count)]
    assert pl.concat(parts).equals(rollouts(samples))
    sizes = [part["problem_id"].n_unique() for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == len(samples)


def test_more_shards_than_problems_are_refused():
    with pytest.raises(StudyError, match="4 shards of a set of 3 problems"):
        shard(rollouts([2, 2, 2]), 0, 4)


def tables_of_shards(folder: Path, count: int) -> dict[str, bytes]:
    """Tables of the scores of one pair along random responses to 16 problems, in float32, scored in `count` shards."""
    base = tiny_policy(0, torch.float32)
    pair = (base, mixed(base, tiny_policy(1, torch.float32), 0.3))
    random = np.random.default_rng(0)

    def tokens(least: int, most: int) -> list[int]:
        return random.integers(2, VOCABULARY, random.integers(least, most)).tolist()

    rows = [{"problem_id": f"p{i // 4}", "sample": i % 4, "prompt_token_ids": tokens(2, 7)} for i in range(64)]
    responses = pl.DataFrame([row | {"response_token_ids": tokens(1, 40)} for row in rows])
    parts = [folder / f"parts/{count}/{number}.parquet" for number in range(count)]
    for number, part in enumerate(parts):
        scored = score(*pair, responses, TRUNCATION, COMPARED, Work(100, 64), (number, count))
        write_parquet_parts(part, scored, SCORES, SPEC, ())
    gathered, made = folder / f"{count}/pair/heldout/tuned.parquet", {}
    gather_parquet(gathered, parts)
    for name in TABLES:
        write_csv(
            folder / "table.csv", importlib.import_module(f"tokenshift.tables.{name}").table([gathered], analysis())
        )
        made[name] = (folder / "table.csv").read_bytes()
    return made


@pytest.mark.parametrize("count", [3, 8, 40])
def test_shards_give_the_tables_of_the_whole_to_the_byte(tmp_path, count):
    whole, sharded = tables_of_shards(tmp_path, 1), tables_of_shards(tmp_path, count)
    assert [name for name in TABLES if sharded[name] != whole[name]] == []
