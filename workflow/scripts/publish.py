"""Copy what a finished study shows into a folder to keep, once its audit is sound, with how it was made."""

import argparse
import math
import shutil
from pathlib import Path

from tokenshift.atomic import atomic_file
from tokenshift.command import run
from tokenshift.config.loading import load_study
from tokenshift.costs.estimate import estimate, table
from tokenshift.costs.known import Known, known_problems, measured_hours
from tokenshift.costs.rates import rates_of
from tokenshift.errors import StudyError
from tokenshift.provenance.audit import Hashes, audit
from tokenshift.provenance.lineage import summary
from tokenshift.provenance.plan import whole_plan

LARGEST = {".csv": 500_000, ".html": 2_000_000}  # bytes of a table, and of a viewer's page, that is copied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="name or file of the study")
    parser.add_argument("--folder", type=Path, required=True, help="where to: what it holds of these is replaced")
    parser.add_argument("--cores", type=int, required=True, help="cores that the study was run on, to say so")
    parser.add_argument("--billions", type=float, help="parameters of models that do not say, in billions")
    args = parser.parse_args()
    study = load_study(args.study)
    found = audit(whole_plan(Path(), args.study), Path(), Hashes())
    if found.breaks:
        raise StudyError(f"{study.name} is not published, since its audit is not sound:\n{summary(found)}")
    # What today's workflow makes: a figure of an earlier version may lie beside them.
    made = sorted(map(Path, found.makers))
    left_out = []
    for kind, suffix in (("figures", ".png"), ("tables", ".csv"), ("viewer", ".html")):
        shutil.rmtree(args.folder / kind, ignore_errors=True)
        (args.folder / kind).mkdir(parents=True)
        for file in made:
            if file.parent.name == kind and file.suffix == suffix:
                if file.stat().st_size > LARGEST.get(suffix, math.inf):
                    left_out.append(file.name)
                else:
                    shutil.copyfile(file, args.folder / kind / file.name)
    results = Path("results") / study.name
    known = Known(*known_problems(study, Path("results")), args.billions)
    costs = estimate(study, known, rates_of(study))
    taken = {cost.stage: measured_hours(results / "benchmarks" / cost.folder) for cost in costs}
    lines = [
        f"# How {study.name} was made",
        "",
        f"    snakemake --cores {args.cores} --config study={args.study}",
        "",
        "What `make audit` says of it:",
        "",
        *(f"    {line}" for line in summary(found).splitlines()),
        "",
        "What `make estimate` expects of each stage, and, in the column `taken`, what it took:",
        "",
        *(f"    {line}".rstrip() for line in table(study, costs, known, taken).splitlines()),
    ]
    if left_out:
        lines += ["", f"Not copied, for their size: {', '.join(sorted(left_out))}."]
    with atomic_file(args.folder / "made.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{args.folder}: figures, tables, viewer, made.md")


if __name__ == "__main__":
    run(main)
