"""Check, before a model is trained or run, that no problem is both trained and evaluated on, and that all have room."""

import argparse
from pathlib import Path

import polars as pl

from tokenshift.artifacts import read_parquet
from tokenshift.atomic import atomic_file, write_json
from tokenshift.command import run
from tokenshift.config.specs import PreflightSpec
from tokenshift.policies.context import require_room
from tokenshift.problems.overlap import refuse_overlap
from tokenshift.schemas import CORPUS, PROBLEMS


def problems_in(files: list[Path]) -> dict[str, pl.DataFrame]:
    """Problem sets and corpora, by names such as problems/heldout."""
    schemas = {"problems": PROBLEMS, "corpora": CORPUS}
    return {f"{file.parent.name}/{file.stem}": read_parquet(file, schemas[file.parent.name]) for file in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=PreflightSpec.parse, required=True, help="JSON of a PreflightSpec")
    parser.add_argument("--trained", type=Path, nargs="*", required=True, help="problem sets and corpora trained on")
    parser.add_argument("--evaluated", type=Path, nargs="+", required=True, help="problem sets evaluated on")
    parser.add_argument("--sets", type=Path, nargs="+", required=True, help="all problem sets and corpora")
    parser.add_argument("--models", type=Path, nargs="*", required=True, help="manifests of existing models")
    parser.add_argument("--output", type=Path, required=True, help="JSON file that says that all is well")
    args = parser.parse_args()
    if not args.spec.allow_overlap:
        refuse_overlap(problems_in(args.trained), problems_in(args.evaluated))
    folders = {file.parent.name: file.parent for file in args.models}
    require_room(args.spec.fits, problems_in(args.sets), folders)
    with atomic_file(args.output) as temporary:
        write_json(temporary, {"allow_overlap": args.spec.allow_overlap})


if __name__ == "__main__":
    run(main)
