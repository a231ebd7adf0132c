"""The RL run: step after step of rollouts and updates, with reports, evaluations and checkpoints."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from tokenshift.config.models import Rl
from tokenshift.errors import NotFinite, StudyError
from tokenshift.policies.generation import Cancelled
from tokenshift.progress import progress
from tokenshift.rl.rollout_batches import Group, RolloutBatch, Rollouts, collect, shortfall
from tokenshift.rl.trainer import Trainer, shaped_rewards
from tokenshift.training.engine import NonFiniteLoss
from tokenshift.training.phases import seconds_by_phase
from tokenshift.training.run import Position, Run, Stopped, checkpoint_due


def accuracy(groups: Sequence[Group]) -> float:
    """Share of correct responses."""
    correct = [right for group in groups for right in group.correct]
    return sum(correct) / len(correct)


def mean_length(groups: Sequence[Group]) -> float:
    """Mean length of the responses, in tokens."""
    lengths = [len(response) for group in groups for response in group.responses]
    return sum(lengths) / len(lengths)


def rollout_metrics(batch: RolloutBatch, settings: Rl) -> dict[str, float | int]:
    """Metrics of all responses drawn for a step, and the share of groups that teach nothing: all right or all wrong."""
    drawn = batch.drawn
    return {
        "draws": batch.draws,
        "reward": shaped_rewards(drawn, settings).mean().item(),
        "accuracy": accuracy(drawn),
        "response_length": mean_length(drawn),
        "filtered_groups": sum(not group.mixed for group in drawn) / len(drawn),
        "groups": len(batch.groups),
    }


def train(trainer: Trainer, rollouts: Rollouts, heldout: Rollouts | None, run: Run) -> None:
    """Train for as many rollout batches as the trainer's settings say, from where `run` was left.

    `heldout` answers the problems of the evaluation during training, first of all as the initial policy does. Raises
    StudyError when a prompt cannot be encoded or, with the longest response, does not fit into the model's context;
    when a loss is not finite; and when no group is mixed and `no_mixed_groups` is stop. Raises Stopped, once the state
    is saved, after a signal.
    """
    settings = trainer.settings
    rollouts.check_prompts()
    if heldout is not None:
        heldout.check_prompts()
    position = run.restore({"step": 0, "draws": 0})
    if heldout is not None and run.fresh:
        metrics = evaluation(trainer, heldout, run)
        run.metrics.report(0, metrics, {"evaluation_seconds": sum(seconds_by_phase().values())})
    remaining = range(position["step"] + 1, settings.steps + 1)
    bar = progress(remaining, "training" if run.world.first else None, "step")
    for step in bar:
        began = time.perf_counter()
        batch = _rollout_batch(trainer, rollouts, run, position)
        position = {"step": step, "draws": position["draws"] + batch.draws}
        metrics = rollout_metrics(batch, settings)
        drawn = time.perf_counter()
        if batch.groups:
            with _state_in_message_if_not_finite(run, step):
                metrics |= trainer.update(batch.groups)
        tokens = sum(len(response) for group in batch.drawn for response in group.responses)
        ended = time.perf_counter()
        times = {
            "rollout_seconds": drawn - began,
            "update_seconds": ended - drawn,
            "tokens_per_second": tokens / (ended - began),
            **seconds_by_phase(),
        }
        if heldout is not None and checkpoint_due(step, settings.steps, settings.evaluation.every):
            metrics |= evaluation(trainer, heldout, run)
            times |= {"evaluation_seconds": sum(seconds_by_phase().values())}
        run.metrics.report(step, metrics, times)
        shown = {"accuracy": f"{metrics['accuracy']:.3f}", "tokens/s": f"{times['tokens_per_second']:.0f}"}
        bar.set_postfix(shown, refresh=False)
        if checkpoint_due(step, settings.steps, settings.checkpoint_every):
            run.keep(step)
        run.finish_step(position)


def _rollout_batch(trainer: Trainer, rollouts: Rollouts, run: Run, position: Position) -> RolloutBatch:
    """The next step's rollout batch; says so where dynamic sampling does not fill it."""
    settings, step = trainer.settings, position["step"] + 1

    def draw(number: int) -> list[Group]:
        run.stop_if_asked(position)
        purpose = f"rl-step-{step}-draw-{number}"
        try:
            with _state_in_message_if_not_finite(run, step), rollouts.decoder.following(trainer.engine):
                return rollouts.draw(position["draws"] + number, purpose, run.asked_to_stop)
        except Cancelled:
            run.stop(position)

    batch = collect(draw, settings.prompts_per_step, settings.dynamic_sampling_draws)
    message = shortfall(batch, settings.prompts_per_step)
    if message and not batch.groups and settings.no_mixed_groups == "stop":
        raise StudyError(f"step {step}: {message.split(';')[0]}, and `no_mixed_groups` is stop; {run.saved_state()}")
    if message and run.world.first:
        tqdm.write(f"step {step}: {message}", file=sys.stderr)
    return batch


@contextlib.contextmanager
def _state_in_message_if_not_finite(run: Run, step: int) -> Iterator[None]:
    """Inside, an error about logits, a loss or a gradient also says at which step, and where the state before is."""
    try:
        yield
    except NotFinite as error:
        # To keep the failed step takes all processes. A loss is the same on all of them, logits are one process's own.
        kept = run.keep_failure(step, error) if isinstance(error, NonFiniteLoss) else run.saved_state()
        raise StudyError(
            f"step {step}: {error}; {kept}. A lower learning_rate or gradient_clip, or float32 in place of bfloat16, "
            "are the usual remedies"
        ) from None


def evaluation(trainer: Trainer, heldout: Rollouts, run: Run) -> dict[str, float]:
    """Accuracy and length of the current policy's responses to held-out problems, with the same noise at every step.

    Raises Stopped after a signal; steps that were not saved are then taken again.
    """
    try:
        with heldout.decoder.following(trainer.engine):
            groups = heldout.answered(heldout.problems, "rl-evaluation", run.asked_to_stop)
    except Cancelled:
        raise Stopped(f"stopped by a signal during an evaluation; {run.saved_state()}: run it again") from None
    return {"heldout_accuracy": accuracy(groups), "heldout_length": mean_length(groups)}
