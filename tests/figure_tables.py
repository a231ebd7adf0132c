"""Made-up tables in the columns that the figures read, with plausible values; for tests of the figures."""

import itertools
import math

import polars as pl

from tokenshift.config.specs import (
    EntropyByJsFigureSpec,
    FigureOneSpec,
    FigureSpec,
    HighFigureSpec,
    PairsFigureSpec,
    ThresholdsFigureSpec,
)
from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.criteria import CRITERIA

PAIRS = ["dapo", "grpo", "sft"]
CELLS = {"positions": ["all", "high_js"]}
STRENGTH = {"dapo": 1.0, "grpo": 0.6, "sft": 2.2}  # how much a pair shifts
INTERCHANGED = {"tuned_top1_in_base": 1.0, "base_top1_in_tuned": 1.6}


def table(keys: dict[str, list], estimate, spread: float = 0.12) -> pl.DataFrame:
    """A row per combination of `keys`, with an interval of relative `spread`; estimate None: not measured."""
    rows = []
    for values in itertools.product(*keys.values()):
        row = dict(zip(keys, values, strict=True))
        value = estimate(row)
        half = None if value is None else spread * abs(value) + 1e-4
        # A percentile interval is not symmetric.
        limits = (None, None) if value is None else (value - half, value + 0.7 * half)
        counts = {"n_problems": 64 if value is not None else 0, "n_tokens": 21000 if value is not None else 0}
        rows.append(row | {"estimate": value, "ci_low": limits[0], "ci_high": limits[1]} | counts)
    return pl.DataFrame(rows, infer_schema_length=None)


def along(sets: list[str]) -> dict[str, list]:
    """Keys that the tables of the scores begin with."""
    return {"pair": PAIRS, "set": sets, "trajectory": ["tuned", "base"]}


def shift(row: dict) -> float:
    """How much the policies of a row's pair differ along its trajectory."""
    return STRENGTH[row["pair"]] * (1.0 if row.get("trajectory", "tuned") == "tuned" else 0.8)


def sparsity(sets: list[str]) -> pl.DataFrame:
    grid = sorted({*(10 ** (-6 + 0.16 * step) for step in range(37)), 0.01, 0.1})
    keys = {**along(sets), "divergence": ["js", "js_nucleus"], "quantity": ["share_below"], "threshold": grid}

    def share(row: dict) -> float:
        floor = 0.25 if row["divergence"] == "js" else 0.75
        return 1 - (1 - floor) * min(1, shift(row) / 2.2) * math.exp(-((row["threshold"] / 0.08) ** 0.5))

    mean = table({**keys, "quantity": ["mean"], "threshold": [None]}, lambda row: 0.02 * shift(row))
    above = table({**keys, "quantity": ["share_above"], "threshold": [0.1]}, lambda row: 1 - share(row))
    return pl.concat([table(keys, share, spread=0.01), above, mean], how="vertical_relaxed")


def position_profile(sets: list[str]) -> pl.DataFrame:
    edges = [0, 1, 2, 3, 5, 8, 12, 20, 33, 55]
    keys = {**along(sets), "origin": ["start", "end"], "bin": list(itertools.pairwise(edges))}
    relative = {**along(sets), "origin": ["relative"], "bin": [(i / 20, (i + 1) / 20) for i in range(20)]}

    def by_token(row: dict) -> float | None:
        far = row["bin"][0] + 1
        if row["pair"] == "sft" and far > 50:
            return None
        return shift(row) * 0.02 * (1 + 6 / far ** (1.2 if row["origin"] == "start" else 3))

    def by_part(row: dict) -> float:
        low = row["bin"][0]
        return shift(row) * 0.02 * (1 + 4 * math.exp(-12 * low) + math.exp(-40 * (0.95 - low)))

    around = [*(-edge for edge in reversed(edges[1:])), *edges]
    answer = {**along(sets), "origin": ["answer"], "bin": list(itertools.pairwise(around))}

    def by_distance(row: dict) -> float:
        return shift(row) * 0.02 * (1 + 3 / (1 + abs(row["bin"][0])))

    parts = [table(keys, by_token), table(relative, by_part), table(answer, by_distance)]
    both = pl.concat(parts, how="vertical_relaxed")
    low, high = (pl.col("bin").list.get(end).cast(pl.Float64) for end in (0, 1))
    columns = ["pair", "set", "trajectory", "origin", "bin_low", "bin_high", "estimate", "ci_low", "ci_high"]
    return both.with_columns(bin_low=low, bin_high=high).select(*columns, "n_problems", "n_tokens")


