"""Refuse a pair whose tokenizers disagree; write the vocabulary that both share."""

import argparse
from pathlib import Path

import pyarrow as pa

from tokenshift.artifacts import write_parquet
from tokenshift.command import run
from tokenshift.config.specs import VocabularySpec
from tokenshift.policies.models import shared_vocabulary
from tokenshift.schemas import VOCABULARY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=VocabularySpec.parse, required=True, help="JSON of a VocabularySpec")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--tuned", type=Path, required=True, help="folder of the tuned model")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file of the vocabulary")
    args = parser.parse_args()
    tokens = shared_vocabulary(args.base, args.tuned)
    table = pa.table({"token_id": range(len(tokens)), "token": pa.array(tokens, pa.string())})
    write_parquet(args.output, table, VOCABULARY, args.spec.plain(), ("transformers", "tokenizers"))


if __name__ == "__main__":
    run(main)
