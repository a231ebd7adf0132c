"""What is in a page: the numbers of the Parquet files, as precisely as the page promises, and every token's text."""

import base64
import json
import zlib

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import bytes_to_unicode

from made_up import POLICIES, SPEC, MadeUp, as_bytes, page_blocks, write_files, write_viewer
from tokenshift.artifacts import write_parquet
from tokenshift.schemas import SCORES
from tokenshift.tables.token_texts import byte_of_character, token_texts
from tokenshift.viewer import page
from tokenshift.viewer.columns import rounded
from tokenshift.viewer.content import blocks

MADE = MadeUp([("p-1", "1 + 1", "2"), ("p-0", "2 + 2", "4"), ("p-2", "3 + 3", "6")], samples=3, swept=2)


def unpacked(text: str) -> tuple[dict, dict[str, np.ndarray]]:
    """The header of a block, and its columns as floats or integers."""
    content = zlib.decompress(base64.b64decode(text))
    length = int.from_bytes(content[:4], "little")
    header = json.loads(content[4 : 4 + length])
    columns = {}
    for name, (kind, offset, count, step) in header.pop("columns").items():
        codes = np.frombuffer(content, f"<{kind}", count, 4 + length + offset)
        columns[name] = codes if step == 0 else np.where(codes == 65535, np.nan, codes * step)
    return header, columns


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_files(MADE, tmp_path_factory.mktemp("made-up"))


@pytest.fixture(scope="module")
def content(files):
    return {name: unpacked(text) for name, text in page_blocks(files, swept=True)}


def test_responses_are_in_the_order_of_the_problems(content):
    header, columns = content["index"]
    assert [problem for problem, *_ in header["problems"]] == ["p-1", "p-0", "p-2"]
    order = list(zip(columns["problem"], columns["policy"], columns["sample"], strict=True))
    assert order == [(p, policy, sample) for p in range(3) for policy in range(2) for sample in range(3)]


@pytest.mark.parametrize("policy", ["base", "tuned"])
def test_every_shown_column_is_that_of_the_scores(content, files, policy):
    scores = pl.read_parquet(files[f"scores-{policy}"])
    for number, (problem_id, *_) in enumerate(MADE.problems):
        own = scores.filter(problem_id=problem_id).sort("sample", "position")
        _, columns = content[f"problem-{number}"]
        size = MADE.samples * MADE.length
        part = slice(0, size) if policy == "base" else slice(size, 2 * size)
        np.testing.assert_array_equal(columns["token"][part], own["token_id"])
        np.testing.assert_array_equal(columns["rank"][part], own["rank_in_base_of_tuned_top1"])
        for name, within in (("js", 6e-6), ("js_nucleus", 6e-6), ("entropy_base", 3e-4), ("entropy_tuned", 3e-4)):
            np.testing.assert_allclose(columns[name][part], own[name], atol=within, rtol=0)
        for name, within in (("logp_base", 3e-4), ("logp_tuned", 3e-4), ("mass_base_base_only", 1e-5)):
            np.testing.assert_allclose(columns[name][part], own[name], atol=within, rtol=0)
        for of in ("base", "tuned"):
            counts = columns[f"candidates_{of}"]
            first = counts[: part.start].sum()
            listed = slice(first, first + counts[part].sum())
            np.testing.assert_array_equal(counts[part], own[f"top_ids_{of}"].list.len())
            np.testing.assert_array_equal(columns[f"ids_{of}"][listed], own[f"top_ids_{of}"].explode())
            logps = columns[f"logps_{of}"][listed]
            np.testing.assert_allclose(logps, own[f"top_logps_{of}"].explode(), atol=3e-4, rtol=0)


def test_the_search_block_holds_all_positions_in_order(content):
    _, columns = content["search"]
    parts = [content[f"problem-{number}"][1] for number in range(len(MADE.problems))]
    for name in ("token", "js"):
        np.testing.assert_array_equal(columns[name], np.concatenate([part[name] for part in parts]))


