"""Every figure from made-up tables: what is drawn, that it is reproducible, and that gaps do no harm."""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import matplotlib.style
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from figure_tables import DRAWN_FROM, FIGURES, PAIRS, SPECS, TABLES, cross_sampling, recovered_gain, tables_of
from tokenshift.artifacts import write_csv
from tokenshift.config.specs import Spec
from tokenshift.errors import StudyError
from tokenshift.figures.style import arrange, canvas, direct_labels, house_style, note_sizes, pair_looks, read_table
from tokenshift.figures.sweeps import COMPARED, RULES, rule_line
from tokenshift.figures.tokens import visible

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "workflow" / "scripts" / "figures"
FORMS = ("pdf", "png", "csv")
VALUES = ["estimate", "ci_low", "ci_high"]

pytestmark = pytest.mark.filterwarnings("error")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"figure_{name}", SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def arguments(folder: Path, tables: list[pl.DataFrame], spec: Spec) -> list[str]:
    files = [folder / f"table-{number}.csv" for number in range(len(tables))]
    for file, table in zip(files, tables, strict=True):
        write_csv(file, table)
    outputs = [argument for form in FORMS for argument in (f"--output-{form}", str(folder / f"figure.{form}"))]
    return ["--spec", json.dumps(spec.plain()), "--table", *map(str, files), *outputs]


