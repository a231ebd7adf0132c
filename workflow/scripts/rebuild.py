"""Make one figure again from its inputs; from scratch, in a clean folder, to compare it with the published one."""

import argparse
import tempfile
from pathlib import Path

from tokenshift.command import run
from tokenshift.config.loading import load_study
from tokenshift.errors import StudyError
from tokenshift.provenance.rebuild import rebuild, rebuild_from_scratch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or file of the study")
    parser.add_argument("--figure", required=True, help="name of the figure")
    parser.add_argument("--cores", type=int, required=True, help="jobs at a time")
    parser.add_argument("--from-scratch", action="store_true", help="in a clean folder, comparing bytes")
    args = parser.parse_args()
    study = load_study(args.study)
    if not args.from_scratch:
        rebuild(Path(), args.study, study, args.figure, args.cores)
        print(f"figure {args.figure} of {study.name} made again: results/{study.name}/figures/{args.figure}.pdf")
        return
    with tempfile.TemporaryDirectory(prefix="tokenshift-") as folder:
        differences = rebuild_from_scratch(Path(), args.study, study, args.figure, args.cores, Path(folder))
    if differences:
        raise StudyError(f"figure {args.figure} of {study.name} made again differs:\n  " + "\n  ".join(differences))
    print(f"figure {args.figure} of {study.name} and its table, made again from scratch, are equal to the byte")


if __name__ == "__main__":
    run(main)
