import json
import subprocess
import sys
from collections.abc import Set
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict
from reasoning_gym import create_dataset

from tokenshift.config.problems import ProblemSet
from tokenshift.config.specs import ProblemsSpec
from tokenshift.errors import StudyError
from tokenshift.problems.grading import Grader
from tokenshift.problems.sets import build_problems
from tokenshift.schemas import PROBLEMS

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
ROWS = [
    {"problem_id": "a", "problem": "What is 1 + 1?", "answer": "2", "level": 3, "subject": "sums"},
    {"problem_id": "b", "problem": "What is half of 1?", "answer": r"\frac{1}{2}"},
    {"problem_id": "c", "problem": "What is 2 + 2?", "answer": 4},
]
SUMS = {
    "task": "chain_sum",
    "parameters": {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1},
    "problem_from": "expression",
    "where": {"expression": "[1-5]( [+-] [1-5])*"},
    "seed": 1,
}


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        yield grader


def build(entry: dict, grader: Grader, excluded: Set[str] = frozenset(), name: str = "given") -> pa.Table:
    """The problem set that a study describes with `entry`."""
    return build_problems(name, ProblemSet.model_validate(entry), excluded, grader)


def jsonl(folder: Path, rows: list) -> dict:
    path = folder / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"jsonl": {"path": str(path)}}


def test_rows_of_a_jsonl_file_in_their_order(tmp_path, grader):
    table = build(jsonl(tmp_path, ROWS), grader)
    assert table.schema == PROBLEMS
    assert table["problem_id"].to_pylist() == ["a", "b", "c"]
    assert table["problem"].to_pylist() == [row["problem"] for row in ROWS]
    assert table["answer"].to_pylist() == ["2", r"\frac{1}{2}", "4"]
    assert table["metadata"].to_pylist() == ['{"level": 3, "subject": "sums"}', "{}", "{}"]


def test_columns_can_have_other_names(tmp_path, grader):
    rows = [{"question": "1 + 1", "value": 2}, {"question": "1 + 2", "value": 3}]
    columns = {"columns": {"problem": "question", "answer": "value", "problem_id": None}}
    table = build(jsonl(tmp_path, rows) | columns, grader)
    assert table["problem_id"].to_pylist() == ["given-00000", "given-00001"]
    assert table["answer"].to_pylist() == ["2", "3"]


def test_size_counts_after_exclusion_and_deduplication(tmp_path, grader):
    repeated = [row | {"problem_id": f"{row['problem_id']}{time}"} for time in (1, 2) for row in ROWS]
    entry = jsonl(tmp_path, repeated) | {"deduplicate": True}
    assert build(entry, grader)["problem_id"].to_pylist() == ["a1", "b1", "c1"]
    table = build(entry | {"size": 1}, grader, {ROWS[0]["problem"]})
    assert table["problem_id"].to_pylist() == ["b1"]


def test_deduplication_mends_repeated_ids(tmp_path, grader):
    entry = jsonl(tmp_path, ROWS + ROWS) | {"deduplicate": True}
    assert len(build(entry, grader)) == 3


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl", "saved", "saved splits", "folder"])
def test_local_data_sets_in_every_form(tmp_path, grader, form):
    rows = [{"problem_id": row["problem_id"], "problem": row["problem"], "answer": str(row["answer"])} for row in ROWS]
    data = Dataset.from_list(rows)
    path = tmp_path / (f"data.{form}" if form in ("parquet", "csv", "jsonl") else "data")
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif form == "csv":
        pa.csv.write_csv(pa.Table.from_pylist(rows), path)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif form == "saved":
        data.save_to_disk(path)
    elif form == "saved splits":
        DatasetDict({"test": data}).save_to_disk(path)
    else:
        path.mkdir()
        pq.write_table(pa.Table.from_pylist(rows), path / "test.parquet")
    table = build({"datasets": {"path": str(path), "split": "test"}}, grader)
    assert table.drop_columns(["metadata", "answer_kind"]).to_pylist() == rows


def test_generated_problems_are_those_of_reasoning_gym(grader):
    table = build({"reasoning_gym": SUMS, "size": 30}, grader, name="sums")
    assert table["problem_id"].to_pylist() == [f"sums-{number:05d}" for number in range(30)]
    assert len(set(table["problem"].to_pylist())) == 30
    oracle = create_dataset("chain_sum", **SUMS["parameters"], seed=1, size=10_000)
    for row in table.to_pylist():
        metadata = json.loads(row["metadata"])
        item = oracle[metadata["source_index"]]
        assert (row["problem"], row["answer"]) == (item["metadata"]["expression"], item["answer"])
        assert int(row["answer"]) == eval(row["problem"])
        assert set(row["problem"]) <= set("12345+- ")


def test_generated_problems_exclude_others_and_do_not_depend_on_size(grader):
    entry = {"reasoning_gym": SUMS, "size": 20}
    few = build(entry, grader, name="sums")["problem"].to_pylist()
    more = build(entry | {"size": 25}, grader, name="sums")["problem"].to_pylist()
    assert more[:20] == few
    others = build(entry, grader, set(few[:10]), name="sums")["problem"].to_pylist()
    assert others[:10] == few[10:]
    assert not set(others) & set(few[:10])


def test_the_question_is_the_problem_unless_said_otherwise(grader):
    table = build({"reasoning_gym": {"task": "chain_sum"}, "size": 2}, grader)
    assert all("arithmetic" in text for text in table["problem"].to_pylist())


