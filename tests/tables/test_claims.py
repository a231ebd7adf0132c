import math

import numpy as np
import polars as pl
import pytest

from tables.examples import (
    analysis,
    four_digits,
    scores,
    write_checkpoint_scores,
    write_cross_samples,
    write_metrics,
    write_rollouts,
    write_scores,
)
from tokenshift.config.specs import TrainingGroups
from tokenshift.registries.claims import CLAIMS
from tokenshift.tables import claims, first_choices, recovered_gain, sparsity
from tokenshift.tables.claims import detectable, problems_to_decide, verdict

INF = math.inf
SETTINGS = analysis()
CONTROL_OF = {"dapo": "sft", "sft": None}
FORWARD = {INF: (0.1, 0, 0), 0.3: (0.7, 4, 1), 0.1: (0.8, 8, 2), 0.01: (0.8, 9, 3), -INF: (0.8, 20, 5)}
FORWARD_RANDOM = {INF: (0.1, 0, 0), 0.3: (0.1, 4, 0), 0.1: (0.2, 8, 1), 0.01: (0.3, 9, 3), -INF: (0.8, 20, 5)}
REVERSE = {INF: (0.8, 0, 0), 0.3: (0.5, 4, 1), 0.1: (0.4, 8, 2), -INF: (0.1, 20, 5)}
TRAINING = TrainingGroups(
    groups={"dapo": {1: "dapo-s1", 2: "dapo-s2"}, "high": {1: "high-s1", 2: "high-s2"}},
    base_of={},
    baseline_of={"high": "dapo", "low": "dapo"},
)
WEIGHTED = ["high", "low"]
NOT_TRAINED = TrainingGroups(groups={}, base_of={}, baseline_of={})
NOTHING = {"scores": [], "cross_samples": [], "checkpoint_scores": [], "rollouts": [], "models": []}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    accuracies = {"dapo-s1": 0.5, "dapo-s2": 0.6, "high-s1": 0.7, "high-s2": 0.8}
    return {
        "scores": [
            write_scores(folder, shifted=0.1),
            write_scores(folder, pair="sft", shifted=0.9, seed=1),
            write_scores(folder, trajectory="base", shifted=0.5),
        ],
        "cross_samples": [
            write_cross_samples(folder, FORWARD),
            write_cross_samples(folder, FORWARD_RANDOM, run="forward-random"),
            write_cross_samples(folder, REVERSE, run="reverse-js"),
        ],
        "checkpoint_scores": [write_checkpoint_scores(folder)],
        "rollouts": [write_rollouts(folder, *item) for item in accuracies.items()],
        "models": [],
    }


@pytest.fixture(scope="module")
def table(paths):
    return claims.table(paths, CONTROL_OF, TRAINING, WEIGHTED, SETTINGS)


def rows(table: pl.DataFrame, claim: str) -> list[dict]:
    return table.filter(claim=claim).to_dicts()


@pytest.mark.parametrize(
    ("low", "high", "side", "expected"),
    [
        (0.6, 0.7, "above", "supports"),
        (0.6, 0.7, "below", "contradicts"),
        (0.3, 0.4, "below", "supports"),
        (0.3, 0.4, "above", "contradicts"),
        (0.4, 0.6, "above", "inconclusive"),
        (0.4, 0.6, "below", "inconclusive"),
        (0.5, 0.6, "above", "inconclusive"),
        (0.4, 0.5, "below", "inconclusive"),
        (np.nan, np.nan, "above", "inconclusive"),
    ],
)
def test_verdict(low, high, side, expected):
    assert verdict(low, high, 0.5, side) == expected


def test_every_claim_has_its_rows_for_pairs_that_are_no_control(table):
    assert table["claim"].unique(maintain_order=True).to_list() == [f"C{number}" for number in range(1, 16)]
    assert set(table["pair"]) == {"dapo", "high vs dapo", "low vs dapo"}
    counts = table.group_by("claim").len().filter(pl.col("len") > 1).sort("claim").rows()
    assert counts == [("C1", 2), ("C13", 4), ("C15", 2)]
    assert table.filter(pl.col("verdict") != "not measured")["estimate"].is_not_null().all()