def make(name: str, folder: Path, tables: list[pl.DataFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a figure's script in this process."""
    monkeypatch.setattr(sys, "argv", [name, *arguments(folder, tables, SPECS[name])])
    script(name).main()


def drawn_figure(name: str, *tables: pl.DataFrame) -> Figure:
    module = script(name)
    with matplotlib.style.context(["default", house_style()]):
        drawn = module.select(*tables)
        spec = SPECS[name]
        if name == "figure_1":
            spec = spec.model_copy(update={"set": drawn["set"][0]})
            drawn = module.of_one_pair(drawn, spec)
        figure = module.draw(drawn, spec)
        note_sizes(figure, drawn)
        return figure


def test_every_script_has_a_made_up_table():
    assert set(FIGURES) == {file.stem for file in SCRIPTS.glob("*.py")}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_in_all_forms_with_the_rows_it_draws(name, tmp_path, monkeypatch):
    tables = tables_of(name, ["heldout"])
    make(name, tmp_path, tables, monkeypatch)
    pdf, png = ((tmp_path / f"figure.{form}").read_bytes() for form in ("pdf", "png"))
    assert b"/FontFile2" in pdf
    assert b"CreationDate" not in pdf
    assert png.startswith(b"\x89PNG")
    assert b"Software" not in png
    drawn = read_table(tmp_path / "figure.csv")
    assert len(drawn) > 0
    taken = 0
    for number in range(len(tables)):
        given = read_table(tmp_path / f"table-{number}.csv")
        assert set(given.columns) <= set(drawn.columns)
        taken += len(drawn.join(given, on=given.columns, how="semi", nulls_equal=True))
    assert taken == len(drawn)


def marks(figure: Figure) -> int:
    """How many points, bars, cells and texts a figure shows."""
    points = [line.get_xydata() for axes in figure.axes for line in axes.lines]
    parts = [part for axes in figure.axes for part in axes.collections]
    segments = [path.vertices for part in parts for path in part.get_paths()]
    cells = [part.get_array() for part in parts if part.get_array() is not None]
    texts = [text for axes in figure.axes for text in axes.texts if text.get_text()]
    shown = sum(int(np.isfinite(block).all(axis=-1).sum()) for block in (*points, *segments) if len(block))
    return shown + sum(int(np.ma.count(cell)) for cell in cells) + len(texts)


def overlaps(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of tick labels of one axis, or of words in one panel's titles and labels, whose boxes share an area."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    found = []
    for axes in figure.axes:
        named = [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label]
        for labels in (axes.get_xticklabels(), axes.get_yticklabels(), named):
            shown = [label for label in labels if label.get_visible() and label.get_text() and axes.axison]
            # Of a slanted label the box is larger than its ink: its neighbours may reach into it by a line's height.
            boxes = [label.get_window_extent(renderer) for label in shown if label.get_rotation() in (0, 90)]
            for (one, a), (other, b) in itertools.combinations(zip(shown, boxes, strict=False), 2):
                if min(a.x1, b.x1) - max(a.x0, b.x0) > 0.5 and min(a.y1, b.y1) - max(a.y0, b.y0) > 0.5:
                    found.append((one.get_text(), other.get_text()))
    return found


@pytest.mark.parametrize("sets", [["heldout"], ["aime24", "aime25"]], ids=len)
@pytest.mark.parametrize("name", FIGURES)
def test_no_label_lies_on_another_or_beyond_the_edge(name, sets):
    figure = drawn_figure(name, *tables_of(name, sets))
    assert overlaps(figure) == []
    page = figure.bbox
    for axes in figure.axes:
        for label in (axes._left_title, axes.xaxis.label, axes.yaxis.label):
            box = label.get_window_extent()
            assert not label.get_text() or (box.x1 <= page.x1 + 1 and box.x0 >= -1), label.get_text()


def test_labels_that_overlap_are_noticed():
    figure = drawn_figure("truncation", *tables_of("truncation", ["heldout"]))
    figure.set_layout_engine("none")
    figure.axes[0].tick_params(labelsize=60)
    assert overlaps(figure)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_names_beside_lines_are_all_seen_and_none_is_on_another(heights):
    figure, ((axes,),) = canvas(1, 1, 2.0)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    names = [f"{number} %" for number in range(len(heights))]
    direct_labels(axes, {name: (0.8, height) for name, height in zip(names, heights, strict=True)})
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    labels = sorted(axes.texts, key=lambda label: Text.get_window_extent(label, renderer).y0)
    assert sorted(label.get_text() for label in labels) == names
    assert all(label.get_annotation_clip() is False for label in labels)
    boxes = [Text.get_window_extent(label, renderer) for label in labels]  # without the lines that lead to them
    assert all(below.y1 <= above.y0 + 0.5 for below, above in itertools.pairwise(boxes))
    assert boxes[0].y0 >= axes.bbox.y0 - 1
    assert boxes[-1].y1 <= figure.bbox.y1
    # In the order of the lines.
    ranks = [heights[names.index(label.get_text())] for label in labels]
    assert ranks == sorted(ranks)


PUBLISHED = ROOT / "docs/smollm2/tables"


@pytest.mark.parametrize("name", FIGURES)
def test_the_published_figures_have_no_labels_on_others(name):
    files = [PUBLISHED / f"{table}.csv" for table in DRAWN_FROM.get(name, [name])]
    if not all(file.exists() for file in files):
        pytest.skip(f"docs/smollm2/tables holds no {name}: too large to publish")
    assert overlaps(drawn_figure(name, *map(read_table, files))) == []


@pytest.mark.parametrize("name", TABLES)
def test_several_sets_without_estimates_have_their_panels_and_nothing_in_them(name, tmp_path):
    table = TABLES[name](["aime24", "aime25"])
    unmeasured = {"verdict": pl.lit("not measured")} if name == "claims" else {}
    empty = table.with_columns(**dict.fromkeys(VALUES, pl.lit(None, pl.Float64)), **unmeasured)
    write_csv(tmp_path / "table.csv", empty)
    with_estimates, without = drawn_figure(name, table), drawn_figure(name, read_table(tmp_path / "table.csv"))
    without.draw_without_rendering()
    # Where no answer's position is measured, the position profile has nothing to count from, and no panel for it.
    lost = 2 if name == "position_profile" and (table["origin"] == "answer").any() else 0
    shown = [sum(axes.axison for axes in figure.axes) for figure in (without, with_estimates)]
    assert shown[0] == shown[1] - lost
    assert marks(without) < marks(with_estimates)


@pytest.mark.parametrize("name", ["sparsity", "token_identity", "cross_sampling", "claims"])
def test_estimates_without_or_outside_their_intervals_are_drawn(name, tmp_path, monkeypatch):
    table = TABLES[name](["heldout"])
    half = pl.int_range(pl.len()) % 2 == 0
    moved = table.with_columns(
        ci_low=pl.when(half).then(pl.col("estimate") + 0.1), ci_high=pl.when(half).then(pl.col("estimate") + 0.2)
    )
    make(name, tmp_path, [moved], monkeypatch)
    assert read_table(tmp_path / "figure.csv")["estimate"].drop_nulls().len() > 0
    whole, drawn = (
        [line.get_xydata() for axes in figure.axes for line in axes.lines]
        for figure in (drawn_figure(name, table), drawn_figure(name, moved))
    )
    assert [points.tolist() for points in drawn] == [points.tolist() for points in whole]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_without_rows_is_refused_in_one_line(name, tmp_path, monkeypatch):
    with pytest.raises(StudyError, match=r"table-0\.csv holds no estimates.*delete it") as raised:
        make(name, tmp_path, [TABLES[name](["heldout"]).clear()], monkeypatch)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "figure.pdf").exists()


def test_other_bad_input_is_refused(tmp_path, monkeypatch):
    table = TABLES["sparsity"](["heldout"])
    monkeypatch.setattr(sys, "argv", ["sparsity", *arguments(tmp_path, [table], SPECS["top_k_overlap"])])
    with pytest.raises(StudyError, match="--spec does not fit ThresholdsFigureSpec: near_zero: field required"):
        script("sparsity").main()
    with pytest.raises(StudyError, match="no row of it belongs in this figure"):
        make("sparsity", tmp_path, [table.filter(quantity="mean")], monkeypatch)
    (tmp_path / "table.csv").write_text("")
    with pytest.raises(StudyError, match="holds no estimates"):
        read_table(tmp_path / "table.csv")


def test_the_same_table_gives_the_same_bytes_in_another_process(tmp_path, monkeypatch):
    first, second = tmp_path / "first", tmp_path / "second"
    table = TABLES["token_identity"](["heldout"])
    make("token_identity", first, [table], monkeypatch)
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "MPLBACKEND": "svg", "SOURCE_DATE_EPOCH": "7"}
    command = [sys.executable, SCRIPTS / "token_identity.py", *arguments(second, [table], SPECS["token_identity"])]
    subprocess.run(command, env=environment, check=True)
    for form in FORMS:
        assert (first / f"figure.{form}").read_bytes() == (second / f"figure.{form}").read_bytes()


def test_a_pair_keeps_its_colour_whatever_else_is_drawn():
    assert len({look.colour for look in pair_looks(f"p{i}" for i in range(14)).values()}) == 14
    looks = pair_looks(PAIRS)
    figure = drawn_figure("position_profile", TABLES["position_profile"](["heldout"]).filter(pair="sft"))
    lines = [line for line in figure.axes[0].lines if line.get_marker() == looks["sft"].marker]
    assert looks["sft"].colour in [to_rgb(line.get_color()) for line in lines]
    of_sparsity = [
        to_rgb(line.get_color()) for line in drawn_figure("sparsity", TABLES["sparsity"](["a"])).axes[0].lines
    ]
    assert {look.colour for look in looks.values()} <= set(of_sparsity)


def test_the_curves_are_the_table_s_numbers():
    table = TABLES["sparsity"](["heldout"])
    rows = table.filter(pair="grpo", trajectory="tuned", divergence="js", quantity="share_below")
    lines = drawn_figure("sparsity", table).axes[0].lines
    curves = [line for line in lines if len(line.get_xdata()) == len(rows)]
    assert any(
        np.array_equal(line.get_xdata(), rows["threshold"]) and np.array_equal(line.get_ydata(), rows["estimate"])
        for line in curves
    )
    assert sorted({line.get_xdata()[0] for line in lines} - {rows["threshold"][0]}) == [
        SPECS["sparsity"].near_zero,
        SPECS["sparsity"].high,
    ]


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_cross_sampling_joins_accuracy_to_effective_share_and_names_both_ends(direction):
    table = cross_sampling(["heldout"]).sample(fraction=1, shuffle=True, seed=1)
    rows = table.filter(direction=direction, criterion="js").sort("budget")
    shares, accuracies = (rows.filter(quantity=quantity)["estimate"] for quantity in ("effective_share", "accuracy"))
    axes = drawn_figure("cross_sampling", table).axes[["forward", "reverse"].index(direction)]
    curves = [line for line in axes.lines if len(line.get_xdata()) == len(shares)]
    assert any(
        np.allclose(line.get_xdata(), 100 * shares) and np.allclose(line.get_ydata(), accuracies) for line in curves
    )
    primary, intervention = ("base", "tuned") if direction == "forward" else ("tuned", "base")
    labels = {text.get_text() for text in axes.texts}
    assert labels == {f"{primary} alone, {accuracies[0]:.2f}", f"{intervention} alone, {accuracies[-1]:.2f}"}


def test_rules_and_controls_have_panels_of_their_own_and_js_is_in_both():
    figure = drawn_figure("cross_sampling", cross_sampling(["heldout"]))
    titles = [axes.get_title("left").replace("\n", " ") for axes in figure.axes]
    assert [title.split(" · ")[0] for title in titles] == [COMPARED["rules"]] * 2 + [COMPARED["controls"]] * 2
    curves = [[line for line in axes.lines if len(line.get_xdata()) == 8] for axes in figure.axes]
    assert [len(lines) for lines in curves] == [7, 7, 5, 5]
    looks = [(to_rgb(line.get_color()), line.get_marker(), line.get_linestyle()) for line in curves[0] + curves[2]]
    assert len(set(looks)) == 11
    assert len(drawn_figure("cross_sampling", cross_sampling(["heldout"], criteria=["js", "random"])).axes) == 2
    assert len(drawn_figure("cross_sampling", cross_sampling(["heldout"], criteria=["js"])).axes) == 2
    assert len(drawn_figure("cross_sampling", cross_sampling(["heldout"], criteria=["entropy_primary"])).axes) == 2


def test_every_rule_and_control_has_a_look():
    looks = [rule_line(rule) for rule in RULES]
    assert len({(look["color"], look["marker"]) for look in looks}) == len(looks)


def test_a_rule_looks_the_same_whatever_else_is_drawn():
    for criteria in (["js"], ["random", "js"], ["entropy_primary", "js", "random_position"]):
        axes = drawn_figure("cross_sampling", cross_sampling(["heldout"], criteria=criteria)).axes[0]
        js = [line for line in axes.lines if to_rgb(line.get_color()) == rule_line("js")["color"]]
        assert [line.get_marker() for line in js] == ["o"]


def test_the_smallest_sufficient_share_is_ringed_on_its_curve():
    table = recovered_gain(["heldout"], criteria=["js", "random"])
    axes = drawn_figure("recovered_gain", table).axes[0]
    at = table.filter(direction="forward", criterion="js", quantity="sufficient_share_paired").row(0, named=True)
    gain = table.filter(direction="forward", criterion="js", quantity="recovered_gain", budget=at["budget"])
    rings = [line.get_xydata() for line in axes.lines if line.get_markersize() == 9]
    assert len(rings) == 1
    assert rings[0][0] == pytest.approx([100 * at["estimate"], 100 * gain["estimate"].item()])


def test_without_a_clear_gap_the_panel_says_so():
    none = pl.when(pl.col("quantity") != "effective_share").then(None).otherwise("estimate")
    figure = drawn_figure("recovered_gain", recovered_gain(["heldout"]).with_columns(estimate=none))
    assert all("no clear gap between the policies" in {text.get_text() for text in axes.texts} for axes in figure.axes)


def test_the_bars_of_first_choices_end_where_the_table_says():
    table = TABLES["first_choices"](["heldout"])
    axes = drawn_figure("first_choices", table).axes[0]
    rows = table.filter(trajectory="tuned", pair="dapo", positions="high_js", direction="tuned_top1_in_base")
    ends = 100 * rows.filter(quantity="rank_at_most").sort("level")["estimate"]
    first_bar = [patch for patch in axes.patches if abs(patch.get_y() + patch.get_height() / 2) < 0.01]
    drawn = sorted(patch.get_x() + patch.get_width() for patch in first_bar if patch.get_width() > 0)
    np.testing.assert_allclose(drawn, [*ends, 100])


def test_training_shows_the_interval_over_problems_within_that_over_seeds_too():
    table = TABLES["training"](["heldout"])
    (row,) = table.filter(pl.col("seed").is_null(), model="dapo", quantity="accuracy").to_dicts()
    axes = drawn_figure("training", table).axes[0]
    bars = [
        (*segment[:, 0], width)
        for part in axes.collections
        for segment in part.get_segments()
        for width in part.get_linewidths()
    ]
    thin, thick = ({(low, high) for low, high, width in bars if (width > 1) == is_thick} for is_thick in (False, True))
    assert (row["ci_low"], row["ci_high"]) in thin
    assert (row["problems_low"], row["problems_high"]) in thick


def test_training_curves_are_the_table_s_numbers_and_bands_the_range_of_the_seeds():
    table = TABLES["training_curves"](["heldout"])
    figure = drawn_figure("training_curves", table)
    panels = {axes.get_title("left"): axes for axes in figure.axes if axes.get_title("left")}
    assert len(panels) == table["metric"].n_unique() - 2  # draws and the mean weight are not drawn
    rows = table.filter(model="dapo-high-kl", metric="entropy")
    axes = panels["entropy (nats)"]
    lines = [line for line in axes.lines if np.array_equal(line.get_ydata(), rows["estimate"])]
    assert [line.get_xdata().tolist() for line in lines] == [rows["step"].to_list()]
    heights = {round(height, 12) for band in axes.collections for height in band.get_paths()[0].vertices[:, 1]}
    assert {round(value, 12) for value in (*rows["lowest"], *rows["highest"])} <= heights
    assert len(panels["share of tokens weighted"].lines) == 1
    assert panels["held-out accuracy"].lines[0].get_xdata()[0] == 0
    colours = [line.get_color() for line in panels["reward"].lines]
    assert len(set(colours)) == 3
    assert [text.get_text() for text in figure.legends[0].texts] == ["dapo", "dapo-high-kl", "grpo"]


def test_claims_shows_every_row():
    table = TABLES["claims"](["heldout"])
    figure = drawn_figure("claims", table)
    assert len(figure.axes[0].patches) == len(table)
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {"C1", "C15", "dapo", "dapo-low-kl\nvs dapo", "0.91", "[0.81, 1.00]", "> 0.8"} <= set(shown)


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("\n", "↵"),
        (" the", "␣the"),
        ("中", "\\u4e2d"),
        (None, "id 7"),
        ("", "id 7"),
        ("abcdefghijklmnop", "abcdefghijk…"),
    ],
)
def test_tokens_are_visible(token, shown):
    with matplotlib.style.context(house_style()):
        assert visible(token, 7) == shown


def test_tokens_survive_the_table(tmp_path):
    table = TABLES["token_identity"](["heldout"])
    write_csv(tmp_path / "table.csv", table)
    assert read_table(tmp_path / "table.csv")["token"].to_list() == table["token"].to_list()


def test_arrange_sorts_by_the_given_order_and_leaves_out_the_rest():
    table = pl.DataFrame({"key": ["a", "b", "c", "b"], "n": [1, 2, 3, 0]})
    assert arrange(table, "key", "n", key=["c", "b"]).rows() == [("c", 3), ("b", 0), ("b", 2)]