def entropy_by_js(sets: list[str]) -> pl.DataFrame:
    edges = [0.0, 0.0001, 0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6932]
    quantities = ["mean_entropy", "share_low_entropy", "share_of_positions"]
    keys = {**along(sets), "policy": ["base", "tuned"], "quantity": quantities, "bin": list(range(8))}

    def value(row: dict) -> float | None:
        i, tuned = row["bin"], row["policy"] == "tuned"
        if row["quantity"] == "share_of_positions":
            return [0.55, 0.2, 0.1, 0.05, 0.04, 0.03, 0.02, 0.01][i]
        if row["pair"] == "grpo" and i == 7:
            return None
        entropy = 0.05 + 0.11 * i * (0.5 if tuned else 1.0) * (1 + 0.2 * shift(row))
        return entropy if row["quantity"] == "mean_entropy" else max(0.0, 1 - entropy)

    low = pl.col("bin").replace_strict(dict(enumerate(edges[:-1])), return_dtype=pl.Float64)
    high = pl.col("bin").replace_strict(dict(enumerate(edges[1:])), return_dtype=pl.Float64)
    return table(keys, value).with_columns(js_low=low, js_high=high).drop("bin")


def js_entropy(sets: list[str]) -> pl.DataFrame:
    of_js = list(itertools.pairwise([0.0, 0.0001, 0.001, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6932]))
    of_entropy = list(itertools.pairwise([0.0, 0.01, 0.1, 0.3, 0.5, 1.0, 2.0, 4.0, 12.0]))
    keys = {**along(sets), "policy": ["base", "tuned"], "js": of_js, "entropy": of_entropy}

    def value(row: dict) -> float:
        i, j = of_js.index(row["js"]), of_entropy.index(row["entropy"])
        return 0.0 if j == 7 and i < 3 else 0.4 * math.exp(-0.5 * i - 0.3 * j - 0.4 * abs(i - j) * shift(row))

    edges = {
        f"{quantity}_{end}": pl.col(quantity).list.get(index)
        for quantity in ("js", "entropy")
        for index, end in enumerate(("low", "high"))
    }
    columns = ["pair", "set", "trajectory", "policy", *edges, "estimate", "ci_low", "ci_high", "n_problems", "n_tokens"]
    return table(keys, value).with_columns(**edges).select(columns)


def token_identity(sets: list[str]) -> pl.DataFrame:
    tokens = ["=", ":", "\n", " ", "+", "-", "1", "2", "3", "$x$", "Ġtherefore, we", "中文", None, "0", "a\tb"]
    keys = {
        **along(sets),
        "quantity": ["share_of_js", "mean_js", "share_high", "share_of_positions"],
        "token_id": list(range(15)),
    }

    def value(row: dict) -> float:
        scale = {"share_of_js": 0.1, "mean_js": 0.3, "share_high": 0.9, "share_of_positions": 0.05}[row["quantity"]]
        return min(1, scale * shift(row) / 2.2 * 0.8 ** row["token_id"])

    named = table(keys, value).with_columns(token=pl.col("token_id").map_elements(tokens.__getitem__, pl.String))
    explained = table({**along(sets), "quantity": ["variance_explained"]}, lambda row: 0.2 + 0.05 * shift(row))
    return pl.concat([explained, named], how="diagonal_relaxed").select(named.columns)


def top_k_overlap(sets: list[str]) -> pl.DataFrame:
    keys = {**along(sets), **CELLS, "k": [1, 2, 3, 5, 10]}

    def overlap(row: dict) -> float:
        floor = 0.98 if row["positions"] == "all" else 0.85
        return floor - 0.3 * shift(row) / row["k"] ** 1.5 * (0.1 if row["positions"] == "all" else 1)

    return table(keys, overlap, spread=0.04)


