"""Fine-tune a model on written solutions; the loss is on the solutions alone."""

import argparse
from pathlib import Path

import torch

from tokenshift.artifacts import read_parquet
from tokenshift.command import run
from tokenshift.config.specs import SftSpec
from tokenshift.policies.models import load_model, load_tokenizer
from tokenshift.provenance.hashes import file_hash, folder_hash
from tokenshift.schemas import CORPUS
from tokenshift.training.encoding import encode_examples
from tokenshift.training.engine import initialise, join_world
from tokenshift.training.outputs import model_card
from tokenshift.training.run import Run
from tokenshift.training.supervised import train, warmup_then_linear


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=SftSpec.parse, required=True, help="JSON of an SftSpec")
    parser.add_argument("--base", type=Path, required=True, help="model folder to start from")
    parser.add_argument("--corpus", type=Path, required=True, help="Parquet file of problems with solutions")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped run goes on from")
    parser.add_argument("--local_rank", type=int, help="given by the deepspeed launcher; read from the environment")
    parser.add_argument("--output", type=Path, required=True, help="model folder")
    args = parser.parse_args()
    spec, settings, device = args.spec, args.spec.sft, args.spec.compute.device
    join_world(device)
    torch.set_num_threads(spec.compute.threads)
    torch.use_deterministic_algorithms(device == "cpu")
    tokenizer = load_tokenizer(args.base)
    examples = encode_examples(read_parquet(args.corpus, CORPUS), tokenizer, spec.prompt, learn_prompt=False)
    model = load_model(args.base, settings.precision, device)
    engine = initialise(model, settings, lambda optimiser: warmup_then_linear(optimiser, settings.steps))
    depends_on = spec.plain() | {"inputs": {"base": folder_hash(args.base), "corpus": file_hash(args.corpus)}}
    card = model_card(spec, "sft", args.base.name, args.corpus.stem)
    with Run(args.state, depends_on, engine, tokenizer, card, settings.save_every) as training:
        train(engine, examples, settings, spec.seed, settings.checkpoint_every, training)
        training.publish(args.output)


if __name__ == "__main__":
    run(main)