def test_claims_use_the_tables_quantities(paths, table):
    share = sparsity.table(paths["scores"][:1], SETTINGS)
    share = share.filter(divergence="js", quantity="share_below", threshold=0.01).row(0, named=True)
    within = first_choices.table(paths["scores"][:1], SETTINGS)
    within = within.filter(positions="high_js", direction="tuned_top1_in_base", quantity="rank_at_most", level=3)
    within = within.row(0, named=True)
    for claim, expected in (("C1", share), ("C9", within)):
        row = rows(table, claim)[0]
        for column in ("estimate", "ci_low", "ci_high", "n_problems"):
            assert row[column] == expected[column]


def test_verdicts_follow_how_the_examples_were_made(table):
    verdicts = {row["claim"]: row["verdict"] for row in table.to_dicts() if row["pair"] == "dapo"}
    assert [verdicts[claim] for claim in ("C1", "C2", "C7", "C14")] == ["supports"] * 4


def test_estimates_are_those_of_the_scores(table):
    own, control = scores(shifted=0.1), scores(shifted=0.9, seed=1)
    js, length = own["js"].to_numpy(), own.select(pl.len().over("problem_id", "sample")).to_series().to_numpy()
    entropy, high = own["entropy_base"].to_numpy(), js > 0.1
    # Windows of the response on a fine grid: a token counts by the part of it that lies inside.
    grid = (own["position"].to_numpy()[:, None] + (np.arange(1000) + 0.5) / 1000) / length[:, None]
    first, middle, last = (
        np.average(js, weights=((grid >= low) & (grid < high)).sum(axis=1))
        for low, high in ((0, 0.05), (0.25, 0.75), (0.95, 1))
    )
    top_2 = own.select(base=pl.col("top_ids_base").list.head(2), tuned=pl.col("top_ids_tuned").list.head(2))
    overlap = np.array([len(set(base) & set(tuned)) / 2 for base, tuned in top_2.iter_rows()])
    expected = {
        "C2": (control["js"] > 0.1).mean() - high.mean(),
        "C3": first / middle,
        "C4": last / middle,
        "C5": entropy[js < 0.01].mean() - entropy[high].mean(),
        "C6": (entropy[high] < 0.5).mean(),
        "C8": overlap[high].mean(),
        "C9": (own["rank_in_base_of_tuned_top1"].to_numpy()[high] <= 3).mean(),
        "C10": (np.exp(own["logp_base_of_tuned_top1"].to_numpy()[high]) < 0.01).mean(),
    }
    assert {claim: rows(table, claim)[0]["estimate"] for claim in expected} == pytest.approx(expected, rel=0.01)


def test_gain_is_taken_at_the_lowest_threshold_within_the_budget(paths, table):
    forward, reverse = rows(table, "C11")[0], rows(table, "C12")[0]
    assert (forward["estimate"], forward["verdict"]) == (pytest.approx(1.0), "supports")
    assert (reverse["estimate"], reverse["verdict"]) == (pytest.approx(4 / 7), "contradicts")
    tight = claims.table(paths, CONTROL_OF, NOT_TRAINED, [], analysis(claims={"budget": 0.05}))
    assert rows(tight, "C11")[0]["estimate"] == pytest.approx(6 / 7)
    none = claims.table(paths, CONTROL_OF, NOT_TRAINED, [], analysis(claims={"budget": 0.01}))
    assert rows(none, "C11")[0]["verdict"] == "not measured"


def test_the_random_control_is_compared_at_the_same_threshold(paths, table):
    forward, each, *reverse = rows(table, "C13")
    assert forward["estimate"] == pytest.approx(1.0 - 1 / 7)
    assert forward["verdict"] == "supports"
    # Of 20 tokens two are replaced, and one of the control's.
    assert each["estimate"] == pytest.approx(0.7 / 2 - 0.1 / 1)
    assert (each["variant"], each["verdict"]) == ("forward, per replaced token", "supports")
    assert [(row["estimate"], row["verdict"]) for row in reverse] == [(None, "not measured")] * 2
    random = recovered_gain.table(paths["cross_samples"], SETTINGS.bootstrap)
    assert random.filter(criterion="random", quantity="recovered_gain", threshold=0.1)[
        "estimate"
    ].item() == pytest.approx(1 / 7)