def first_choices(sets: list[str]) -> pl.DataFrame:
    keys = {**along(sets), **CELLS, "direction": list(INTERCHANGED)}

    def within(row: dict) -> float:
        miss = 0.3 * shift(row) if row["positions"] == "high_js" else 0.02 * shift(row)
        return 1 - miss / row["level"] / INTERCHANGED[row["direction"]]

    def improbable(row: dict) -> float:
        scale = 1.0 if row["positions"] == "high_js" else 0.05
        return scale * 0.8 * shift(row) * INTERCHANGED[row["direction"]] * row["level"] ** 0.7

    ranks = table({**keys, "quantity": ["rank_at_most"], "level": [1.0, 2.0, 3.0, 5.0, 10.0]}, within, spread=0.03)
    levels = table({**keys, "quantity": ["probability_below"], "level": [0.001, 0.01, 0.05, 0.1]}, improbable)
    return pl.concat([ranks, levels])


def mass_reallocation(sets: list[str]) -> pl.DataFrame:
    candidates = ["shared", "base_only", "tuned_only", "neither", "unshared"]
    keys = {**along(sets), **CELLS, "candidates": candidates, "quantity": ["mass_base", "mass_tuned", "change"]}

    def value(row: dict) -> float:
        base = dict(zip(candidates, (0.55, 0.25, 0.1, 0.1, 0.0), strict=True))[row["candidates"]]
        change = dict(zip(candidates, (0.12, -0.18, 0.09, -0.03, 0.0), strict=True))[row["candidates"]] * shift(row) / 2
        change *= 1 if row["positions"] == "high_js" else 0.1
        return {"mass_base": base, "mass_tuned": base + change, "change": change}[row["quantity"]]

    return table(keys, value)


def evolution(sets: list[str]) -> pl.DataFrame:
    steps, quantiles = [6, 12, 18, 24, 30], [0.5, 0.75, 0.9, 0.95, 0.99]
    keys = {"pair": ["dapo", "grpo"], "set": sets, "divergence": ["js", "js_nucleus"], "step": steps}

    def value(row: dict) -> float:
        return 0.5 * (row["step"] / 30) ** 0.7 * shift(row) * row["quantile"] ** 20

    return table({**keys, "quantile": quantiles}, value)


RULES, CONTROLS = list(CRITERIA), list(CONTROLS)
THRESHOLDS = [math.inf, 0.3, 0.15, 0.08, 0.03, 0.005, 1e-5, -math.inf]
DIRECTED = {"direction": ["forward", "reverse"]}


def swept(row: dict) -> dict[str, float]:
    """Quantities of one threshold of a sweep; the rules differ a little, the controls much."""
    done, reverse = row["budget"] / 7, row["direction"] == "reverse"
    strength = 3 - 0.35 * RULES.index(row["criterion"]) if row["criterion"] in RULES else 0.4
    if row["criterion"] in CONTROLS:
        strength += 0.12 * CONTROLS.index(row["criterion"])
    gain = 1 - (1 - done) ** strength
    share = (0.055 if reverse else 0.026) * done ** (0.8 if row["criterion"] in RULES else 1.2)
    accuracy = 0.97 - 0.49 * gain if reverse else 0.49 + 0.48 * gain
    return {"accuracy": accuracy, "effective_share": share, "recovered_gain": gain}


def cross_sampling(sets: list[str], pairs=("dapo",), criteria=(*RULES, *CONTROLS)) -> pl.DataFrame:
    quantities = ["accuracy", "switched_share", "effective_share", "effective_count"]
    keys = {"pair": list(pairs), "set": sets, **DIRECTED, "criterion": list(criteria), "budget": list(range(8))}
    made = table({**keys, "quantity": quantities}, lambda row: swept(row).get(row["quantity"], 0.1), spread=0.05)
    return made.with_columns(threshold=pl.Series(THRESHOLDS).gather(made["budget"]))


