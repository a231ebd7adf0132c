"""Decode with both models of a pair, switching at random positions, as often as a JS sweep did at each threshold."""

from pathlib import Path

import polars as pl

from tokenshift.artifacts import scan_parquet
from tokenshift.command import run
from tokenshift.cross_sampling import named
from tokenshift.schemas import CROSS_SAMPLES
from tokenshift.sweeps import run_sweep, sweep_parser


def main() -> None:
    parser = sweep_parser(__doc__, "JSON with direction, seed, prompt, evaluation, compute")
    parser.add_argument("--matched", type=Path, required=True, help="the JS sweep whose switched shares are matched")
    args = parser.parse_args()
    matched = scan_parquet(args.matched, CROSS_SAMPLES).select("threshold", "switched").collect()
    shares = matched.explode("switched").group_by("threshold", maintain_order=True).agg(pl.col("switched").mean())
    run_sweep(args, named("random"), dict(shares.iter_rows()))


if __name__ == "__main__":
    run(main)
