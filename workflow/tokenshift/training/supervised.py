"""Next-token training on written solutions: pretraining from scratch and supervised fine-tuning."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from transformers import PreTrainedTokenizerBase

from tokenshift.progress import progress
from tokenshift.training.batches import Padded, micro_batches, pad, shuffled_batch
from tokenshift.training.encoding import Example, require_context
from tokenshift.training.engine import optimiser_step, world_total
from tokenshift.training.log_probs import log_probs, target_logits
from tokenshift.training.outputs import append_metrics, checkpoint_due, checkpoint_folder, export

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine

WARMUP_SHARE = 0.1  # of the steps of supervised fine-tuning


def one_cycle(optimiser: Optimizer, learning_rate: float, steps: int) -> LRScheduler:
    """Up to `learning_rate` over the first 30 % of `steps`, then down to almost 0, as cosines (arXiv 1708.07120)."""
    return OneCycleLR(optimiser, max_lr=learning_rate, total_steps=steps, cycle_momentum=False)


def warmup_then_linear(optimiser: Optimizer, steps: int) -> LRScheduler:
    """Linear rise over the first WARMUP_SHARE of `steps`, then linear fall to zero after the last."""
    warmup = max(1, round(WARMUP_SHARE * steps))
    return LambdaLR(optimiser, lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)))


def negative_log_likelihood(model: nn.Module, batch: Padded, tokens: int) -> Tensor:
    """Sum of -log p over `batch`'s targets, divided by `tokens`, the number of targets of the whole optimiser batch."""
    logp = log_probs(target_logits(model, batch), batch.targets)
    return -(logp * batch.mask).sum() / tokens


def train(
    engine: "DeepSpeedEngine",
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[Example],
    settings: dict[str, Any],
    seed: int,
    checkpoint_every: int | None,
    folder: Path,
) -> None:
    """Train for settings["steps"] batches of settings["batch_size"] examples.

    Leaves the model, its checkpoints and metrics.jsonl in `folder`. Raises StudyError when the examples do not fill a
    batch or one is longer than the model's context.
    """
    require_context((len(example.token_ids) for example in examples), engine.module)
    engine.train()
    bar = progress(range(1, settings["steps"] + 1), "training", "step")
    for step in bar:
        rows = shuffled_batch(seed, len(examples), settings["batch_size"], step - 1)
        chosen = [examples[row] for row in rows]
        tokens = world_total(sum(len(example.token_ids) - example.first for example in chosen), engine.device)
        parts = [
            pad([chosen[i].token_ids for i in part], [chosen[i].first for i in part], engine.device)
            for part in micro_batches([len(example.token_ids) for example in chosen], settings["micro_batch_size"])
        ]
        learning_rate = engine.get_lr()[0]
        loss, norm = optimiser_step(engine, parts, lambda part, n=tokens: negative_log_likelihood(engine, part, n))
        bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
        row = {"step": step, "loss": loss, "learning_rate": learning_rate, "gradient_norm": norm, "tokens": tokens}
        append_metrics(folder, row)
        if checkpoint_due(step, settings["steps"], checkpoint_every):
            export(engine, tokenizer, checkpoint_folder(folder, step))
    export(engine, tokenizer, folder)
