"""Time and peak memory of every table of scores at the size of the published study, and of the claims.

Writes synthetic scores (three pairs, two problem sets, both trajectories: 50 million positions in all) and checkpoint
scores (as many rows, five checkpoints) to a temporary folder, then makes each table as its rule does: one process, one
thread, the default analysis section, 2000 bootstrap resamples. The result goes to benchmarks/tables.md.

    PYTHONPATH=workflow python benchmarks/tables.py [--rows N] [--folder F]
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
from synthetic_scores import PROBLEMS, SAMPLES, write_checkpoint_scores, write_rollouts, write_scores, write_vocabulary

from tokenshift.config.analysis import Analysis, Measures
from tokenshift.config.section import part_of

ROOT = Path(__file__).parents[1]
PAIRS = {"dapo": 0.15, "simplerl": 0.02, "sft": 0.4}  # share of positions that shift
SETS, TRAJECTORIES, STEPS = ("aime24", "aime25"), ("tuned", "base"), [20, 40, 60, 80, 100]
OF_SCORES = (
    *("sparsity", "entropy_by_js", "js_entropy", "top_k_overlap", "first_choices"),
    "mass_reallocation",
)
INPUTS = {table: ["scores"] for table in OF_SCORES} | {
    "position_profile": ["scores", "rollouts", "cross_samples"],
    "token_identity": ["scores", "vocabularies"],
    "evolution": ["checkpoint_scores"],
    "claims": ["scores", "checkpoint_scores", "cross_samples", "rollouts"],
}
ANALYSIS = Analysis()
HASHES = {"code": "", "environment": "", "allow_overlap": False}
MEASURED = HASHES | {"analysis": part_of(ANALYSIS, Measures)}
TRAINING = {"groups": {}, "base_of": {}, "baseline_of": {}}
SPECS = dict.fromkeys(INPUTS, MEASURED) | {
    "entropy_by_js": MEASURED | {"low_entropy": ANALYSIS.claims.low_entropy},
    "position_profile": MEASURED | {"pairs": {pair: {"base": "base", "tuned": pair} for pair in PAIRS}},
    "claims": HASHES
    | {"control_of": {pair: None if pair == "sft" else "sft" for pair in PAIRS}}
    | {"training": TRAINING, "analysis": ANALYSIS.plain()},
}


def write_inputs(folder: Path, rows: int) -> dict[str, list[Path]]:
    """Write the files of each kind that the tables are made from; cross-samples are left out."""
    n_scores = len(PAIRS) * len(SETS) * len(TRAJECTORIES)
    files = {kind: [] for kind in ("scores", "checkpoint_scores", "vocabularies", "cross_samples", "rollouts")}
    # Not in this process: what it once held would count as the tables' peak.
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as writers:
        jobs = []
        for pair, shifted in PAIRS.items():
            files["vocabularies"].append(folder / "vocabularies" / f"{pair}.parquet")
            jobs.append(writers.submit(write_vocabulary, files["vocabularies"][-1]))
            for name in (f"{set_}/{trajectory}" for set_ in SETS for trajectory in TRAJECTORIES):
                files["scores"].append(folder / "scores" / pair / f"{name}.parquet")
                jobs.append(writers.submit(write_scores, files["scores"][-1], rows // n_scores, shifted, len(jobs)))
        for model, set_ in itertools.product(("base", *PAIRS), SETS):
            files["rollouts"].append(folder / "rollouts" / model / f"{set_}.parquet")
            jobs.append(writers.submit(write_rollouts, files["rollouts"][-1], len(jobs)))
        for name in SETS:
            files["checkpoint_scores"].append(folder / "checkpoint_scores" / "dapo" / f"{name}.parquet")
            of_file = (files["checkpoint_scores"][-1], rows // len(SETS), STEPS, len(jobs))
            jobs.append(writers.submit(write_checkpoint_scores, *of_file))
        for job in jobs:
            job.result()
    return files


def measure(table: str, inputs: dict[str, list[Path]], output: Path) -> tuple[float, float, float]:
    """Make a table as its rule does; seconds, CPU seconds and peak resident memory (MB) of the process."""
    flags = [part for kind, paths in inputs.items() for part in (f"--{kind.replace('_', '-')}", *map(str, paths))]
    script = ROOT / "workflow" / "scripts" / "tables" / f"{table}.py"
    command = [sys.executable, str(script), "--spec", json.dumps(SPECS[table]), *flags, "--output", str(output)]
    settings = {"PYTHONPATH": str(ROOT / "workflow"), "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | settings)
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"table {table} failed")
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def n_rows(paths: list[Path]) -> int:
    """Rows of these files, from their footers."""
    return sum(pq.read_metadata(path).num_rows for path in paths)


def report(measured: dict[str, tuple[float, float, float]], files: dict[str, list[Path]]) -> str:
    """The result as Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    sizes = (
        f"{n_rows(files[kind]) / 1e6:.1f} million rows in {len(files[kind])} {kind} files"
        for kind in ("scores", "checkpoint_scores")
    )
    walls, cpus, peaks = zip(*measured.values(), strict=True)
    lines = [
        "# Tables at the size of the published study",
        "",
        f"{' and '.join(sizes)}, synthetic:",
        f"{PROBLEMS} problems, {SAMPLES} responses each, {ANALYSIS.bootstrap.replicates} resamples.",
        f"One process and one thread a table; {os.cpu_count()} cores, {memory:.0f} GB; polars {pl.__version__}.",
        "Written by `python benchmarks/tables.py`.",
        "",
        "| Table | Seconds | CPU seconds | Peak memory (MB) |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {table} | {wall:.1f} | {cpu:.1f} | {peak:.0f} |" for table, (wall, cpu, peak) in measured.items()),
        f"| all, one after the other | {sum(walls):.1f} | {sum(cpus):.1f} | {max(peaks):.0f} |",
        "",
        "The claims are measured without cross-samples. CPU seconds are user and system time of the process.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the inputs, measure each table, and record the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000_000, help="positions in all scores files together")
    parser.add_argument("--folder", type=Path, help="where to put the temporary folder (about 6 GB)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        files = write_inputs(Path(folder), args.rows)
        measured = {}
        for table, kinds in INPUTS.items():
            measured[table] = measure(table, {kind: files[kind] for kind in kinds}, Path(folder) / f"{table}.csv")
            print(f"{table}: {measured[table][0]:.1f} s, {measured[table][2]:.0f} MB", flush=True)
        result = report(measured, files)
    print(result)
    if args.rows == parser.get_default("rows"):
        (ROOT / "benchmarks" / "tables.md").write_text(result)


if __name__ == "__main__":
    main()
