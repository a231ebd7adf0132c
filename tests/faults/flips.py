"""One flipped bit after another in the files of a finished study: does the audit name each file, and no other?

    PYTHONPATH=workflow python tests/faults/flips.py --study miniature [--flips 100] [--seed 1]

Works on the results in the current folder, and puts every byte back.
"""

import argparse
import os
import random
import sys
from pathlib import Path

from tokenshift.config.loading import load_study
from tokenshift.provenance.audit import Audit, Hashes, audit
from tokenshift.provenance.plan import whole_plan
from tokenshift.provenance.records import model_files, record_path


def covered_files(found: Audit) -> list[Path]:
    """Every file that a sound study's audit vouches for: outputs, their records, and what is in model folders."""
    outputs = [Path(output) for output in found.records]
    inner = [
        output.parent / name for output in outputs if output.name == "manifest.json" for name in model_files(output)
    ]
    return sorted({*outputs, *map(record_path, outputs), *(file for file in inner if not file.is_symlink())})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", required=True)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng, hashed = random.Random(args.seed), Hashes()
    load_study(args.study)
    jobs = whole_plan(Path(), args.study)
    before = audit(jobs, Path(), hashed)
    if before.breaks:
        sys.exit(f"not sound to begin with: {before.breaks[0]}")
    files, missed = covered_files(before), []
    for number in range(args.flips):
        file = rng.choice(files)
        place = rng.randrange(file.stat().st_size)
        with open(file, "r+b") as content:
            content.seek(place)
            (byte,) = content.read(1)
            content.seek(place)
            content.write(bytes([byte ^ 1 << rng.randrange(8)]))
        named = {broken.file for broken in audit(jobs, Path(), hashed).breaks}
        with open(file, "r+b") as content:
            content.seek(place)
            content.write(bytes([byte]))
        os.utime(file)
        if str(file) not in named:
            missed.append(f"{file} at byte {place}: {sorted(named) or 'nothing named'}")
        print(f"{number + 1}: {file} at byte {place}: {'named' if str(file) in named else 'MISSED'}")
    sound = not audit(jobs, Path(), hashed).breaks
    print(f"{args.flips} flips in {len(files)} files, {len(missed)} missed; sound again: {sound}")
    sys.exit(bool(missed) or not sound)


if __name__ == "__main__":
    main()
