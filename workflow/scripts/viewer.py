"""Write the token viewer of a pair on a problem set: a page, and its chunks where one file would be too large."""

import argparse
from pathlib import Path

from tokenshift.atomic import atomic_file, atomic_folder
from tokenshift.command import run
from tokenshift.config.specs import ViewerSpec
from tokenshift.viewer.content import blocks
from tokenshift.viewer.page import write_page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=ViewerSpec.parse, required=True, help="JSON of a ViewerSpec")
    parser.add_argument("--problems", type=Path, required=True, help="Parquet file of the problem set")
    parser.add_argument("--vocabulary", type=Path, required=True, help="Parquet file of the pair's vocabulary")
    parser.add_argument("--base", type=Path, required=True, help="rollouts of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="rollouts of the tuned model")
    parser.add_argument("--scores", type=Path, nargs="*", required=True, help="scores along either's responses")
    parser.add_argument("--cross-samples", type=Path, nargs="*", required=True, help="sweeps to show as branches")
    parser.add_argument("--output", type=Path, required=True, help="HTML page")
    parser.add_argument("--output-chunks", type=Path, required=True, help="folder of its chunks")
    args = parser.parse_args()
    content = blocks(
        args.spec,
        problems=args.problems,
        vocabulary=args.vocabulary,
        rollouts={"base": args.base, "tuned": args.tuned},
        scores={file.stem: file for file in args.scores},
        sweeps=args.cross_samples,
    )
    with atomic_folder(args.output_chunks) as folder, atomic_file(args.output) as page:
        write_page(page, folder, f"{args.spec.pair} on {args.spec.set}", content)


if __name__ == "__main__":
    run(main)
