"""Train a character-level causal LM from scratch on written solutions."""

import argparse
from pathlib import Path

import torch

from tokenshift.artifacts import read_parquet
from tokenshift.command import run
from tokenshift.config.specs import PretrainSpec
from tokenshift.problems.prompts import prompt_text
from tokenshift.provenance.hashes import file_hash
from tokenshift.schemas import CORPUS
from tokenshift.training.encoding import encode_examples
from tokenshift.training.engine import initialise, join_world
from tokenshift.training.outputs import model_card
from tokenshift.training.pretraining import build_model, character_tokenizer
from tokenshift.training.run import Run
from tokenshift.training.supervised import one_cycle, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=PretrainSpec.parse, required=True, help="JSON of a PretrainSpec")
    parser.add_argument("--corpus", type=Path, required=True, help="Parquet file of problems with solutions")
    parser.add_argument("--state", type=Path, required=True, help="folder for what a stopped run goes on from")
    parser.add_argument("--local_rank", type=int, help="given by the deepspeed launcher; read from the environment")
    parser.add_argument("--output", type=Path, required=True, help="model folder")
    args = parser.parse_args()
    spec, settings, device = args.spec, args.spec.pretrain, args.spec.compute.device
    join_world(device)
    torch.set_num_threads(spec.compute.threads)
    torch.use_deterministic_algorithms(device == "cpu")
    corpus = read_parquet(args.corpus, CORPUS)
    prompts = (prompt_text(spec.prompt, problem) for problem in corpus["problem"].unique())
    tokenizer = character_tokenizer([*prompts, *corpus["solution"]])
    examples = encode_examples(corpus, tokenizer, spec.prompt, learn_prompt=True)
    model = build_model(
        settings.architecture, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id, spec.seed
    )
    engine = initialise(model, settings, lambda optimiser: one_cycle(optimiser, settings.learning_rate, settings.steps))
    depends_on = spec.plain() | {"inputs": {"corpus": file_hash(args.corpus)}}
    card = model_card(spec, "pretrain", None, args.corpus.stem)
    with Run(args.state, depends_on, engine, tokenizer, card, settings.save_every) as training:
        train(engine, examples, settings, spec.seed, None, training)
        training.publish(args.output)


if __name__ == "__main__":
    run(main)
