"""Export a study that passes its audit, with its provenance, as an RO-Crate."""

import argparse
from pathlib import Path

from tokenshift.atomic import atomic_file
from tokenshift.command import run
from tokenshift.config.loading import load_study, study_path
from tokenshift.errors import StudyError
from tokenshift.provenance.audit import Hashes, audit
from tokenshift.provenance.crate import study_crate
from tokenshift.provenance.lineage import summary
from tokenshift.provenance.plan import whole_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or file of the study")
    parser.add_argument("--largest-mb", type=int, required=True, help="larger files are described, not copied")
    parser.add_argument("--private", action="store_true", help="leave host names and absolute paths in it")
    parser.add_argument("--output", type=Path, required=True, help="ZIP file of the crate")
    args = parser.parse_args()
    study = load_study(args.study)
    found = audit(whole_plan(Path(), args.study), Path(), Hashes())
    if found.breaks:
        raise StudyError(f"{study.name} does not pass its audit, so it is not exported:\n{summary(found)}")
    with atomic_file(args.output) as temporary:
        largest = args.largest_mb * 1_000_000
        crate = study_crate(study, study_path(args.study), found, Path(), largest, args.private)
        crate.write_zip(temporary)
    print(f"{args.output}: {len(found.jobs)} jobs with their files and records")


if __name__ == "__main__":
    run(main)