def test_c13_is_judged_against_the_strictest_control_of_either_kind(tmp_path):
    strict = FORWARD_RANDOM | {0.1: (0.7, 8, 2)}
    runs = {"forward-js": FORWARD, "forward-random": FORWARD_RANDOM, "reverse-js": REVERSE, "reverse-random": REVERSE}
    files = [write_cross_samples(tmp_path, steps, run=run) for run, steps in runs.items()]
    for control, expected in [
        ("random", {"switched": ("switched share", 1 - 1 / 7)}),
        ("random_position", {"switched": ("switched share along the response", 1 - 6 / 7)}),
        (
            "random_effective",
            {
                "replaced": ("effective share", 1 - 6 / 7),
                "switched": ("switched share along the response", 1 - 6 / 7),
            },
        ),
        (
            "random_effective_position",
            {
                "replaced": ("effective share along the response", 1 - 6 / 7),
                "switched": ("switched share along the response", 1 - 6 / 7),
            },
        ),
    ]:
        if control != "random":
            files.append(write_cross_samples(tmp_path, strict, run=f"forward-{control}"))
        found = rows(claims.table(NOTHING | {"cross_samples": files}, CONTROL_OF, NOT_TRAINED, [], SETTINGS), "C13")
        gains = {row["variant"]: row for row in found if not row["variant"].endswith("token")}
        assert set(gains) == {*(f"forward, as many {kind}" for kind in expected), "reverse, as many switched"}
        for kind, (said, estimate) in expected.items():
            row = gains[f"forward, as many {kind}"]
            assert row["quantity"].endswith(f"JS minus random at the same {said}")
            assert row["estimate"] == pytest.approx(estimate)
        assert gains["reverse, as many switched"]["estimate"] == 0


@pytest.mark.parametrize("end", [0.1, 0.0])
def test_without_a_gain_its_share_is_inconclusive_or_undefined(tmp_path, end):
    worse = {INF: (0.1, 0, 0), 0.1: (0.3, 8, 2), -INF: (end, 20, 5)}
    files = NOTHING | {"cross_samples": [write_cross_samples(tmp_path, worse)]}
    (row,) = rows(claims.table(files, CONTROL_OF, NOT_TRAINED, [], SETTINGS), "C11")
    assert row["verdict"] == ("not measured" if end == 0.1 else "inconclusive")


def test_weights_are_compared_over_paired_seeds(table):
    high, low = rows(table, "C15")
    assert (high["estimate"], high["verdict"], high["set"]) == (pytest.approx(0.2), "supports", "heldout")
    assert (low["estimate"], low["verdict"]) == (None, "not measured")


def test_models_without_a_weight_are_not_held_against_the_claim(paths):
    table = claims.table(paths, CONTROL_OF, TRAINING, ["low"], SETTINGS)
    assert [row["pair"] for row in rows(table, "C15")] == ["low vs dapo"]


def test_seeds_that_disagree_or_one_alone_do_not_decide_whether_weights_help(tmp_path):
    paths = [write_rollouts(tmp_path, *item) for item in {"d1": 0.5, "d2": 0.6, "h1": 0.9, "h2": 0.7}.items()]
    two = {"dapo": {1: "d1", 2: "d2"}, "high": {1: "h1", 2: "h2"}}
    one = {"dapo": {1: "d1"}, "high": {1: "h1"}}
    for groups, estimate in ((two, 0.25), (one, 0.4)):
        training = TrainingGroups(groups=groups, base_of={}, baseline_of={"high": "dapo"})
        (row,) = rows(claims.table(NOTHING | {"rollouts": paths}, {}, training, ["high"], SETTINGS), "C15")
        assert (row["estimate"], row["verdict"]) == (pytest.approx(estimate), "inconclusive")


@pytest.mark.parametrize(("share", "expected"), [(0.02, "supports"), (0.004, "not tested"), (None, "supports")])
def test_weights_that_act_on_hardly_any_token_do_not_test_the_claim(tmp_path, paths, share, expected):
    metrics = [{"step": 1, "reward": 0.5}, {"step": 2, "reward": 0.5}]
    if share is not None:
        metrics = [row | {"weighted_share": share * factor} for row, factor in zip(metrics, (0.5, 1.5), strict=True)]
    models = [write_metrics(tmp_path, model, metrics) for model in ("high-s1", "high-s2")]
    table = claims.table(paths | {"models": models}, CONTROL_OF, TRAINING, WEIGHTED, SETTINGS)
    high = rows(table, "C15")[0]
    assert high["verdict"] == expected
    assert ("weights act on" in high["quantity"]) == (share is not None)
    assert share is None or f"{share:.2%}" in high["quantity"]


