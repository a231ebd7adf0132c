"""Lay the claims of several finished studies side by side, in one table and one figure, beside the paper's values."""

import argparse
from pathlib import Path

import matplotlib.style

from tokenshift.artifacts import write_csv
from tokenshift.atomic import atomic_file
from tokenshift.command import run
from tokenshift.figures.claims_grid import claims_grid
from tokenshift.figures.compared import columns, compared, markdown, side_by_side
from tokenshift.figures.style import house_style, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=Path, nargs="+", required=True, help="results/STUDY/tables/claims.csv of each")
    parser.add_argument("--output", type=Path, required=True, help="CSV of all claims; PDF, PNG and Markdown beside it")
    args = parser.parse_args()
    rows = compared(args.claims)
    table = side_by_side(rows)
    write_csv(args.output, rows)
    with atomic_file(args.output.with_suffix(".md")) as temporary:
        temporary.write_text(markdown(table), encoding="utf-8")
    with matplotlib.style.context(["default", house_style()]):
        figure = claims_grid(rows.with_columns(column=columns(rows, "\n").str.replace(" vs ", "\nvs ")), paper=True)
        save(figure, args.output.with_suffix(".pdf"), args.output.with_suffix(".png"))
    print(f"{args.output}, and .md, .pdf and .png beside it")


if __name__ == "__main__":
    run(main)
