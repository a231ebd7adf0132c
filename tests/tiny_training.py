"""Tiny models in training, shared by the tests of training and rl."""

from pathlib import Path

import torch
from torch.optim.lr_scheduler import ConstantLR
from transformers import Qwen2ForCausalLM

from tokenshift.config.models import Architecture, Optimisation
from tokenshift.provenance.records import SUFFIX
from tokenshift.training.engine import initialise, join_world
from tokenshift.training.pretraining import build_model

PAD, EOS = 0, 1
OPTIMISATION = Optimisation(learning_rate=1e-2, weight_decay=0.1, gradient_clip=0.5, micro_batch_tokens=10_000)
ARCHITECTURE = Architecture(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    max_position_embeddings=64,
)


def tiny_model(vocabulary_size: int = 13, seed: int = 0, **other: int) -> Qwen2ForCausalLM:
    return build_model(ARCHITECTURE.model_copy(update=other), vocabulary_size, PAD, EOS, seed)


def start(model: Qwen2ForCausalLM, optimisation: Optimisation = OPTIMISATION, **changes):
    """Engine that trains `model` on this process, with a constant learning rate and `changes` of the settings."""
    join_world("cpu")
    settings = optimisation.model_copy(update=changes)
    return initialise(model, settings, lambda optimiser: ConstantLR(optimiser, 1.0))


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Content of every file in `folder` but the records, which say when and where."""
    files = [file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(SUFFIX)]
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}
