"""Every table of scores against direct numpy over all positions, its intervals against explicit resampling."""

import numpy as np
import polars as pl
import pytest

from tables.examples import (
    analysis,
    answer_position,
    scores,
    write_cross_samples,
    write_rollouts,
    write_scores,
    write_vocabulary,
)
from tokenshift.artifacts import write_parquet
from tokenshift.config.measurements import Truncation
from tokenshift.config.specs import PairModels
from tokenshift.cross_sampling.positions import index_edges
from tokenshift.errors import StudyError
from tokenshift.schemas import SCORES
from tokenshift.tables import (
    entropy_by_js,
    first_choices,
    js_entropy,
    mass_reallocation,
    position_profile,
    sparsity,
    token_identity,
    top_k_overlap,
    truncation,
)
from tokenshift.tables.statistics import problem_weights

FRAME = scores()
COLUMN = {name: FRAME[name].to_numpy().astype(float) for name in FRAME.columns if FRAME[name].dtype.is_numeric()}
JS = COLUMN["js"]
SETTINGS = analysis()
MODELS = {"dapo": PairModels(base="base", tuned="dapo-s1")}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_scores(tmp_path_factory.mktemp("study"))


def only(table: pl.DataFrame, **keys) -> dict:
    """The one row with these keys."""
    return table.filter(*(pl.col(name).eq_missing(value) for name, value in keys.items())).row(0, named=True)


def high(positions: str) -> np.ndarray:
    return JS > 0.1 if positions == "high_js" else np.full(len(JS), True)


def test_sparsity(path):
    table = sparsity.table([path], SETTINGS)
    assert table.columns[:6] == ["pair", "set", "trajectory", "divergence", "quantity", "threshold"]
    assert table.columns[6:] == ["estimate", "ci_low", "ci_high", "n_problems", "n_tokens"]
    assert table["threshold"].drop_nulls().is_in([0.01, 0.1]).sum() == 6
    for divergence in ("js", "js_nucleus"):
        ecdf = table.filter(divergence=divergence, quantity="share_below")
        assert ecdf["threshold"].is_sorted()
        for row in ecdf.iter_rows(named=True):
            assert row["estimate"] == pytest.approx((COLUMN[divergence] < row["threshold"]).mean())
        above = only(table, divergence=divergence, quantity="share_above")
        assert above["estimate"] == pytest.approx((COLUMN[divergence] > 0.1).mean())
        mean = only(table, divergence=divergence, quantity="mean", threshold=None)
        assert mean["estimate"] == pytest.approx(COLUMN[divergence].mean())
        assert (mean["n_problems"], mean["n_tokens"]) == (6, len(JS))


def test_intervals_are_those_of_resampled_problems(path):
    row = only(sparsity.table([path], SETTINGS), divergence="js", quantity="mean")
    by_problem = FRAME.partition_by("problem_id")
    means = []
    for weights in problem_weights(SETTINGS.bootstrap, 6)[1:]:
        drawn = [part for part, count in zip(by_problem, weights, strict=True) for _ in range(int(count))]
        means.append(np.concatenate([part["js"].to_numpy().astype(float) for part in drawn]).mean())
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_position_profile(path):
    paths = {"scores": [path], "rollouts": [write_rollouts(path.parents[3], "dapo-s1", 0.5)], "cross_samples": []}
    table = position_profile.table(paths, MODELS, SETTINGS)
    position = COLUMN["position"]
    length = FRAME.select(pl.len().over("problem_id", "sample")).to_series().to_numpy()
    for origin, index in (("start", position), ("end", length - 1 - position)):
        bins = table.filter(origin=origin)
        assert bins["n_tokens"].sum() == len(JS)
        for row in bins.iter_rows(named=True):
            inside = (index >= row["bin_low"]) & (index < row["bin_high"])
            assert row["estimate"] == pytest.approx(JS[inside].mean())
    begins = FRAME.select(
        pl.struct("problem_id", "sample").map_elements(
            lambda row: answer_position(int(row["problem_id"][1:]), row["sample"]), pl.Int64
        )
    )
    from_answer = position - begins.to_series().cast(pl.Float64).to_numpy()
    answer = table.filter(origin="answer")
    assert answer["bin_low"].to_list() == sorted(-answer["bin_high"])
    assert answer["n_tokens"].sum() == (~np.isnan(from_answer)).sum() < len(JS)
    for row in answer.filter(pl.col("n_tokens") > 0).iter_rows(named=True):
        inside = (from_answer >= row["bin_low"]) & (from_answer < row["bin_high"])
        assert row["estimate"] == pytest.approx(JS[inside].mean())
    relative = table.filter(origin="relative")
    # A fine grid on each token's interval: what falls into a bin is what the token counts by.
    grid = (position[:, None] + (np.arange(500) + 0.5) / 500) / length[:, None]
    for row in relative.iter_rows(named=True):
        weight = ((grid >= row["bin_low"]) & (grid < row["bin_high"])).sum(axis=1)
        assert row["estimate"] == pytest.approx((weight * JS).sum() / weight.sum(), rel=0.02)
        assert row["n_tokens"] >= (weight > 0).sum()