def recovered_gain(sets: list[str], criteria=(*RULES, *CONTROLS)) -> pl.DataFrame:
    keys = {"pair": ["dapo"], "set": sets, **DIRECTED, "criterion": list(criteria)}
    along_budget = {**keys, "budget": list(range(8)), "quantity": ["recovered_gain", "effective_share"]}
    made = table(along_budget, lambda row: swept(row)[row["quantity"]], spread=0.05)
    # The first of each sweep that recovers nine tenths; the weakest controls never do.
    reached = made.filter(pl.col("budget") < 7, quantity="recovered_gain").filter(pl.col("estimate") > 0.9)
    first = reached.group_by(*keys, maintain_order=True).agg(pl.col("budget").min())
    found = made.filter(quantity="effective_share").join(first, on=[*keys, "budget"], maintain_order="left")
    never = made.filter(quantity="effective_share").join(first, on=list(keys), how="anti").filter(budget=0)
    nothing = dict.fromkeys(("estimate", "ci_low", "ci_high"), pl.lit(None, pl.Float64))
    sufficient = pl.concat([found, never.with_columns(budget=pl.lit(None, pl.Int64), **nothing)])
    made = pl.concat([made, sufficient.with_columns(quantity=pl.lit("sufficient_share_paired"))])
    return made.with_columns(threshold=pl.Series(THRESHOLDS).gather(made["budget"]))


def budget_frontier(sets: list[str]) -> pl.DataFrame:
    keys = {"pair": ["dapo"], "set": sets, **DIRECTED, "criterion": ["js", "entropy_primary"]}
    keys |= {"budget": [0.25 * step for step in range(9)], "policy": ["per_problem", "one_threshold"]}
    keys |= {"evaluation": ["cross_fitted", "naive"], "quantity": ["accuracy", "effective_count"]}

    def value(row: dict) -> float:
        gain = 1 - math.exp(-row["budget"] * (2.5 if row["policy"] == "per_problem" else 1.5))
        gain *= 1.05 if row["evaluation"] == "naive" and row["policy"] == "per_problem" else 1
        return 0.49 + 0.45 * gain if row["direction"] == "forward" else 0.97 - 0.45 * gain

    return table(keys, value, spread=0.04)


def replacement_positions(sets: list[str]) -> pl.DataFrame:
    keys = {"pair": ["dapo"], "set": sets, **DIRECTED, "criterion": ["js", "js_nucleus", *CONTROLS]}
    keys |= {"at_budget": [False, True], "quantity": ["switched_share", "effective_share"]}
    relative = {**keys, "origin": ["relative"], "bin": [(i / 20, (i + 1) / 20) for i in range(20)]}
    edges = [0, 1, 2, 3, 5, 8, 12, 20, 33, 55]
    start = {**keys, "origin": ["start"], "bin": [(float(a), float(b)) for a, b in itertools.pairwise(edges)]}

    def share(row: dict) -> float | None:
        far = row["bin"][0] * (50 if row["origin"] == "relative" else 1)
        if far > 30 and row["origin"] == "start" and row["direction"] == "forward":
            return None
        crowded = row["criterion"].startswith("js") or row["criterion"].endswith("position")
        whole = 0.08 if row["quantity"] == "switched_share" else 0.02
        whole *= 0.3 if row["criterion"] in ("random", "random_position") else 1
        return whole * (0.3 + 3 * math.exp(-far / 5)) if crowded else whole

    made = pl.concat([table(relative, share), table(start, share)], how="vertical_relaxed")
    low, high = (pl.col("bin").list.get(end) for end in (0, 1))
    return made.with_columns(bin_low=low, bin_high=high).drop("bin")


def training(sets: list[str]) -> pl.DataFrame:
    accuracies = {"base": 0.5, "sft": 0.9, "grpo": 0.93, "dapo": 0.95, "dapo-high-kl": 0.965, "dapo-low-kl": 0.958}
    jitter = {1: -0.006, 2: 0.002, 3: 0.005}
    rows = []
    for model, accuracy in accuracies.items():
        quantities = {"accuracy": accuracy, "length": 30.0}
        quantities |= {"accuracy_minus_base": accuracy - 0.5} if model != "base" else {}
        quantities |= {"accuracy_minus_baseline": accuracy - 0.95} if model.endswith("kl") else {}
        seeds = [1, 2, 3, None] if model.startswith("dapo") else [0, None]
        for quantity, value in quantities.items():
            keys = {"model": [model], "set": sets, "seed": seeds, "quantity": [quantity]}
            rows.append(table(keys, lambda row, value=value: value + jitter.get(row["seed"], 0), spread=0.02))
    made = pl.concat(rows, how="vertical_relaxed")
    part, several = pl.col("seed").is_null(), pl.col("model").str.starts_with("dapo")
    narrower = {f"problems_{end}": (pl.col("estimate") + pl.col(f"ci_{end}")) / 2 for end in ("low", "high")}
    of_seeds = {f"seeds_{end}": pl.when(part & several).then(f"ci_{end}") for end in ("low", "high")}
    return made.with_columns(**{name: pl.when(part).then(value) for name, value in narrower.items()}, **of_seeds)


