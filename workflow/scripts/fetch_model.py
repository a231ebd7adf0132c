"""Link an existing model into the study: a local folder, or a hub id at a revision."""

import argparse
from pathlib import Path

from tokenshift import atomic
from tokenshift.atomic import atomic_folder
from tokenshift.command import run
from tokenshift.config.specs import FetchSpec
from tokenshift.policies.models import locate, require_loadable, require_weights, resolved

OF_THE_FOLDER = ("manifest.json", "manifest.json.prov.json")  # of a model that a study made; this one gets its own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=FetchSpec.parse, required=True, help="JSON of a FetchSpec")
    parser.add_argument("--output", type=Path, required=True, help="folder of links to the model's files")
    args = parser.parse_args()
    given = args.spec.pretrained
    path, revision = given.path, given.revision
    source = locate(path, revision)
    require_weights(source, given.pickled)
    require_loadable(source, given.remote_code)
    atomic.sources.append(resolved(path, revision, source))
    with atomic_folder(args.output) as folder:
        for file in sorted(source.rglob("*")):
            if file.is_file() and str(file.relative_to(source)) not in OF_THE_FOLDER:
                link = folder / file.relative_to(source)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file.resolve())


if __name__ == "__main__":
    run(main)
