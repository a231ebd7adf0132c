"""Write the study file's JSON schema and its reference, from the typed config."""

import argparse
from pathlib import Path

from tokenshift.atomic import atomic_file, write_json
from tokenshift.command import run
from tokenshift.config.documentation import reference, schema

ROOT = Path(__file__).parents[2]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    write_json(ROOT / "workflow/schemas/study.schema.json", schema())
    with atomic_file(ROOT / "config/README.md") as temporary:
        temporary.write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    run(main)
