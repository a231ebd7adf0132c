"""Join the parts that shards of one stage wrote into one file, in order."""

import argparse
import json
from pathlib import Path

from tokenshift.artifacts import gather_parquet
from tokenshift.command import run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=json.loads, required=True, help="JSON recorded with the output")
    parser.add_argument("--parts", type=Path, nargs="+", required=True, help="Parquet files, in the shards' order")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of all rows")
    args = parser.parse_args()
    gather_parquet(args.output, args.parts)


if __name__ == "__main__":
    run(main)
