"""Data sets as they are published: the mappings of docs/data.md, on rows of each set's shape; files as they come."""

import gzip
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tokenshift.config.problems import ProblemSet
from tokenshift.errors import StudyError
from tokenshift.problems.grading import Grader
from tokenshift.problems.sets import build_problems

DOCUMENTED = re.findall(r"```yaml\n(.*?)```", (Path(__file__).parents[2] / "docs/data.md").read_text(), re.DOTALL)
MAPPINGS = {name: entry for text in DOCUMENTED for name, entry in yaml.safe_load(text).items()}
HALF = {"role": "user", "content": "What is half of 1?"}
SHAPES = {
    "dapo-math-17k": [
        {
            "data_source": "math_dapo",
            "prompt": [HALF],
            "ability": "MATH",
            "reward_model": {"ground_truth": "0.5", "style": "rule-lighteval/MATH_v2"},
            "extra_info": {"index": "9a9b6eb4-a1cb-49d1-8c1e-62eaf2f74079"},
        }
    ]
    * 2,
    "big-math": [
        {"problem": HALF["content"], "answer": "0.5", "source": "orca_math", "llama8b_solve_rate": 1.0},
        {"problem": "Why?", "answer": "because it is so", "source": "amc_aime", "llama8b_solve_rate": 0.0},
    ],
    "openr1-math": [
        {"problem": HALF["content"], "solution": "So.", "answer": "0.5", "problem_type": "Algebra", "uuid": "u1"},
        {"problem": "Draw it.", "solution": "So.", "answer": "\\frac{", "problem_type": "Geometry", "uuid": "u2"},
    ],
    "dolci-rl-zero": [{"messages": [HALF], "prompt": HALF["content"], "ground_truth": "0.5", "dataset": "math"}],
    "gsm8k": [{"question": HALF["content"], "answer": "Half of 1 is 1/2=<<1/2=0.5>>0.5.\n#### 0.5"}],
    "math": [{"problem": HALF["content"], "solution": r"It is $\boxed{0.5}$.", "level": "Level 1", "type": "Algebra"}],
    "aime": [{"id": 60, "problem": HALF["content"], "solution": "So.", "answer": "033", "year": "2024"}],
}  # fmt: skip


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
        yield grader


def build(entry: dict, grader: Grader) -> list[dict]:
    return build_problems("given", ProblemSet.model_validate(entry), frozenset(), grader).to_pylist()


def jsonl(folder: Path, rows: list[dict]) -> dict:
    path = folder / "given.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"jsonl": {"path": str(path)}}


def test_every_documented_set_has_rows_of_its_shape_here():
    assert MAPPINGS.keys() == SHAPES.keys()


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_published_set_loads_with_its_mapping_alone(tmp_path, grader, name, form):
    if form == "jsonl":
        source = jsonl(tmp_path, SHAPES[name])
    else:
        pq.write_table(pa.Table.from_pylist(SHAPES[name]), tmp_path / "given.parquet")
        split = MAPPINGS[name]["datasets"].get("split", "train")
        source = {"datasets": {"path": str(tmp_path / "given.parquet"), "split": split}}
    mapping = {key: value for key, value in MAPPINGS[name].items() if key != "datasets"}
    (problem,) = build(source | mapping, grader)
    assert problem["problem"] == HALF["content"]
    assert (problem["answer"], problem["answer_kind"]) == (("033", "integer") if name == "aime" else ("0.5", "math"))


@pytest.mark.parametrize(
    ("answers", "given", "answer"),
    [
        ({"after": "####"}, "2 and 2 are 4. #### 3\n#### 4 ", "4"),
        ({"boxed": True}, r"First \boxed{3}, then \boxed{4}.", "4"),
        ({"pattern": r"Answer: (\d+)"}, "Thus. Answer: 4", "4"),
    ],
)
def test_answers_within_their_column(tmp_path, grader, answers, given, answer):
    row = {"problem_id": "a", "problem": "2 + 2", "answer": given}
    (problem,) = build(jsonl(tmp_path, [row]) | {"answers": answers}, grader)
    assert problem["answer"] == answer
    row["answer"] = "nothing of the kind"
    with pytest.raises(StudyError, match=r"line 1: the answer 'nothing of the kind' does not hold .*unusable: drop"):
        build(jsonl(tmp_path, [row]) | {"answers": answers}, grader)


UNUSABLE = [
    {"problem_id": "a", "problem": "1 + 1", "answer": "2"},
    {"problem_id": "b", "problem": "Why?", "answer": "because it is so"},
    {"problem_id": "c", "problem": "What?", "answer": r"\frac{"},
    {"problem_id": "d", "problem": "How many?", "answer": "9^{9^{9^{9}}}"},
]


def test_unusable_answers_are_refused_dropped_or_text(tmp_path, capsys):
    with Grader(cpu_s=1.0) as grader:
        with pytest.raises(StudyError, match=r"line 2: .*is prose, not mathematics: .*and 2 more"):
            build(jsonl(tmp_path, UNUSABLE), grader)
        kept = build(jsonl(tmp_path, UNUSABLE) | {"answers": {"unusable": "drop"}}, grader)
        assert [problem["problem_id"] for problem in kept] == ["a"]
        said = capsys.readouterr().err
        assert "given.jsonl, line 3: the answer '\\frac{' cannot be read by math-verify" in said
        assert "problems.given: 3 problems were left out for their answers" in said
        as_text = build(jsonl(tmp_path, UNUSABLE) | {"answers": {"unusable": "text"}}, grader)
        assert [problem["answer_kind"] for problem in as_text] == ["math", "text", "text", "text"]