@pytest.mark.parametrize(("distance", "within"), [(0.2, 0.02), (-0.1, 0.02)])
def test_so_many_problems_decide_what_was_inconclusive(distance, within):
    rng = np.random.default_rng(0)
    few = rng.normal(distance, 1.0, 40)
    low, high = few.mean() - 1.96 * few.std() / np.sqrt(40), few.mean() + 1.96 * few.std() / np.sqrt(40)
    needed = problems_to_decide(few.mean(), low, high, 0.0, 40)
    half = 1.96 * few.std() / np.sqrt(needed)
    assert abs(few.mean()) - half == pytest.approx(0, abs=within)
    assert problems_to_decide(0.0, low, high, 0.0, 40) is None
    assert problems_to_decide(few.mean(), math.nan, math.nan, 0.0, 40) is None


def test_a_detectable_distance_is_found_four_times_in_five():
    rng, error = np.random.default_rng(1), 0.013
    distance = detectable(-1.96 * error, 1.96 * error, 0.95)
    estimates = rng.normal(distance, error, 20_000)
    assert (estimates - 1.96 * error > 0).mean() == pytest.approx(0.8, abs=0.015)


def test_only_what_problems_can_decide_says_how_many(table, tmp_path):
    inconclusive = table.filter(verdict="inconclusive", estimate=pl.col("estimate"))
    decided = table.filter(pl.col("verdict").is_in(["supports", "contradicts", "not measured"]))
    assert decided["problems_to_decide"].is_null().all()
    assert (inconclusive["problems_to_decide"].drop_nulls() >= inconclusive["n_problems"].max()).all()
    one_seed = TrainingGroups(groups={"dapo": {1: "d1"}, "high": {1: "h1"}}, base_of={}, baseline_of={"high": "dapo"})
    rollouts = [write_rollouts(tmp_path, *item) for item in {"d1": 0.5, "h1": 0.52}.items()]
    (row,) = rows(claims.table(NOTHING | {"rollouts": rollouts}, {}, one_seed, ["high"], SETTINGS), "C15")
    assert (row["verdict"], row["problems_to_decide"]) == ("inconclusive", None)


def test_growth_is_between_the_first_and_the_last_checkpoint(paths, table):
    frame = pl.read_parquet(paths["checkpoint_scores"][0])
    quantiles = {
        (step, q): four_digits(np.quantile(frame.filter(step=step)["js"].to_numpy(), q, method="inverted_cdf"))
        for step in (1, 3)
        for q in (0.5, 0.99)
    }
    growth = {q: quantiles[3, q] - quantiles[1, q] for q in (0.5, 0.99)}
    assert rows(table, "C14")[0]["estimate"] == pytest.approx(growth[0.99] - growth[0.5])


def test_pairs_without_sweeps_have_the_same_rows_as_those_that_have_them(tmp_path):
    runs = {"forward-js": FORWARD, "forward-random_effective": FORWARD_RANDOM, "forward-random": FORWARD_RANDOM}
    files = [write_cross_samples(tmp_path, steps, run=run) for run, steps in runs.items()]
    table = claims.table(NOTHING | {"cross_samples": files}, {"dapo": None, "grpo": None}, NOT_TRAINED, [], SETTINGS)
    variants = {
        pair: [row["variant"] for row in rows(table, "C13") if row["pair"] == pair] for pair in ("dapo", "grpo")
    }
    assert variants["dapo"] == variants["grpo"]
    assert "forward, as many replaced" in variants["grpo"]
    assert set(table.filter(pair="grpo")["verdict"]) == {"not measured"}


def test_what_the_study_did_not_make_is_not_measured(paths):
    only_base = NOTHING | {"scores": paths["scores"][2:]}
    table = claims.table(only_base, CONTROL_OF, TRAINING, WEIGHTED, SETTINGS)
    assert table["verdict"].unique().to_list() == ["not measured"]
    assert table["estimate"].is_null().all()
    assert set(table["claim"]) == set(CLAIMS)


def test_one_problem_decides_nothing(tmp_path):
    files = NOTHING | {"scores": [write_scores(tmp_path, problems=1)]}
    table = claims.table(files, CONTROL_OF, NOT_TRAINED, [], SETTINGS).filter(pl.col("estimate").is_not_null())
    assert len(table) >= 5
    assert table["verdict"].unique().to_list() == ["inconclusive"]


def test_every_claim_is_measured(table):
    assert set(table["claim"]) == set(CLAIMS)