def test_position_profile_along_cross_samples(path, tmp_path):
    """The answers of the sweep's step that the trajectory names, counted from no switch."""
    mixed = write_scores(tmp_path, trajectory="forward-js-1")
    sweep = write_cross_samples(tmp_path, {np.inf: (0.5, 0, 0), 0.1: (0.5, 8, 2), -np.inf: (0.5, 20, 5)})
    paths = {"scores": [mixed], "rollouts": [], "cross_samples": [sweep]}
    table = position_profile.table(paths, MODELS, SETTINGS)
    assert set(table["trajectory"]) == {"forward-js-1"}
    beyond = write_scores(tmp_path, trajectory="forward-js-3")
    with pytest.raises(StudyError, match="forward-js-3 asks for step 3 of a sweep with steps 0 to 2"):
        position_profile.table(paths | {"scores": [beyond]}, MODELS, SETTINGS)


def test_position_profile_needs_the_responses_of_the_trajectory(path):
    with pytest.raises(StudyError, match="dapo/heldout/tuned: no responses of dapo-s1/heldout are given"):
        position_profile.table({"scores": [path], "rollouts": [], "cross_samples": []}, MODELS, SETTINGS)


def test_scores_made_for_another_pair_are_refused(tmp_path):
    file = tmp_path / "scores" / "dapo" / "heldout" / "tuned.parquet"
    write_parquet(file, FRAME.to_arrow(), SCORES, {"pair": "grpo"}, ())
    with pytest.raises(StudyError, match="was made for pair 'grpo', not 'dapo'"):
        sparsity.table([file], SETTINGS)


@pytest.mark.parametrize(("longest", "bins"), [(1, 20), (2, 1), (40, 20), (20000, 20)])
def test_index_bins_start_with_single_tokens_and_end_at_the_longest_response(longest, bins):
    edges = index_edges(longest, bins)
    assert edges[:2] == ([0, 1] if bins > 1 or longest == 1 else [0, longest])
    assert edges[-1] == longest
    assert len(edges) <= bins + 1
    assert all(np.diff(edges) > 0)


def test_entropy_by_js(path):
    table = entropy_by_js.table([path], 0.5, SETTINGS)
    for policy in ("base", "tuned"):
        entropy = COLUMN[f"entropy_{policy}"]
        rows = table.filter(policy=policy)
        assert rows.filter(quantity="share_of_positions")["estimate"].sum() == pytest.approx(1)
        for row in rows.iter_rows(named=True):
            inside = (row["js_low"] <= JS) & (row["js_high"] > JS)
            expected = {
                "mean_entropy": lambda i=inside, e=entropy: e[i].mean(),
                "share_low_entropy": lambda i=inside, e=entropy: (e[i] < 0.5).mean(),
                "share_of_positions": lambda i=inside: i.mean(),
            }[row["quantity"]]
            if inside.any():
                assert row["estimate"] == pytest.approx(expected())


def test_js_entropy(path):
    table = js_entropy.table([path], SETTINGS)
    assert len(table) == 2 * 8 * 8
    for policy in ("base", "tuned"):
        rows, entropy = table.filter(policy=policy), COLUMN[f"entropy_{policy}"]
        joint, _, _ = np.histogram2d(JS, entropy, [SETTINGS.js_edges, SETTINGS.entropy_edges])
        assert joint.sum() == len(JS)
        assert rows["estimate"].to_numpy() == pytest.approx(joint.ravel() / len(JS))
        assert (rows["ci_low"] <= rows["ci_high"]).all()
        assert set(rows["n_tokens"]) == {len(JS)}


def test_an_empty_cell_is_kept_without_an_estimate(path):
    table = entropy_by_js.table([path], 0.5, analysis(js_edges=[0.0, 0.6931, 0.69315, 0.6932]))
    empty = only(table, quantity="mean_entropy", policy="base", js_low=0.69315)
    assert (empty["estimate"], empty["ci_low"], empty["n_problems"], empty["n_tokens"]) == (None, None, 0, 0)


def test_token_identity(path):
    table = token_identity.table([path], [write_vocabulary(path.parents[3])], SETTINGS)
    tokens = COLUMN["token_id"]
    frequent = [token for token in np.unique(tokens) if (tokens == token).sum() >= 5]
    heaviest = sorted(frequent, key=lambda token: -JS[tokens == token].sum())[:4]
    listed = table.filter(quantity="mean_js")
    assert listed["token_id"].to_list() == heaviest
    assert listed["token"].to_list() == [chr(ord("a") + int(token)) for token in heaviest]
    for token in heaviest:
        here = tokens == token
        expected = {
            "share_of_js": JS[here].sum() / JS.sum(),
            "mean_js": JS[here].mean(),
            "share_high": (JS[here] > 0.1).mean(),
            "share_of_positions": here.mean(),
        }
        for quantity, value in expected.items():
            assert only(table, quantity=quantity, token_id=token)["estimate"] == pytest.approx(value)
    explained = only(table, quantity="variance_explained", token_id=None)
    within = sum(((JS[tokens == token] - JS[tokens == token].mean()) ** 2).sum() for token in np.unique(tokens))
    total = ((JS - JS.mean()) ** 2).sum()
    n, groups = len(JS), len(np.unique(tokens))
    assert explained["estimate"] == pytest.approx(1 - within / (n - groups) * (n - 1) / total)


