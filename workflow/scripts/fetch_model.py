"""Put an existing model into the study: links to the files of a folder or hub id, or what a GGUF file holds."""

import argparse
import tempfile
from pathlib import Path

from tokenshift import atomic
from tokenshift.atomic import atomic_folder
from tokenshift.command import run
from tokenshift.config.models import Pretrained
from tokenshift.config.specs import FetchSpec
from tokenshift.policies.adapters import ADAPTER
from tokenshift.policies.models import require_loadable, require_weights, save_from_gguf
from tokenshift.policies.sources import gguf_file, locate, resolved
from tokenshift.training.run_folder import checkpoint_folder

OF_THE_FOLDER = ("manifest.json", "manifest.json.prov.json")  # of a model that a study made; this one gets its own


def link(path: str, revision: str | None, target: Path) -> Path:
    """Let `target` hold links to what lies at `path`; the folder that they lead to."""
    source = locate(path, revision)
    atomic.sources.append(resolved(path, revision, source))
    for file in sorted(source.rglob("*")):
        if file.is_file() and str(file.relative_to(source)) not in OF_THE_FOLDER:
            name = target / file.relative_to(source)
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(file.resolve())
    return source


def link_model(given: Pretrained, path: str, revision: str | None, target: Path) -> None:
    """The same, of a model; refused unless it can be loaded."""
    source = link(path, revision, target)
    require_weights(source, given.pickled)
    require_loadable(source, given.remote_code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=FetchSpec.parse, required=True, help="JSON of a FetchSpec")
    parser.add_argument("--output", type=Path, required=True, help="model folder")
    args = parser.parse_args()
    given = args.spec.pretrained
    with atomic_folder(args.output) as folder:
        if given.gguf is not None:
            with tempfile.TemporaryDirectory() as temporary:
                file, about = gguf_file(given.gguf, Path(temporary))
                save_from_gguf(file, folder)
            atomic.sources.append(about)
        else:
            link_model(given, given.path, given.revision, folder)
        if given.adapter is not None:
            link(given.adapter.path, given.adapter.revision, folder / ADAPTER)
            require_loadable(folder, given.remote_code)
        for step, checkpoint in given.checkpoints.items():
            path = checkpoint.path or given.path
            link_model(given, path, checkpoint.revision, checkpoint_folder(folder, step))


if __name__ == "__main__":
    run(main)
