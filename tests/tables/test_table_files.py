import polars as pl
import pytest

from tables.examples import analysis, scores, write, write_rollouts, write_scores
from tokenshift.errors import StudyError
from tokenshift.schemas import SCORES
from tokenshift.tables import js_entropy
from tokenshift.tables.files import collect, names, read_responses, scan, scan_scores, with_lengths


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("scores", "r/scores/dapo/set-1/tuned.parquet", {"pair": "dapo", "set": "set-1", "trajectory": "tuned"}),
        ("checkpoint_scores", "dapo/heldout.parquet", {"pair": "dapo", "set": "heldout"}),
        ("rollouts", "/r/rollouts/dapo-s1/heldout.parquet", {"model": "dapo-s1", "set": "heldout"}),
        ("vocabularies", "vocabularies/dapo.parquet", {"pair": "dapo"}),
        (
            "cross_samples",
            "dapo/heldout/reverse-random.parquet",
            {"pair": "dapo", "set": "heldout", "direction": "reverse", "criterion": "random"},
        ),
    ],
)
def test_names_come_from_the_last_parts_of_the_path(kind, path, expected):
    assert names(kind, path) == expected


@pytest.mark.parametrize(("kind", "path"), [("scores", "tuned.parquet"), ("cross_samples", "a/b/js.parquet")])
def test_a_path_laid_out_otherwise_is_refused(kind, path):
    with pytest.raises(StudyError, match=f"{path}: a {kind} file must lie at"):
        names(kind, path)


def test_scores_are_scanned_in_double_precision_with_the_lengths_of_their_responses(tmp_path):
    frame = collect(with_lengths(scan_scores(write_scores(tmp_path))))
    assert (
        frame.group_by("problem_id", "sample")
        .agg(pl.col("position").max() + 1 == pl.col("length").first())["position"]
        .all()
    )
    assert frame["js"].dtype == pl.Float64
    assert frame["tokens"].sum() == len(frame)


def test_a_folder_of_shards_is_a_file(tmp_path):
    rows, folder = scores(), tmp_path / "scores" / "dapo" / "heldout" / "tuned.parquet"
    for shard, part in enumerate((rows[:7], rows[7:])):
        write(folder / f"{shard:02}.parquet", part, SCORES)
    whole = write_scores(tmp_path / "whole")
    assert names("scores", folder) == names("scores", whole)
    assert collect(scan_scores(folder)).equals(collect(scan_scores(whole)))
    assert js_entropy.table([folder], analysis()).equals(js_entropy.table([whole], analysis()))


def test_a_folder_without_shards_is_refused(tmp_path):
    with pytest.raises(StudyError, match="without Parquet files"):
        scan("scores", tmp_path)


def test_responses_are_read_with_their_lengths(tmp_path):
    frame = read_responses("rollouts", write_rollouts(tmp_path, "base", 0.5), {"sample": pl.col("sample")})
    assert frame.columns == ["problem_id", "correct", "tokens", "sample"]
    assert frame.filter(problem_id="p02")["tokens"].to_list() == [6] * 10


def test_a_file_without_rows_is_refused(tmp_path):
    path = write(tmp_path / "a" / "b" / "tuned.parquet", scores().head(0), SCORES)
    with pytest.raises(StudyError, match="holds no rows"):
        scan("scores", path)
