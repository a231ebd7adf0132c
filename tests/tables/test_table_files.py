import polars as pl
import pytest

from tables.examples import scores, write, write_rollouts, write_scores
from tokenshift.errors import StudyError
from tokenshift.schemas import SCORES
from tokenshift.tables.files import names, read, read_responses, read_scores


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


def test_scores_are_read_in_double_precision_with_the_lengths_of_their_responses(tmp_path):
    frame = read_scores(write_scores(tmp_path), ["position", "js"])
    assert frame.columns == ["problem_id", "sample", "position", "js", "length", "tokens"]
    assert (
        frame.group_by("problem_id", "sample")
        .agg(pl.col("position").max() + 1 == pl.col("length").first())["position"]
        .all()
    )
    assert frame["js"].dtype == pl.Float64
    assert frame["tokens"].sum() == len(frame)


def test_responses_are_read_with_their_lengths(tmp_path):
    frame = read_responses("rollouts", write_rollouts(tmp_path, "base", 0.5), ["sample"])
    assert frame.columns == ["problem_id", "correct", "sample", "tokens"]
    assert frame.filter(problem_id="p02")["tokens"].to_list() == [6] * 10


def test_a_file_without_rows_is_refused(tmp_path):
    path = write(tmp_path / "a" / "b" / "tuned.parquet", scores().head(0), SCORES)
    with pytest.raises(StudyError, match="holds no rows"):
        read("scores", path, ["js"])