def test_branches_are_those_of_the_sweeps(content, files):
    header, index = content["index"]
    for sweep, name in enumerate(("forward-js", "reverse-js")):
        rows = pl.read_parquet(files[name])
        thresholds = [np.inf, *header["sweeps"][sweep]["thresholds"][1:]]
        for b in np.flatnonzero(index["branch_sweep"] == sweep):
            threshold = thresholds[index["branch_step"][b]]
            problem_id, *_ = MADE.problems[index["branch_problem"][b]]
            keys = {"problem_id": problem_id, "sample": int(index["branch_sample"][b])}
            (row,) = (
                rows.filter(**keys)
                .filter(pl.col("threshold") == (-np.inf if threshold is None else threshold))
                .to_dicts()
            )
            assert index["branch_correct"][b] == row["correct"]
            assert index["branch_replaced"][b] == sum(row["replaced"])
            _, columns = content[f"problem-{index['branch_problem'][b]}"]
            first = np.flatnonzero(index["branch_problem"] == index["branch_problem"][b])[0]
            begin = index["branch_length"][first:b].sum()
            tokens = columns["branch_token"][begin : begin + index["branch_length"][b]]
            np.testing.assert_array_equal(tokens, row["response_token_ids"])
            begin = index["branch_replaced"][first:b].sum()
            at = columns["branch_at"][begin : begin + index["branch_replaced"][b]]
            np.testing.assert_array_equal(at, np.flatnonzero(row["replaced"]))
            primary = columns["branch_primary"][begin : begin + len(at)]
            np.testing.assert_array_equal(primary, np.array(row["primary_token_ids"])[at])


def test_a_response_scored_in_part_and_one_not_at_all(tmp_path):
    files = write_files(MADE, tmp_path)
    scores = pl.scan_parquet(files["scores-base"]).filter((pl.col("sample") != 1) & (pl.col("position") < 5)).collect()
    write_parquet(files["scores-base"], scores.to_arrow().cast(SCORES), SCORES, {}, ())
    made = {name: unpacked(text) for name, text in page_blocks(files, swept=False)}
    _, index = made["index"]
    np.testing.assert_array_equal(np.isnan(index["mean_js"][:3]), [False, True, False])
    js = made["problem-0"][1]["js"][: 3 * MADE.length].reshape(3, -1)
    assert not np.isnan(js[[0, 2], :5]).any()
    assert np.isnan(js[[0, 2], 5:]).all()
    assert np.isnan(js[1]).all()


def test_the_same_files_give_the_same_page(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    pages = [write_viewer(MADE, tmp_path / name).read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_what_is_too_large_lies_beside_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "LARGEST", 8000)
    made = MadeUp(MADE.problems, samples=20, length=40)
    written = write_viewer(made, tmp_path)
    chunks = sorted(file.name for file in written.with_suffix("").iterdir())
    assert chunks == ["problem-0.js", "problem-1.js", "problem-2.js", "search.js"]
    assert 'id="index"' in written.read_text()
    assert 'id="problem-0"' not in written.read_text()


@given(st.lists(st.floats(0, 0.6931), min_size=1))
def test_rounding_is_within_half_a_step(values):
    column = rounded(np.array(values), np.log(2) / 65534)
    np.testing.assert_allclose(column.values * column.step, values, atol=column.step * 0.501, rtol=0)


def test_byte_level_tokens_are_text_or_the_bytes_of_part_of_a_character():
    made = as_bytes(MadeUp([], vocabulary=[" plus", "\n\n", "é", "–"]))
    texts = token_texts([*made.vocabulary, "<|im_end|>", None])
    assert texts[256:] == [" plus", "\n\n", "é", "–", "<|im_end|>", None]
    assert texts[65] == "A"
    assert texts[0xE2] == [0xE2]


def test_pieces_of_sentencepiece_and_single_characters():
    assert token_texts(["▁the", "<0x0A>", "<0xE2>", "x", "▁"]) == [" the", "\n", [0xE2], "x", " "]
    assert token_texts([" ", "a", "Ġ", "\n", "<0xE"]) == [" ", "a", "Ġ", "\n", "<0xE"]


def test_the_alphabet_is_that_of_transformers():
    assert byte_of_character() == {character: byte for byte, character in bytes_to_unicode().items()}


@pytest.mark.parametrize("scored", [[], ["base"], ["tuned"]])
def test_a_pair_of_which_not_both_trajectories_were_scored(files, scored):
    made = dict(
        blocks(
            SPEC,
            problems=files["problems"],
            vocabulary=files["vocabulary"],
            rollouts={name: files[f"rollouts-{name}"] for name in POLICIES},
            scores={name: files[f"scores-{name}"] for name in scored},
            sweeps=[],
        )
    )
    js = unpacked(made["search"])[1]["js"].reshape(3, 2, -1)
    for policy, name in enumerate(POLICIES):
        assert np.isnan(js[:, policy]).all() == (name not in scored)