@pytest.mark.parametrize(("kind", "answer"), [("choice", "12"), ("integer", "1/2"), ("math", "because it is so")])
def test_answers_of_another_kind_are_refused(tmp_path, grader, kind, answer):
    row = {"problem_id": "a", "problem": "2 + 2", "answer": answer}
    with pytest.raises(StudyError, match=f"line 1: the answer '{answer}' is .*answers.kind"):
        build(jsonl(tmp_path, [row]) | {"answers": {"kind": kind}}, grader)


@pytest.mark.parametrize(
    "answers", [{"after": "#", "boxed": True}, {"pattern": "("}, {"pattern": "x"}, {"kind": "prose"}]
)
def test_settings_that_say_nothing(answers):
    with pytest.raises(ValueError, match=r"give one of|no regular expression|has no group|Input should be"):
        ProblemSet.model_validate({"jsonl": {"path": "x"}, "answers": answers})


@pytest.mark.parametrize("form", ["byte-order mark", ".gz", ".zst"])
def test_files_as_they_come(tmp_path, grader, form):
    rows = "".join(json.dumps(row) + "\n" for row in UNUSABLE[:1]).encode()
    path = tmp_path / ("given.jsonl" + (form if form.startswith(".") else ""))
    if form == ".gz":
        path.write_bytes(gzip.compress(rows))
    elif form == ".zst":
        path.write_bytes(pa.compress(rows, "zstd", asbytes=True))
    else:
        path.write_bytes(b"\xef\xbb\xbf" + rows)
    (problem,) = build({"jsonl": {"path": str(path)}}, grader)
    assert problem["problem"] == "1 + 1"


def test_a_truncated_file_is_one_line(tmp_path, grader):
    path = tmp_path / "given.jsonl.gz"
    path.write_bytes(gzip.compress(b"x" * 10_000)[:30])
    with pytest.raises(StudyError, match=r"given\.jsonl\.gz: cannot be read as \.gz") as error:
        build({"jsonl": {"path": str(path)}}, grader)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (r'{"problem_id": "a", "problem": "x \ud800 y", "answer": "2"}', "line 1: the problem .* half of a character"),
        (r'{"problem_id": "a", "problem": "x", "answer": "\udfff"}', "line 1: the answer .* half of a character"),
        ('{"problem_id": "a", "problem": "x", "answer": NaN}', "line 1: the answer in column 'answer' is nan"),
        ('{"problem_id": "a", "problem": "x", "answer": 1e999}', "line 1: the answer in column 'answer' is inf"),
    ],
)
def test_what_is_no_text_and_no_number(tmp_path, grader, line, message):
    (tmp_path / "given.jsonl").write_text(line + "\n")
    with pytest.raises(StudyError, match=message) as error:
        build({"jsonl": {"path": str(tmp_path / "given.jsonl")}}, grader)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            "reward_model.ground_true",
            r"no column 'reward_model.ground_true': 'reward_model' holds no 'ground_true' \(did",
        ),
        ("prompt[3].content", r"no column 'prompt\[3\].content': 'prompt' holds no '3'"),
        ("rewards.ground_truth", "no column 'rewards.ground_truth'"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path, grader, column, message):
    columns = {"problem": "prompt[0].content", "answer": column, "problem_id": None}
    with pytest.raises(StudyError, match=message):
        build(jsonl(tmp_path, SHAPES["dapo-math-17k"]) | {"columns": columns}, grader)


def test_json_within_a_column(tmp_path, grader):
    row = {"messages": json.dumps([HALF]), "ground_truth": '["0.5"]'}
    columns = {"problem": "messages[0].content", "answer": "ground_truth[0]", "problem_id": None}
    (problem,) = build(jsonl(tmp_path, [row]) | {"columns": columns}, grader)
    assert (problem["problem"], problem["answer"]) == (HALF["content"], "0.5")


SHARED = Path(__file__).parents[3] / "shared" / "data"
SPELLINGS = (r"\displaystyle {}", "${}$", "{}.", r"\({}\)", "  {} ")


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the benchmark files in ../shared/data")
@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("gsm8k-test", {"columns": {"answer": "raw"}, "answers": {"after": "####"}}),
        ("math500", {}),
        ("math500", {"columns": {"answer": "solution"}, "answers": {"boxed": True}}),
        ("aime24", {"answers": {"kind": "integer"}}),
        ("amc23", {}),
    ],
)
def test_benchmarks_load_and_their_answers_are_right_in_five_spellings(tmp_path, grader, name, entry):
    """GSM8K's with its answers as they were published: a solution, #### and the number."""
    rows = [json.loads(line) for line in (SHARED / f"{name}.jsonl").read_text().splitlines()]
    rows = [row | {"raw": f"{row.get('solution')}\n#### {row['answer']}"} for row in rows]
    problems = build(jsonl(tmp_path, rows) | entry, grader)
    golds, kinds = ([problem[key] for problem in problems] for key in ("answer", "answer_kind"))
    plain = [given["answer"] for given in rows]
    assert grader.grade(kinds, plain, [rf"\boxed{{{gold}}}" for gold in golds]) == grader.grade(
        kinds, golds, [rf"\boxed{{{gold}}}" for gold in golds]
    )
    for spelling in SPELLINGS:
        grades = grader.grade(kinds, golds, [rf"\boxed{{{spelling.format(gold)}}}" for gold in golds])
        assert [gold for gold, grade in zip(golds, grades, strict=True) if not grade.correct] == []
