"""Write which tokens both models of a pair have; refuse a pair whose tokenizers differ in more than special tokens."""

import argparse
from pathlib import Path

from tokenshift.artifacts import write_parquet
from tokenshift.command import run
from tokenshift.config.specs import VocabularySpec
from tokenshift.policies.vocabulary import pair_vocabulary, require_shared_stops
from tokenshift.schemas import VOCABULARY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=VocabularySpec.parse, required=True, help="JSON of a VocabularySpec")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of the vocabulary")
    args = parser.parse_args()
    spec, folders = args.spec, {"base": args.base, "tuned": args.tuned}
    table = pair_vocabulary(args.base, args.tuned, spec.special_tokens, spec.pair)
    if spec.cross_sampled:
        stops = {"base": spec.prompts.base.stops, "tuned": spec.prompts.tuned.stops}
        require_shared_stops(table, spec.pair, folders, stops)
    write_parquet(args.output, table, VOCABULARY, spec.plain(), ("transformers", "tokenizers"))


if __name__ == "__main__":
    run(main)