WITHOUT_ANSWER = {"problem_id": "d", "problem": "1 + 1", "answers": "2"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [ROWS[0], WITHOUT_ANSWER],
            r"line 2: no column 'answer' \(did you mean 'answers'\?\) \(set problems.given.columns",
        ),
        ([{"problem": "1 + 1", "answer": "2"}], "no column 'problem_id'.*columns.problem_id; null numbers the rows"),
        ([ROWS[0], ROWS[1], ROWS[0]], r"line 3: problem_id 'a' is that of .*line 1 too; .*deduplicate"),
        ([ROWS[0] | {"problem": " \n"}], r"line 1: empty problem \(column 'problem'\)"),
        ([ROWS[0], ROWS[1] | {"answer": None}], "line 2: empty answer"),
        ([ROWS[0] | {"answer": ["2"]}], "line 1: the answer in column 'answer' is neither text nor a number"),
        (
            [ROWS[0], ROWS[1] | {"answer": r"\frac{"}],
            r"line 2: the answer '\\frac{' cannot be read by math-verify \(or leave",
        ),
        (
            [ROWS[0] | {"answer": "}"}, ROWS[1] | {"answer": "{"}],
            "line 1: the answer '}' cannot be read by math-verify, and 1 more",
        ),
        ([ROWS[0], ["b"]], "line 2: must hold an object"),
        ([], "problems.given: the source holds no problems"),
    ],
)
def test_bad_rows(tmp_path, grader, rows, message):
    with pytest.raises(StudyError, match=message) as error:
        build(jsonl(tmp_path, rows), grader)
    assert "\n" not in str(error.value)


def test_bad_files(tmp_path, grader):
    def refuse(entry: dict, message: str, excluded: frozenset = frozenset()) -> None:
        with pytest.raises(StudyError, match=message) as error:
            build(entry, grader, excluded)
        assert "\n" not in str(error.value)

    missing = tmp_path / "missing"
    refuse({"jsonl": {"path": f"{missing}.jsonl"}}, r"problems.given.jsonl.path: no file .*missing\.jsonl")
    refuse({"datasets": {"path": f"{missing}.parquet"}}, r"problems.given.datasets: cannot read .*: no such file")
    broken = tmp_path / "broken.jsonl"
    broken.write_text(json.dumps(ROWS[0]) + '\n{"problem": \n')
    refuse({"jsonl": {"path": str(broken)}}, r"broken.jsonl, line 2: not JSON \(.* at column \d+\)")
    broken.write_bytes(b"\xff\xfe")
    refuse({"jsonl": {"path": str(broken)}}, "broken.jsonl: not UTF-8 text")
    (tmp_path / "broken.parquet").write_text("no Parquet")
    refuse({"datasets": {"path": str(tmp_path / "broken.parquet")}}, "cannot read .*broken.parquet: ")
    DatasetDict({"test": Dataset.from_list(ROWS[:1])}).save_to_disk(tmp_path / "saved")
    refuse({"datasets": {"path": str(tmp_path / "saved"), "split": "tset"}}, r"no split 'tset' \(did you mean 'test'")
    everything = frozenset(row["problem"] for row in ROWS)
    refuse(jsonl(tmp_path, ROWS), "problems.given: no problem is left; `exclude` holds them all", everything)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "chain_sums"}, "reasoning_gym.task: reasoning-gym has no 'chain_sums' (did you mean 'chain_sum'?)"),
        ({"parameters": {"min_term": 2}}, "parameters: chain_sum has no 'min_term' (did you mean 'min_terms'?)"),
        ({"parameters": {"size": 9}}, "parameters: chain_sum has no 'size'"),
        ({"parameters": {"min_terms": 9}}, "parameters: chain_sum refuses them: max_terms must be >= min_terms"),
        ({"where": {"expresion": ".*"}}, "no column 'expresion' (did you mean 'expression'?)"),
        ({"where": {"expression": "["}}, "where.expression: '[' is no regular expression"),
        ({"problem_from": "expresion"}, "no column 'expresion' (did you mean 'expression'?)"),
        ({"where": {"expression": "1 [+] 1"}}, "found 1 of 3 problems in 3000 tries; make size smaller"),
    ],
)
def test_bad_generators(grader, change, message):
    with pytest.raises(StudyError) as error:
        build({"reasoning_gym": SUMS | change, "size": 3}, grader, name="sums")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def run_script(entry: dict, exclude: list[Path], output: Path) -> subprocess.CompletedProcess:
    problem_set = ProblemSet.model_validate(entry)
    spec = ProblemsSpec(code="", environment="", name="given", problems=problem_set, source=None)
    command = ["--spec", json.dumps(spec.plain()), "--exclude", *map(str, exclude), "--output", str(output)]
    return subprocess.run(
        [sys.executable, ROOT / "workflow/scripts/problems.py", *command], capture_output=True, text=True
    )


def test_the_script_writes_the_same_bytes_again_and_nothing_on_an_error(tmp_path):
    entry = {"reasoning_gym": SUMS, "size": 10}
    first, second, other = (tmp_path / f"{name}.parquet" for name in ("first", "second", "other"))
    assert run_script(entry, [], first).returncode == run_script(entry, [], second).returncode == 0
    assert first.read_bytes() == second.read_bytes()
    failed = run_script(jsonl(tmp_path, [WITHOUT_ANSWER]), [first], other)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1
    assert sorted(tmp_path.glob("*.parquet")) == [first, second]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs the benchmark files in ../shared/data")
@pytest.mark.parametrize(("name", "size"), [("math500", 500), ("aime24", 30), ("amc23", 40), ("gsm8k-test", 1319)])
def test_the_benchmarks_are_accepted(grader, name, size):
    assert len(build({"jsonl": {"path": str(DATA / f"{name}.jsonl")}}, grader)) == size
