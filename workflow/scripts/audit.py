"""Check that every file of a study, or of one figure, is what its record says and made as it would be made today."""

import argparse
from pathlib import Path

from tokenshift.atomic import atomic_file
from tokenshift.command import run
from tokenshift.config.loading import load_study
from tokenshift.errors import StudyError
from tokenshift.provenance.audit import Hashes, audit
from tokenshift.provenance.lineage import page, summary, tree, verdict
from tokenshift.provenance.plan import figure_files, whole_plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or file of the study")
    parser.add_argument("--figure", help="name of the figure whose chain is shown; without it, all are checked")
    parser.add_argument("--page", type=Path, help="HTML file to write instead; breaks are then no failure")
    args = parser.parse_args()
    name = load_study(args.study).name
    targets = figure_files(name, args.figure) if args.figure else []
    found = audit(whole_plan(Path(), args.study, *targets), Path(), Hashes())
    if args.page:
        with atomic_file(args.page) as temporary:
            temporary.write_text(page(found, name), encoding="utf-8")
        print(verdict(found))
        return
    print(tree(found) if args.figure else summary(found))
    if found.breaks:
        raise StudyError(f"audit of {name}: {verdict(found)}")
    if args.figure:
        print(verdict(found))


if __name__ == "__main__":
    run(main)