def training_curves(sets: list[str]) -> pl.DataFrame:
    """Three models of three, three and one seeds; some metrics only of some steps, or only of weighted models."""
    finals = {"heldout_accuracy": 0.9, "accuracy": 0.85, "reward": 0.7, "response_length": 30.0, "entropy": 0.2}
    finals |= {"kl_base": 0.3, "kl_old": 0.001, "clip_high": 0.01, "clip_low": 0.02, "weight": 1.05}
    finals |= {"weighted_share": 0.1}
    finals |= {"filtered_groups": 0.6, "gradient_norm": 0.5, "draws": 3.0}
    rows = []
    for scale, (model, seeds) in enumerate({"dapo": 3, "dapo-high-kl": 3, "grpo": 1}.items(), start=1):
        for metric, final in finals.items():
            if metric.startswith("weight") and model != "dapo-high-kl":
                continue
            steps = range(0, 31, 5) if metric == "heldout_accuracy" else range(1, 31)
            keys = {"model": [model], "metric": [metric], "step": list(steps)}
            made = table(keys, lambda row, final=final * scale / 3: final * (1 - math.exp(-(row["step"] + 1) / 8)))
            low, high = (pl.col("estimate") * (1 + side * (0.05 if seeds > 1 else 0)) for side in (-1, 1))
            made = made.with_columns(lowest=low, highest=high, n_seeds=pl.lit(seeds))
            rows.append(made.drop("n_problems", "n_tokens"))
    return pl.concat(rows, how="vertical_relaxed")


def claims(sets: list[str]) -> pl.DataFrame:
    measured = [
        ("C1", "whole vocabulary", "share of positions with JS below 0.01", 0.8, "above", 0.91),
        ("C1", "truncated", "share of positions with JS below 0.01, truncated", 0.8, "above", 0.85),
        ("C2", "", "share of positions with JS above 0.1, control pair minus this pair", 0.0, "above", 0.0123),
        ("C3", "", "mean JS, first 5 % of the response over its middle 50 %", 1.0, "above", 12.3),
        ("C4", "", "mean JS, last 5 % of the response over its middle 50 %", 1.0, "above", 0.4),
        (
            "C5",
            "",
            "mean base entropy, positions with JS below 0.01 minus those with JS above 0.1",
            0.0,
            "below",
            -0.43,
        ),
        ("C6", "", "share of positions with JS above 0.1 whose base entropy is below 0.5 nats", 0.05, "above", 0.051),
        ("C7", "", "share of the variance of JS that token identity explains", 0.5, "below", 0.62),
        ("C8", "", "mean overlap of the top-2 sets at JS above 0.1", 0.8, "above", 0.88),
        ("C9", "", "share of the tuned policy's top-1 within the base's top 3 at JS above 0.1", 0.8, "above", 0.97),
        ("C10", "", "share of the tuned policy's top-1 with base probability below 0.01", 0.1, "below", 0.0004),
        ("C11", "", "gain recovered forward at an effective share of at most 0.1", 0.8, "above", 0.99),
        ("C12", "", "gain lost in reverse at an effective share of at most 0.1", 0.8, "above", 1.02),
        (
            "C13",
            "forward, as many replaced",
            "gain recovered forward at an effective share of at most 0.1, JS minus random",
            0.0,
            "above",
            0.8,
        ),
        (
            "C13",
            "forward, per replaced token",
            "accuracy gained per replaced token at an effective share of at most 0.1",
            0.0,
            "above",
            0.02,
        ),
        (
            "C13",
            "reverse, as many replaced",
            "gain lost in reverse at an effective share of at most 0.1, JS minus random",
            0.0,
            "above",
            0.2,
        ),
        ("C14", "", "growth of the 99th minus growth of the 50th percentile of JS", 0.0, "above", 0.31),
    ]
    rows = [
        claim_row(claim, variant, pair, problem_set, quantity, bound, side, value)
        for pair, problem_set in itertools.product(("dapo", "grpo"), sets)
        for claim, variant, quantity, bound, side, value in measured
    ]
    for model, problem_set in itertools.product(("dapo-high-kl", "dapo-low-kl"), sets):
        quantity = f"accuracy, {model} minus dapo, mean over paired seeds"
        rows.append(claim_row("C15", "", f"{model} vs dapo", problem_set, quantity, 0.0, "above", 0.004))
    return pl.DataFrame(rows, infer_schema_length=None)