def test_token_identity_needs_the_pairs_vocabulary(path):
    with pytest.raises(StudyError, match="no vocabulary file of the pair 'dapo'"):
        token_identity.table([path], [], SETTINGS)


def test_no_token_is_listed_when_none_is_frequent_enough(path):
    settings = analysis(identity_minimum=10**6)
    table = token_identity.table([path], [write_vocabulary(path.parents[3])], settings)
    assert table["quantity"].to_list() == ["variance_explained"]


def test_top_k_overlap(path):
    table = top_k_overlap.table([path], SETTINGS)
    for row in table.iter_rows(named=True):
        k = row["k"]
        shares = [
            len(set(base[:k]) & set(tuned[:k])) / k
            for base, tuned in FRAME.select("top_ids_base", "top_ids_tuned").iter_rows()
        ]
        assert row["estimate"] == pytest.approx(np.array(shares)[high(row["positions"])].mean())


def test_first_choices(path):
    table = first_choices.table([path], SETTINGS)
    assert table.filter(quantity="probability_below")["level"].unique().sort().to_list() == [0.001, 0.01, 0.05, 0.1]
    for row in table.iter_rows(named=True):
        other, first = ("base", "tuned") if row["direction"] == "tuned_top1_in_base" else ("tuned", "base")
        if row["quantity"] == "rank_at_most":
            holds = COLUMN[f"rank_in_{other}_of_{first}_top1"] <= row["level"]
        else:
            holds = np.exp(COLUMN[f"logp_{other}_of_{first}_top1"]) < row["level"]
        assert row["estimate"] == pytest.approx(holds[high(row["positions"])].mean())


def test_mass_reallocation(path):
    table = mass_reallocation.table([path], SETTINGS)
    for positions in ("all", "high_js"):
        rows = table.filter(positions=positions)
        for policy in ("base", "tuned"):
            masses = rows.filter(quantity=f"mass_{policy}")
            assert masses.filter(pl.col("candidates") != "unshared")["estimate"].sum() == pytest.approx(1)
            for kind in ("shared", "base_only", "tuned_only", "unshared"):
                expected = COLUMN[f"mass_{policy}_{kind}"][high(positions)].mean()
                assert only(masses, candidates=kind)["estimate"] == pytest.approx(expected)
        changes = rows.filter(pl.col("quantity") == "change", pl.col("candidates") != "unshared")
        assert changes["estimate"].sum() == pytest.approx(0, abs=1e-6)
        gained = only(rows, quantity="change", candidates="tuned_only")
        assert gained["estimate"] > 0


def test_the_divergence_of_high_positions_is_a_setting(path):
    truncated = top_k_overlap.table([path], analysis(divergence="js_nucleus"))
    row = only(truncated, positions="high_js", k=1)
    assert row["n_tokens"] == (COLUMN["js_nucleus"] > 0.1).sum() != (JS > 0.1).sum()


def test_files_follow_one_another(path):
    other = write_scores(path.parents[3], pair="sft", trajectory="base", seed=5, problems=4)
    table = sparsity.table([path, other], SETTINGS)
    assert table.select("pair", "trajectory").unique(maintain_order=True).rows() == [("dapo", "tuned"), ("sft", "base")]
    assert table.filter(pair="sft")["n_problems"].unique().to_list() == [4]


def test_truncation(path):
    """js of the full distributions, of the nuclei, and of the one ablated truncation of the examples."""
    nucleus, tempered = Truncation(temperature=1.0, top_p=0.7), Truncation(temperature=0.5, top_p=1.0)
    table = truncation.table([path], nucleus, [tempered], SETTINGS)
    columns = {
        (1.0, 1.0): JS,
        (1.0, 0.7): COLUMN["js_nucleus"],
        (0.5, 1.0): np.array(FRAME["js_ablation"].to_list())[:, 0],
    }
    assert len(table) == 4 * len(columns)
    for (temperature, top_p), values in columns.items():
        expected = {
            "mean": values.mean(),
            "share_near_zero": (values < SETTINGS.near_zero).mean(),
            "share_high": (values > SETTINGS.high).mean(),
            "share_high_of_full": (values > SETTINGS.high)[SETTINGS.high < JS].mean(),
        }
        for quantity, value in expected.items():
            row = only(table, temperature=temperature, top_p=top_p, quantity=quantity)
            assert row["estimate"] == pytest.approx(value, abs=1e-6)
