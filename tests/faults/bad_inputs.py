"""Bad inputs of every kind, and what the study says to each: run it for the table, or let pytest check every line.

    PYTHONPATH=workflow:tests python tests/faults/bad_inputs.py [--only WORDS] > table.md

Each input is tried in a process of its own, in a folder of its own, with "y" on standard input. It has to end within
ten seconds, with one line that says what is wrong and where, without running anything that it was given, and without an
output.
"""

import argparse
import gzip
import json
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.torch import load_file, save_file

import processes
from tiny_models import save_tokenizer, tiny_policy

SECONDS = 10
NO_GPU = "a GPU that is not there"
EXECUTED = "executed"  # the file that code leaves which an input smuggled in
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class BadInput:
    """One bad input: what it is, how to try it in a folder, and a part of what has to be said."""

    kind: str
    name: str
    attempt: Callable[[Path], tuple[Callable[..., None], tuple]]  # files are made; what to call is given back
    says: str


@dataclass(frozen=True)
class Answer:
    """What came of an input."""

    status: int | None  # None where it had to be killed
    said: str
    executed: bool
    left: list[str]  # outputs and temporary files

    def faults(self, says: str) -> list[str]:
        """What is wrong with it, in words."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        wrong = {
            "hung": self.status is None,
            "ended well": self.status == 0,
            "executed": self.executed,
            f"left {self.left}": bool(self.left),
            "a traceback": "Traceback (most recent" in self.said,
            f"{len(lines)} lines": len(lines) != 1,
            f"a line of {max(map(len, lines), default=0)}": max(map(len, lines), default=0) > 1000,
            f"does not say {says!r}": re.search(says, self.said) is None,
        }
        return [words for words, true in wrong.items() if true]


# --- study files


def _load(path: Path) -> None:
    from tokenshift.config.loading import load_study, require_files
    from tokenshift.errors import StudyError

    try:
        require_files(load_study(str(path)))
    except StudyError as error:
        sys.exit(f"error: {error}")


def study(**changes: Any) -> dict[str, Any]:
    """A study that is right but for `changes` of its dotted keys, written with two underscores."""
    right = yaml.safe_load((ROOT / "tests/workflow/tiny.yaml").read_text())
    for key, value in changes.items():
        *sections, last = key.split("__")
        section = right
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return right


def of_bytes(content: bytes) -> Callable[[Path], tuple]:
    def attempt(folder: Path) -> tuple:
        (folder / "study.yaml").write_bytes(content)
        return _load, (folder / "study.yaml",)

    return attempt


def of_settings(**changes: Any) -> Callable[[Path], tuple]:
    return of_bytes(yaml.safe_dump(study(**changes)).encode())


def bomb(depth: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, depth)]
    return "\n".join(lines).encode()


INFINITE = {"infinite": float("inf"), "minus infinity": float("-inf"), "not a number": float("nan")}
FLOATS = [
    ("evaluation__temperature", lambda x: x, "evaluation.temperature"),
    ("evaluation__top_p", lambda x: x, "evaluation.top_p"),
    ("analysis__js_edges", lambda x: [0.0, x], "analysis.js_edges.1"),
    ("analysis__entropy_edges", lambda x: [x, 1.0], "analysis.entropy_edges.0"),
    ("analysis__claims", lambda x: {"recovered": x}, "analysis.claims.recovered"),
    ("cross_sampling__quantiles", lambda x: [0.5, x], "cross_sampling.quantiles.1"),
]
FILES = {
    "binary": (bytes(range(256)) * 10, "not text in UTF-8"),
    "latin-1": ("name: caf\xe9\n".encode("latin-1"), "not text in UTF-8"),
    "UTF-16": ("name: tiny\n".encode("utf-16"), "not text in UTF-8"),
    "empty": (b"", "must hold a mapping of sections, not NoneType"),
    "only a comment": (b"# nothing\n", "must hold a mapping"),
    "a list": (b"- a\n- b\n", "must hold a mapping of sections, not list"),
    "a number": (b"1\n", "must hold a mapping of sections, not int"),
    "NUL bytes": (b"name: a\x00b\n", "not valid YAML"),
    "deeply nested lists": (b"[" * 50_000 + b"]" * 50_000, "nested too deeply"),
    "deeply nested mappings": (b"{a: " * 5_000 + b"1" + b"}" * 5_000, "nested too deeply"),
    "an unclosed bracket": (b"name: [a\n", "not valid YAML"),
    "tabs": (b"name:\n\t- a\n", "not valid YAML"),
    "a key given twice": (b"name: a\nseed: 1\nname: b\n", "line 3: key 'name' is given twice"),
    "an alias bomb": (bomb(9), "aliases"),
    "an alias within itself": (b"name: &a [*a]\n", "aliases"),
    "an unknown alias": (b"name: *nothing\n", "not valid YAML"),
    "a Python object": (f"name: !!python/object/apply:os.system ['touch {EXECUTED}']\n".encode(), "not valid YAML"),
    "a Python name": (b"name: !!python/name:os.system\n", "not valid YAML"),
    "a list as a key": (b"[a, b]: c\n", "not valid YAML|cannot be read"),
    "a mapping as a key": (b"{a: b}: c\n", "not valid YAML|cannot be read"),
    "an integer of 5,000 digits": (b"seed: " + b"9" * 5000, "cannot be read"),
    "a date that is none": (b"name: 2026-99-99\n", "cannot be read"),
    "two megabytes": (b"# " + b"x" * 2_000_000, "has 2000002 bytes: not a study file"),
    "two documents": (b"name: a\n---\nname: b\n", "not valid YAML"),
}
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    **{
        f"temperature {name}": ({"evaluation__temperature": x}, "evaluation.temperature")
        for name, x in INFINITE.items()
    },
    **{f"top_p {name}": ({"evaluation__top_p": x}, "evaluation.top_p") for name, x in INFINITE.items()},
    **{f"js_edges {name}": ({"analysis__js_edges": [0.0, x]}, "analysis.js_edges.1") for name, x in INFINITE.items()},
    **{
        f"entropy_edges {name}": ({"analysis__entropy_edges": [x, 1.0]}, "entropy_edges.0")
        for name, x in INFINITE.items()
    },
    **{
        f"a claim's bound {name}": ({"analysis__claims": {"recovered": x}}, "claims.recovered")
        for name, x in INFINITE.items()
    },
    **{f"a quantile {name}": ({"cross_sampling__quantiles": [0.5, x]}, "quantiles.1") for name, x in INFINITE.items()},
    "samples 1e12": ({"evaluation__samples": 10**12}, "evaluation.samples: input should be less than or equal"),
    "samples true": ({"evaluation__samples": True}, "evaluation.samples: true is not a number"),
    "samples 0": ({"evaluation__samples": 0}, "evaluation.samples"),
    "samples -1": ({"evaluation__samples": -1}, "evaluation.samples"),
    "samples 2.5": ({"evaluation__samples": 2.5}, "evaluation.samples"),
    "samples of text": ({"evaluation__samples": "many"}, "evaluation.samples"),
    "samples null": ({"evaluation__samples": None}, "evaluation.samples"),
    "samples a list": ({"evaluation__samples": [3]}, "evaluation.samples"),
    "temperature 0": ({"evaluation__temperature": 0}, "evaluation.temperature"),
    "temperature 1e9": ({"evaluation__temperature": 1e9}, "evaluation.temperature"),
    "temperature false": ({"evaluation__temperature": False}, "false is not a number"),
    "top_p 0": ({"evaluation__top_p": 0}, "evaluation.top_p"),
    "top_p 2": ({"evaluation__top_p": 2}, "evaluation.top_p"),
    "max_new_tokens 10**9": ({"evaluation__max_new_tokens": 10**9}, "max_new_tokens"),
    "batch_size 0": ({"evaluation__batch_size": 0}, "batch_size"),
    "a million shards": ({"compute__shards": 10**6}, "compute.shards: input should be less than or equal to 1000"),
    "shards true": ({"compute__shards": True}, "compute.shards"),
    "threads 0": ({"compute__threads": 0}, "compute.threads"),
    "10**6 threads": ({"compute__threads": 10**6}, "compute.threads"),
    "a device that is none": ({"compute__device": "tpu"}, "compute.device"),
    "GPUs on the CPU": ({"compute__gpus": 2}, "gpus is 2, but device is cpu"),
    "a runtime without end": ({"compute__runtime": 10**15}, "compute.runtime"),
    "a set of 10**15 problems": ({"problems__heldout__size": 10**15}, "problems.heldout.size"),
    "a set of -3 problems": ({"problems__heldout__size": -3}, "problems.heldout.size"),
    "a seed of 10**30": ({"seed": 10**30}, "seed"),
    "a negative seed": ({"seed": -1}, "seed"),
    "a seed of text": ({"seed": "one"}, "seed"),
    "a set listed twice": ({"evaluation__sets": ["heldout", "heldout"]}, "heldout is listed twice"),
    "no set": ({"evaluation__sets": []}, "evaluation.sets"),
    "an unknown set": ({"evaluation__sets": ["held"]}, "did you mean 'heldout'"),
    "a pair listed twice": ({"cross_sampling__pairs": ["dapo", "dapo"]}, "dapo is listed twice"),
    "a criterion listed twice": ({"cross_sampling__criteria": ["js", "js"]}, "js is listed twice"),
    "a control listed twice": ({"cross_sampling__random_controls": ["random", "random"]}, "random is listed twice"),
    "a direction listed twice": ({"cross_sampling__directions": ["forward", "forward"]}, "forward is listed twice"),
    "a name of 300 bytes": ({"name": "x" * 300}, "name: string should have at most 80"),
    "a set's name of 300 bytes": ({"problems": {"x" * 300: study()["problems"]["train"]}}, "at most 80 characters"),
    "a name like a shard's": (
        {"problems": {"a-0-of-2": study()["problems"]["train"]}},
        "ends like the name of a shard",
    ),
    "a name that is a path": ({"name": "../../tmp"}, "name: string should match pattern"),
    "a name with a command": ({"name": f"a;touch {EXECUTED}"}, "name: string should match pattern"),
    "a name with a variable": ({"name": f"$(touch {EXECUTED})"}, "name: string should match pattern"),
    "a name with a wildcard": ({"name": "{model}"}, "name: string should match pattern"),
    "an empty name": ({"name": ""}, "name"),
    "a name that is a number": ({"name": 7}, "name"),
    "a name that is a truth value": ({"name": True}, "name"),
    "a model from nowhere": ({"models__dapo__from": "bass"}, "did you mean 'base'"),
    "a model from itself": ({"models__sft__from": "sft"}, "cyclic: sft -> sft"),
    "a model of two origins": ({"models__base__pretrained": {"path": "x"}}, "needs exactly one of"),
    "a model without origin": ({"models__base": {}}, "needs exactly one of"),
    "a pair with itself": ({"pairs__dapo": {"base": "base", "tuned": "base"}}, "base and tuned are both 'base'"),
    "a set that excludes itself": ({"problems__train__exclude": ["train"]}, "cyclic: train -> train"),
    "an unknown recipe": ({"models__sft__rl": {"recipe": "ppo"}}, "recipe"),
    "a learning rate of 1e9": ({"models__sft__sft__learning_rate": 1e9}, "learning_rate"),
    "a learning rate of text": ({"models__sft__sft__learning_rate": "fast"}, "learning_rate"),
    "a weight that is infinite": (
        {"models__dapo-high-kl__rl__weight": {"divergence": {"alpha": float("inf")}}},
        "weight.divergence.alpha",
    ),
    "mini-batches that do not divide": ({"models__dapo__rl__mini_batch_prompts": 3}, "must divide"),
    "seeds that repeat": ({"models__dapo__seeds": [1, 1]}, "seeds repeat"),
    "two thousand seeds": ({"models__dapo__seeds": [*range(2000)]}, "at most 1000|list should have"),
    "code of a model without its commit": (
        {"models__base": {"pretrained": {"path": "a/b", "remote_code": True, "revision": "main"}}},
        "remote_code needs `revision`",
    ),
    "edges out of order": ({"analysis__js_edges": [0.5, 0.1]}, "js_edges out of order"),
    "thresholds above ln 2": (
        {"cross_sampling": {"pairs": ["dapo"], "thresholds": [0.9], "random_controls": []}},
        "above the largest JS",
    ),
    "an unknown section": ({"evalation": {}}, "evalation: unknown key .did you mean 'evaluation'"),
    "a section that is a text": ({"evaluation": "yes"}, "evaluation"),
    "a section that is null": ({"evaluation": None}, "evaluation"),
    "a template without the problem": ({"prompt__template": "Solve!"}, "must hold {problem} exactly once"),
    "a surrogate in a text": ({"description": "\ud800"}, "character that no text can have"),
    "a template with NUL": ({"prompt__template": "{problem}\x00"}, "character that no text can have"),
    "a pattern that is none": (
        {"problems__heldout": {"jsonl": {"path": "a"}, "answers": {"pattern": "("}}},
        "no regular expression",
    ),
    "a missing data file": ({"problems__heldout": {"jsonl": {"path": "gone.jsonl"}}}, "jsonl.path: no file gone.jsonl"),
    "a data file's name with NUL": ({"problems__heldout": {"jsonl": {"path": "a\x00b"}}}, "no text can have"),
    "a data file's name of 5,000 bytes": ({"problems__heldout": {"jsonl": {"path": "a" * 5000}}}, "no file a+ "),
    "a long list in the wrong place": ({"seed": [*range(100_000)]}, "seed: .* not a list of 100000|aliases"),
}

# --- problem files


def _problems(folder: Path, entry: dict[str, Any]) -> tuple:
    spec = {"name": "given", "problems": entry, "source": None, "code": "", "environment": ""}
    from tokenshift.config.problems import ProblemSet

    spec["problems"] = ProblemSet.model_validate(entry).plain()
    arguments = ["--spec", json.dumps(spec), "--exclude", "--output", "results/problems/given.parquet"]
    return processes.script, ("problems.py", arguments)


def of_rows(content: bytes, name: str = "given.jsonl", **entry: Any) -> Callable[[Path], tuple]:
    def attempt(folder: Path) -> tuple:
        (folder / name).write_bytes(content)
        return _problems(folder, {"jsonl": {"path": name}} | entry)

    return attempt


def row(**changes: Any) -> bytes:
    return json.dumps({"problem_id": "a", "problem": "1 + 1", "answer": "2"} | changes).encode() + b"\n"


def of_generator(**changes: Any) -> Callable[[Path], tuple]:
    entry = {"reasoning_gym": {"task": "chain_sum"} | changes, "size": 1}
    return lambda folder: _problems(folder, entry)


def of_parquet(cut: int | None) -> Callable[[Path], tuple]:
    def attempt(folder: Path) -> tuple:
        pq.write_table(pa.table({"problem_id": ["a"], "problem": ["1 + 1"], "answer": ["2"]}), folder / "given.parquet")
        content = (folder / "given.parquet").read_bytes()
        (folder / "given.parquet").write_bytes(content[:cut])
        return _problems(folder, {"datasets": {"path": "given.parquet"}})

    return attempt


DATA: dict[str, tuple[Callable[[Path], tuple], str]] = {
    "an empty file": (of_rows(b""), "holds no problems"),
    "blank lines": (of_rows(b"\n\n  \n"), "holds no problems"),
    "no JSON": (of_rows(b"hello\n"), "line 1: not JSON"),
    "half a row": (of_rows(row() + row()[:20]), "line 2: not JSON"),
    "a list for a row": (of_rows(b"[1]\n"), "must hold an object"),
    "a number for a row": (of_rows(b"1\n"), "must hold an object"),
    "binary": (of_rows(bytes(range(256))), "not UTF-8 text|not JSON"),
    "latin-1": (of_rows('{"problem": "caf\xe9"}\n'.encode("latin-1")), "not UTF-8 text"),
    "UTF-16": (of_rows(row().decode().encode("utf-16")), "not UTF-8 text"),
    "a lone surrogate": (of_rows(row(problem="\ud800")), "half of a character"),
    "a surrogate in the answer": (of_rows(row(answer="\udfff")), "half of a character"),
    "10,000 brackets": (of_rows(b'{"problem": ' + b"[" * 10_000 + b"\n"), "line 1: .*JSON"),
    "an integer of 5,000 digits": (
        of_rows(b'{"problem_id": "a", "problem": "1", "answer": ' + b"9" * 5000 + b"}\n"),
        "JSON that cannot be read",
    ),
    "a problem of 10 MB": (of_rows(row(problem="x" * 10_000_000)), "has 10000000 characters, more than 200000"),
    "an answer of 10 MB": (of_rows(row(answer="1" * 10_000_000)), "characters, more than 200000"),
    "an id of 10 MB": (of_rows(row(problem_id="a" * 10_000_000)), "characters, more than 200000"),
    "no column": (of_rows(b"{}\n"), "no column 'problem_id'"),
    "a problem that is null": (of_rows(row(problem=None)), "empty problem"),
    "a problem that is a list": (of_rows(row(problem=["1"])), "neither text nor a number"),
    "a problem that is true": (of_rows(row(problem=True)), "neither text nor a number"),
    "an answer that is infinite": (
        of_rows(b'{"problem_id": "a", "problem": "1", "answer": Infinity}\n'),
        "which is no number",
    ),
    "an answer that is not a number": (
        of_rows(b'{"problem_id": "a", "problem": "1", "answer": NaN}\n'),
        "which is no number",
    ),
    "an empty answer": (of_rows(row(answer=" ")), "empty answer"),
    "an answer that cannot be read": (of_rows(row(answer="\\frac{")), "cannot be read by math-verify"),
    "an answer that is endless": (of_rows(row(answer="9!!!!!!!!")), "cannot be read by math-verify"),
    "an answer that is code": (
        of_rows(row(answer=f"__import__('os').system('touch {EXECUTED}')")),
        "cannot be read by math-verify",
    ),
    "ids that repeat": (of_rows(row() + row()), "problem_id 'a' is that of"),
    "gzip cut short": (of_rows(gzip.compress(row() * 100)[:30], "given.gz"), "cannot be read as .gz"),
    "gzip that is none": (of_rows(row(), "given.gz"), "cannot be read as .gz"),
    "zstd that is none": (of_rows(row(), "given.zst"), "cannot be read as .zst"),
    "Parquet cut short": (of_parquet(200), "cannot read given.parquet"),
    "Parquet of nothing": (of_parquet(0), "cannot read given.parquet"),
    "a missing Parquet file": (
        lambda folder: _problems(folder, {"datasets": {"path": "gone.parquet"}}),
        "no such file",
    ),
    "a folder for a file": (lambda folder: _problems(folder, {"jsonl": {"path": "."}}), "no file"),
    "an unknown task": (of_generator(task="chain_sun"), "did you mean 'chain_sum'"),
    "an unknown parameter": (of_generator(parameters={"min": 1}), "has no 'min'"),
    "parameters that contradict": (of_generator(parameters={"min_terms": 9, "max_terms": 2}), "refuses them"),
    "a field that is missing": (of_generator(problem_from="text"), "no column 'text'"),
    "a filter that is no pattern": (of_generator(where={"question": "("}), "is no regular expression"),
    "a filter that nothing passes": (of_generator(where={"question": "x"}), "found 0 of 1 problems"),
    "a column's path into nothing": (of_rows(row(), columns={"problem": "a[0].b"}), "no column 'a"),
    "JSON in a column, too deep": (of_rows(row(prompt="[" * 10_000), columns={"problem": "prompt[0]"}), "no column"),
}

# --- model folders


class Intruder:
    """Unpickled, it leaves a file in the working folder."""

    def __reduce__(self):
        return (os.system, (f"touch {EXECUTED}",))


def a_model(folder: Path) -> Path:
    """A small model that can be used."""
    tiny_policy(0, torch.float32).model.save_pretrained(folder / "given")
    save_tokenizer(folder / "given", " 01+=")
    return folder / "given"


def of_model(spoil: Callable[[Path], object], **pretrained: Any) -> Callable[[Path], tuple]:
    def attempt(folder: Path) -> tuple:
        spoil(a_model(folder))
        from tokenshift.config.models import Pretrained

        given = Pretrained(path="given").plain() | pretrained
        spec = {"pretrained": given, "code": "", "environment": ""}
        return processes.script, ("fetch_model.py", ["--spec", json.dumps(spec), "--output", "results/models/given"])

    return attempt


def with_text(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="latin-1")


def with_config(**changes: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return change


def with_weights(change: Callable[[dict], dict]) -> Callable[[Path], object]:
    def write(folder: Path) -> None:
        weights = change(load_file(folder / "model.safetensors"))
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return write


def cut(name: str) -> Callable[[Path], object]:
    def shorten(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return shorten


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"lm_head.weight": Intruder()}, folder / "pytorch_model.bin")


def with_code(folder: Path) -> None:
    (folder / "own.py").write_text(f"open('{EXECUTED}', 'w')\nraise SystemExit\n")
    (folder / "tokenization_own.py").write_text(f"open('{EXECUTED}', 'w')\n")
    with_config(model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"})(folder)


def with_tokenizer_code(folder: Path) -> None:
    (folder / "own.py").write_text(f"open('{EXECUTED}', 'w')\nraise SystemExit\n")
    about = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    (folder / "tokenizer.json").unlink()


def without(prefix: str) -> Callable[[Path], object]:
    return with_weights(lambda weights: {name: w for name, w in weights.items() if not name.startswith(prefix)})


def with_one_more(name: str, size: int) -> Callable[[Path], object]:
    return with_weights(lambda weights: weights | {name: torch.ones(size)})


def with_a_link_to_nothing(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("gone")


def with_half_of_its_files(folder: Path) -> None:
    first, second = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    (folder / "model.safetensors").rename(folder / first)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": second}}))


MODELS: dict[str, tuple[Callable[[Path], tuple], str]] = {
    "no folder": (of_model(shutil.rmtree), "no such folder, and the hub does not give it"),
    "an empty folder": (of_model(lambda f: [file.unlink() for file in f.iterdir()]), "holds no config.json"),
    "no weights": (of_model(lambda f: (f / "model.safetensors").unlink()), "holds no weights"),
    "no tokenizer": (of_model(lambda f: [file.unlink() for file in f.glob("tokenizer*")]), "no usable tokenizer"),
    "a path with NUL": (of_model(lambda f: None, path="a\x00b"), "character that no text can have"),
    "a path with a command": (of_model(lambda f: None, path=f"$(touch {EXECUTED})"), "no such folder"),
    "weights that are a pickle": (of_model(pickled), "as pickles .* convert them"),
    "a pickle that is code": (of_model(pickled, pickled=True), "no usable model"),
    "a model's own code": (of_model(with_code), "no usable"),
    "a tokenizer's own code": (of_model(with_tokenizer_code), "no usable tokenizer"),
    "a layer missing": (of_model(without("model.layers.1.")), "missing model.layers.1"),
    "the head missing": (of_model(without("lm_head.")), "missing lm_head.weight"),
    "one weight too many": (of_model(with_one_more("model.extra", 2)), "unexpected model.extra"),
    "a weight of another shape": (of_model(with_one_more("model.norm.weight", 3)), "mismatched model.norm"),
    "no weight at all": (of_model(without("")), "weights do not fit|no usable model"),
    "weights cut short": (of_model(cut("model.safetensors")), "no usable model"),
    "weights of nothing": (of_model(with_text("model.safetensors", "")), "no usable model"),
    "weights of text": (of_model(with_text("model.safetensors", "hello" * 99)), "no usable model"),
    "a header of 10**18 bytes": (
        of_model(with_text("model.safetensors", "\x00\x00\xff\xff\xff\xff\xff\x0f{}")),
        "no usable model",
    ),
    "config.json cut short": (of_model(cut("config.json")), "no usable"),
    "config.json empty": (of_model(with_text("config.json", "")), "no usable"),
    "config.json a list": (of_model(with_text("config.json", "[]")), "no usable"),
    "config.json deeply nested": (of_model(with_text("config.json", "[" * 100_000)), "no usable"),
    "config.json binary": (of_model(with_text("config.json", "\xff\xfe\x00")), "no usable"),
    "an unknown architecture": (of_model(with_config(model_type="gpt-99")), "no usable"),
    "a negative number of layers": (of_model(with_config(num_hidden_layers=-1)), "no usable|do not fit"),
    "heads that do not divide": (of_model(with_config(num_attention_heads=7)), "no usable|do not fit"),
    "more layers than weights": (
        of_model(with_config(num_hidden_layers=3, layer_types=None)),
        "missing model.layers.2",
    ),
    "fewer layers than weights": (
        of_model(with_config(num_hidden_layers=1, layer_types=None)),
        "unexpected model.layers.1",
    ),
    "a vocabulary of text": (of_model(with_config(vocab_size="many")), "no usable"),
    "tokenizer.json cut short": (of_model(cut("tokenizer.json")), "no usable tokenizer"),
    "tokenizer.json empty": (of_model(with_text("tokenizer.json", "")), "no usable tokenizer"),
    "tokenizer.json without a model": (of_model(with_text("tokenizer.json", "{}")), "no usable tokenizer"),
    "tokenizer_config.json a list": (of_model(with_text("tokenizer_config.json", "[]")), "no usable tokenizer"),
    "tokenizer_config.json deeply nested": (
        of_model(with_text("tokenizer_config.json", "[" * 100_000)),
        "no usable tokenizer",
    ),
    "generation_config.json broken": (of_model(with_text("generation_config.json", "{")), "no usable model"),
    "a link to nothing": (of_model(with_a_link_to_nothing), "no usable model|holds no weights"),
    "an index of missing files": (of_model(with_half_of_its_files), "no usable model"),
}

# --- the machine


def _with_small_files(name: str, arguments: list[str]) -> None:
    """Run a script that may write no file longer than 2,000 bytes: what a full disk says."""
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    processes.script(name, arguments)


def a_full_disk(folder: Path) -> tuple:
    _, arguments = of_rows(row())(folder)
    return _with_small_files, arguments


def a_file_in_the_way(folder: Path) -> tuple:
    (folder / "results").write_text("")
    return of_rows(row())(folder)


def a_folder_in_the_way(folder: Path) -> tuple:
    (folder / "results/problems/given.parquet").mkdir(parents=True)
    return of_rows(row())(folder)


def no_gpu(folder: Path) -> tuple:
    a_model(folder)
    from tokenshift.config.compute import Hardware
    from tokenshift.config.measurements import ResponseSampling
    from tokenshift.config.problems import Prompt
    from tokenshift.config.specs import RolloutsSpec

    sampling = ResponseSampling(samples=1, max_new_tokens=2)
    hardware = Hardware(device="cuda")
    spec = RolloutsSpec(code="", environment="", seed=1, prompt=Prompt(), evaluation=sampling, compute=hardware)
    arguments = ["--spec", json.dumps(spec.plain()), "--model", "given", "--problems", "given.parquet"]
    return processes.script, ("rollouts.py", [*arguments, "--shard", "0", "1", "--output", "results/given.parquet"])


def a_spec(text: str) -> Callable[[Path], tuple]:
    return lambda _: (processes.script, ("fetch_model.py", ["--spec", text, "--output", "results/models/given"]))


MACHINE: dict[str, tuple[Callable[[Path], tuple], str]] = {
    "a full disk": (a_full_disk, "the disk is full"),
    "a file where a folder should be": (a_file_in_the_way, "a file lies where a folder should be"),
    "a folder where a file should be": (a_folder_in_the_way, "is a folder where a file should be"),
    NO_GPU: (no_gpu, "compute.device is cuda"),
    "a spec that is no JSON": (a_spec("{"), "--spec does not fit FetchSpec"),
    "a spec without a key": (a_spec("{}"), "--spec does not fit FetchSpec"),
    "a spec deeply nested": (a_spec("[" * 100_000), "--spec does not fit FetchSpec"),
}


def bad_inputs() -> Iterator[BadInput]:
    """All of them."""
    yield from (BadInput("study file", name, of_bytes(content), says) for name, (content, says) in FILES.items())
    yield from (BadInput("setting", name, of_settings(**what), says) for name, (what, says) in SETTINGS.items())
    yield from (BadInput("data", name, attempt, says) for name, (attempt, says) in DATA.items())
    yield from (BadInput("model", name, attempt, says) for name, (attempt, says) in MODELS.items())
    yield from (BadInput("machine", name, attempt, says) for name, (attempt, says) in MACHINE.items())


def _inside(folder: Path, function: Callable[..., None], arguments: tuple) -> None:
    os.chdir(folder)
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(folder / "modules")}
    (folder / "stdin").write_text("y\n" * 100)
    os.dup2(os.open(folder / "stdin", os.O_RDONLY), 0)
    os.dup2(os.open(folder / "stdout", os.O_WRONLY | os.O_CREAT), 1)
    function(*arguments)


def answer_to(given: BadInput, folder: Path) -> Answer:
    """Try it in the empty `folder`."""
    function, arguments = given.attempt(folder)
    before = {file for file in folder.rglob("*") if file.is_file()}
    processes.ready()
    log = folder / "stderr"
    log.touch()
    (status,) = processes.ended(processes.start(1, log, _inside, folder, function, arguments), SECONDS)
    said = log.read_text(errors="replace") + (folder / "stdout").read_text(errors="replace")
    own = {log, folder / "stdin", folder / "stdout", folder / EXECUTED}
    found = {file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    left = [str(file.relative_to(folder)) for file in sorted(found - before - own)]
    return Answer(status, said.replace(f"{folder}/", ""), (folder / EXECUTED).exists(), left)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="those whose kind or name holds these words")
    args = parser.parse_args()
    print("| Kind | Input | Answer | |\n| --- | --- | --- | --- |")
    counts = {"as it should be": 0, "not": 0}
    for given in bad_inputs():
        if args.only in f"{given.kind}: {given.name}":
            with tempfile.TemporaryDirectory() as folder:
                answer = answer_to(given, Path(folder))
            faults = answer.faults(given.says)
            counts["not" if faults else "as it should be"] += 1
            said = " ".join(answer.said.split())[:200].replace("|", "\\|")
            print(f"| {given.kind} | {given.name} | {said} | {', '.join(faults)} |", flush=True)
    print(f"\n{sum(counts.values())} bad inputs: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    sys.exit(counts["not"] > 0)


if __name__ == "__main__":
    main()
