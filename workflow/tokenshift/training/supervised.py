"""Next-token training on written solutions: pretraining from scratch and supervised fine-tuning."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from tokenshift.config.models import SupervisedOptimisation
from tokenshift.errors import StudyError
from tokenshift.progress import progress
from tokenshift.training.batches import Padded, dealt, micro_batches, pad_rows, shuffled_batch
from tokenshift.training.encoding import Example, require_context
from tokenshift.training.engine import NonFiniteLoss, optimiser_step
from tokenshift.training.run import Run, checkpoint_due

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
    """Sum of -log p at the targets of the micro-batch `batch`, divided by `tokens`, the targets of the whole batch.

    `model` is a TokenModel, or the engine that trains one.
    """
    logp, _ = model(batch)
    return -(logp * batch.mask).sum() / tokens


def train(
    engine: "DeepSpeedEngine",
    examples: Sequence[Example],
    settings: SupervisedOptimisation,
    seed: int,
    checkpoint_every: int | None,
    run: Run,
) -> None:
    """Train for `settings.steps` batches of `settings.batch_size` examples, from where `run` was left.

    Raises StudyError when the examples do not fill a batch, when one is longer than the model's context and when a loss
    is not finite. Raises Stopped, once the state is saved, after a signal.
    """
    require_context((len(example.token_ids) for example in examples), engine.module.model)
    world = run.world
    done = run.restore({"step": 0})["step"]
    engine.train()
    bar = progress(range(done + 1, settings.steps + 1), "training" if world.first else None, "step")
    for step in bar:
        began = time.perf_counter()
        batch = [examples[row] for row in shuffled_batch(seed, len(examples), settings.batch_size, step - 1)]
        sequences, firsts = [example.token_ids for example in batch], [example.first for example in batch]
        lengths = [len(sequence) for sequence in sequences]
        tokens = sum(lengths) - sum(firsts)
        cut = micro_batches(lengths, settings.micro_batch_size, settings.micro_batch_tokens)
        mine = [pad_rows(rows, sequences, firsts, engine.device) for rows in dealt(cut, world.rank, world.size)]
        learning_rate = engine.get_lr()[0]
        try:
            loss, norm = optimiser_step(
                engine, mine, lambda micro_batch, n=tokens: negative_log_likelihood(engine, micro_batch, n)
            )
        except NonFiniteLoss as error:
            raise StudyError(
                f"step {step}: {error}; {run.keep_failure(step, error)}. Try a lower learning_rate"
            ) from None
        speed = tokens / (time.perf_counter() - began)
        bar.set_postfix({"loss": f"{loss:.3f}", "tokens/s": f"{speed:.0f}"}, refresh=False)
        metrics = {"loss": loss, "learning_rate": learning_rate, "gradient_norm": norm, "tokens": tokens}
        run.metrics.report(step, metrics, {"tokens_per_second": speed})
        if checkpoint_due(step, settings.steps, checkpoint_every):
            run.keep(step)
        run.finish_step({"step": step})
