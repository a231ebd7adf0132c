"""A made-up pair for the viewer: Parquet files of every kind that its page is made from, of any size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tokenshift import schemas
from tokenshift.artifacts import write_parquet, write_parquet_parts
from tokenshift.config.specs import ViewerSpec
from tokenshift.tables.token_texts import byte_of_character
from tokenshift.viewer.content import blocks
from tokenshift.viewer.page import write_page

POLICIES = ("base", "tuned")
WORDS = ["<end>", " 1", " 2", " 3", " plus", " is", ",", "\n", " so", " Wait", "é"]
SPEC = ViewerSpec(
    **{"code": "", "environment": "", "page": "", "study": "made-up", "pair": "pair", "set": "set"},
    **{"base": "first", "tuned": "second", "truncation": {"temperature": 1.0, "top_p": 0.7}, "high": 0.1},
)


@dataclass(frozen=True)
class MadeUp:
    """What to make up: problems with their texts, tokens by id, `samples` responses of `length` tokens to each.

    swept: samples that are cross-sampled as well, at three thresholds.
    """

    problems: Sequence[tuple[str, str, str]]  # id, text, answer
    vocabulary: Sequence[str] = tuple(WORDS)
    samples: int = 2
    length: int = 12
    swept: int = 0
    candidates: int = 3
    seed: int = 0

    def ids(self, problem: int, policy: int, sample: int) -> np.ndarray:
        """The tokens of a response: every token of the vocabulary once, then drawn at random."""
        rng = np.random.default_rng([self.seed, problem, policy, sample])
        drawn = rng.integers(len(self.vocabulary), size=max(0, self.length - len(self.vocabulary)))
        return np.concatenate([np.arange(min(self.length, len(self.vocabulary))), drawn])


def write_files(made: MadeUp, folder: Path) -> dict[str, Path]:
    """The Parquet files of `made`, by kind."""
    files = {name: folder / f"{name}.parquet" for name in ("problems", "vocabulary", "forward-js", "reverse-js")}
    ids, texts, answers = zip(*made.problems, strict=True)
    problems = {"problem_id": ids, "problem": texts, "answer": answers}
    problems |= {"answer_kind": ["text"] * len(ids), "metadata": ["{}"] * len(ids)}
    write_parquet(files["problems"], _table(problems, schemas.PROBLEMS), schemas.PROBLEMS, {}, ())
    tokens = list(made.vocabulary)
    vocabulary = {"token_id": range(len(tokens)), "token_base": tokens, "token_tuned": tokens}
    vocabulary["shared"] = [True] * len(tokens)
    write_parquet(files["vocabulary"], _table(vocabulary, schemas.VOCABULARY), schemas.VOCABULARY, {}, ())
    for policy, name in enumerate(POLICIES):
        for kind, schema, made_of in (
            ("rollouts", schemas.ROLLOUTS, _rollouts),
            ("scores", schemas.SCORES, _scores),
        ):
            files[f"{kind}-{name}"] = folder / kind / f"{name}.parquet"
            parts = (made_of(made, problem, policy) for problem in range(len(ids)))
            write_parquet_parts(files[f"{kind}-{name}"], parts, schema, {}, ())
        sweep = files["forward-js" if name == "base" else "reverse-js"]
        parts = (_cross_samples(made, problem, policy) for problem in range(len(ids)))
        write_parquet_parts(sweep, parts, schemas.CROSS_SAMPLES, {}, ())
    return files


def write_viewer(made: MadeUp, folder: Path, spec: ViewerSpec = SPEC) -> Path:
    """The page of `made`, with its chunks beside it where the data are many."""
    (folder / "made").mkdir()
    files = write_files(made, folder / "made")
    chunks = folder / f"{spec.pair}-{spec.set}"
    chunks.mkdir()
    content = page_blocks(files, made.swept > 0, spec)
    write_page(folder / f"{chunks.name}.html", chunks, f"{spec.pair} on {spec.set}", content)
    return folder / f"{chunks.name}.html"


def page_blocks(files: dict[str, Path], swept: bool, spec: ViewerSpec = SPEC) -> Iterator[tuple[str, str]]:
    """The blocks of a page of these files."""
    return blocks(
        spec,
        problems=files["problems"],
        vocabulary=files["vocabulary"],
        rollouts={name: files[f"rollouts-{name}"] for name in POLICIES},
        scores={name: files[f"scores-{name}"] for name in POLICIES},
        sweeps=[files["forward-js"], files["reverse-js"]] if swept else [],
    )


def as_bytes(made: MadeUp) -> MadeUp:
    """The same with its vocabulary in the alphabet of byte-level tokenizers, with every byte as a token before it."""
    written = {byte: character for character, byte in byte_of_character().items()}
    words = ["".join(written[byte] for byte in token.encode()) for token in made.vocabulary]
    return replace(made, vocabulary=[written[byte] for byte in range(256)] + words)


def _table(columns: dict, schema: pa.Schema) -> pa.Table:
    return pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names})


def _responses(made: MadeUp, problem: int, policy: int) -> dict[str, list]:
    responses = [made.ids(problem, policy, sample) for sample in range(made.samples)]
    problem_id, _, answer = made.problems[problem]
    return {
        "problem_id": [problem_id] * made.samples,
        "sample": list(range(made.samples)),
        "prompt_token_ids": [[0]] * made.samples,
        "response_token_ids": responses,
        "response": [""] * made.samples,
        "finish_reason": ["stop" if sample % 3 else "length" for sample in range(made.samples)],
        "extracted_answer": [answer if sample % 2 else None for sample in range(made.samples)],
        "answer_position": [None] * made.samples,
        "correct": [(problem + policy + sample) % 2 == 1 for sample in range(made.samples)],
    }


def _rollouts(made: MadeUp, problem: int, policy: int) -> pa.Table:
    return _table(_responses(made, problem, policy), schemas.ROLLOUTS)


def _scores(made: MadeUp, problem: int, policy: int) -> pa.Table:
    rng = np.random.default_rng([made.seed, 1, problem, policy])
    ids = np.concatenate([made.ids(problem, policy, sample) for sample in range(made.samples)])
    count = len(ids)
    js = np.log(2) * rng.beta(0.1, 1.5, size=count)
    values = {
        "problem_id": pa.array([made.problems[problem][0]] * count),
        "sample": np.repeat(np.arange(made.samples), made.length),
        "position": np.tile(np.arange(made.length), made.samples),
        "token_id": ids,
        "js": js,
        "js_nucleus": js / 2,
        "entropy_base": rng.exponential(0.5, size=count),
        "entropy_tuned": rng.exponential(0.3, size=count),
        "logp_base": -rng.exponential(1, size=count),
        "logp_tuned": -rng.exponential(1, size=count),
        "rank_in_base_of_tuned_top1": rng.geometric(0.7, size=count),
        "mass_base_base_only": rng.random(count) / 3,
        "mass_tuned_tuned_only": rng.random(count) / 3,
    }
    lengths = {policy: rng.integers(1, 1 + made.candidates, size=count) for policy in POLICIES}
    for name in schemas.SCORES.names:
        kind = schemas.SCORES.field(name).type
        if name in values:
            values[name] = pa.array(values[name]).cast(kind)
        elif name.startswith("top_ids_") or name.startswith("top_logps_"):
            offsets = np.concatenate([[0], np.cumsum(lengths[name.split("_")[-1]])])
            ids_or_logps = rng.integers(len(made.vocabulary), size=offsets[-1])
            listed = ids_or_logps if "ids" in name else -rng.exponential(1, size=offsets[-1])
            values[name] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(listed)).cast(kind)
        elif pa.types.is_list(kind):
            offsets = pa.array(np.zeros(count + 1), pa.int32())
            values[name] = pa.ListArray.from_arrays(offsets, pa.array([], kind.value_type))
        else:
            values[name] = pa.array(np.zeros(count), kind)
    return pa.table({name: values[name] for name in schemas.SCORES.names})


def _cross_samples(made: MadeUp, problem: int, policy: int) -> pa.Table:
    """Of the first `swept` samples: nothing replaced; the third token; that and the fifth, both judged otherwise."""
    rows: dict[str, list] = {name: [] for name in schemas.CROSS_SAMPLES.names}
    own = _responses(made, problem, policy)
    for sample in range(made.swept):
        ids = own["response_token_ids"][sample]
        for threshold, at in ((np.inf, []), (0.2, [2]), (-np.inf, [2, 4])):
            flags = np.isin(np.arange(len(ids)), at)
            drawn = np.where(flags, (ids + 1) % len(made.vocabulary), ids)
            row = {name: own[name][sample] for name in own}
            row |= {"threshold": threshold, "response_token_ids": drawn, "switched": flags, "replaced": flags}
            row |= {"primary_token_ids": ids, "near_ties": 0, "correct": row["correct"] ^ bool(at)}
            for name in rows:
                rows[name].append(row[name])
    return _table(rows, schemas.CROSS_SAMPLES)