def claim_row(
    claim: str, variant: str, pair: str, problem_set: str, quantity: str, bound: float, side: str, value: float
) -> dict:
    low, high = value - 0.1 * abs(value) - 0.005, value + 0.1 * abs(value)
    inside = {"above": low > bound, "below": high < bound}
    verdict = "supports" if inside[side] else "inconclusive" if low <= bound <= high else "contradicts"
    row = {"claim": claim, "variant": variant, "pair": pair, "set": problem_set, "quantity": quantity}
    if pair == "grpo" and claim in ("C11", "", "C12", "C13"):
        value = low = high = None
        verdict = "not measured"
    limits = {"estimate": value, "ci_low": low, "ci_high": high, "bound": bound, "side": side}
    row |= limits | {"paper_value": "0.83 (DAPO), 0.98 (SimpleRL)", "verdict": verdict, "n_problems": 64}
    return row | {"detectable": 0.05, "problems_to_decide": 640 if verdict == "inconclusive" else None}


def truncation(sets: list[str]) -> pl.DataFrame:
    cuts = [(1.0, 1.0), (1.0, 0.7), (1.0, 0.95), (0.6, 1.0), (0.6, 0.95)]
    keys = {**along(sets), "cut": cuts, "quantity": ["mean", "share_near_zero", "share_high", "share_high_of_full"]}

    def value(row: dict) -> float:
        kept = {"mean": 0.02, "share_near_zero": 0.8, "share_high": 0.06, "share_high_of_full": 0.9}[row["quantity"]]
        return min(1.0, kept * (0.9 + 0.1 * cuts.index(row["cut"]) / len(cuts)))

    temperature, top_p = (pl.col("cut").list.get(index) for index in (0, 1))
    columns = ["pair", "set", "trajectory", "temperature", "top_p", "quantity", "estimate", "ci_low", "ci_high"]
    cut = table(keys, value).with_columns(temperature=temperature, top_p=top_p)
    return cut.select(*columns, "n_problems", "n_tokens")


TABLES = {
    made.__name__: made
    for made in (
        *(sparsity, position_profile, entropy_by_js, js_entropy, token_identity, top_k_overlap, first_choices),
        *(mass_reallocation, evolution, cross_sampling, training, training_curves, claims),
        *(recovered_gain, budget_frontier, replacement_positions, truncation),
    )
}

# Figures that are drawn from other tables than that of their name.
DRAWN_FROM = {"figure_1": ["sparsity", "token_identity", "cross_sampling"]}
FIGURES = [*TABLES, *DRAWN_FROM]


def tables_of(figure: str, sets: list[str]) -> list[pl.DataFrame]:
    """The made-up tables that a figure is drawn from."""
    return [TABLES[name](sets) for name in DRAWN_FROM.get(figure, [figure])]


HASHES = {"code": "", "environment": ""}
HIGH_SPEC = HighFigureSpec(**HASHES, pairs=PAIRS, high=0.1)
THRESHOLDS_SPEC = ThresholdsFigureSpec(**HASHES, pairs=PAIRS, high=0.1, near_zero=0.01)
SPECS = (
    dict.fromkeys(TABLES, FigureSpec(**HASHES))
    | dict.fromkeys(["evolution", "position_profile"], PairsFigureSpec(**HASHES, pairs=PAIRS))
    | dict.fromkeys(["top_k_overlap", "first_choices", "mass_reallocation", "token_identity"], HIGH_SPEC)
    | dict.fromkeys(["sparsity", "truncation"], THRESHOLDS_SPEC)
    | {"figure_1": FigureOneSpec(**HASHES, pairs=PAIRS, high=0.1, pair="dapo", set="heldout")}
    | {"entropy_by_js": EntropyByJsFigureSpec(**HASHES, pairs=PAIRS, low_entropy=0.5)}
)
