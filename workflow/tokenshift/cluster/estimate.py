"""What a study will cost: hours, memory and disk of each stage, from measured rates and stated assumptions.

A guess within a factor of two or three, to tell an afternoon from a month before a job is submitted.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenshift.cluster.resources import BYTES, TRAINING_BYTES, inference_gpus, memory_mb, size_of, training_gpus
from tokenshift.config.study import Study
from tokenshift.errors import StudyError

FILLED = 0.4  # of max_new_tokens, by a mean response
REUSED = 0.57  # of the tokens of a sweep's thresholds, known from the thresholds before (benchmarks/cross_sampling.md)
PROMPT = 150  # tokens
POSITION_BYTES = 120  # of the scores' files (benchmarks/scoring.md)
UNKNOWN_SIZE = 500  # problems of a set whose size is known only once it is read
SAVED_STATES = 2


@dataclass(frozen=True)
class Rates:
    """What a device does: measured, with models as large as this one or smaller.

    step: seconds of a decoding step of up to `rows` rows, at least, and per billion parameters. flops: a second, in
    passes over given tokens; in training.
    """

    step: float
    step_per_billion: float
    rows: int
    flops: float
    training_flops: float


RATES = {
    # An H200 in bfloat16: a step of 1.5 B or 7 B takes 28 ms at 32 rows, bound by Python; scoring runs at half of 519
    # TFLOP/s; a DAPO step's update at 31.
    "cuda": Rates(step=0.028, step_per_billion=0.0005, rows=128, flops=2.6e14, training_flops=3.1e13),
    # Two cores: a step of 16 rows of SmolLM2-135M takes 71 ms, scoring 1,000 positions a second for both models.
    "cpu": Rates(step=0.004, step_per_billion=0.5, rows=16, flops=5.4e11, training_flops=2e11),
}


@dataclass(frozen=True)
class Cost:
    """The cost of a stage: its jobs, their hours together and on how many GPUs, memory of one in GB, disk in GB."""

    stage: str
    jobs: int
    hours: float
    gpus: int
    memory_gb: float
    disk_gb: float


def estimate(study: Study, sizes: dict[str, int], default_billions: float | None) -> list[Cost]:
    """The cost of each stage of `study`; `sizes` are those of its problem sets, where they are known.

    Raises StudyError where the size of a model is not known: neither from its `billions` nor its architecture, nor by
    `default_billions`.
    """
    return list(_Estimate(study, sizes, default_billions).stages())


class _Estimate:
    def __init__(self, study: Study, sizes: dict[str, int], default_billions: float | None):
        self.study, self.default = study, default_billions
        self.rates = RATES[study.compute.device]
        self.problems = {name: sizes.get(name, entry.size or UNKNOWN_SIZE) for name, entry in study.problems.items()}
        sampling = study.evaluation
        self.length = FILLED * sampling.max_new_tokens
        self.responses = sum(self.problems[name] for name in sampling.sets) * sampling.samples
        self.rows = min(self.rates.rows, sampling.batch_size)

    def billions(self, model: str) -> float:
        """Parameters of a model, in billions."""
        known = size_of(self.study, model) or self._built(self.study.root(model)) or self.default
        if known is None:
            raise StudyError(f"models.{model}: how large it is is not known; give `billions`, or BILLIONS=7 for all")
        return known

    def _built(self, root: str) -> float | None:
        pretrain = self.study.models[root].pretrain
        if pretrain is None:
            return None
        size = pretrain.architecture
        layer = 4 * size.hidden_size**2 + 3 * size.hidden_size * size.intermediate_size
        return size.num_hidden_layers * layer / 1e9

    def stages(self) -> Iterator[Cost]:
        study, compute = self.study, self.study.compute
        trained = [name for name, model in study.models.items() if not model.pretrained]
        evaluated = dict.fromkeys(name for pair in study.pairs.values() for name in (pair.base, pair.tuned))
        weights = sum(self.billions(name) for name in study.models) * BYTES["float32" if trained else "bfloat16"]
        if trained:
            hours = sum(map(self._training_hours, trained))
            largest = max(trained, key=self.billions)
            states = SAVED_STATES * TRAINING_BYTES * self.billions(largest)
            gpus = training_gpus(compute, size_of(study, largest)) * compute.nodes
            memory = TRAINING_BYTES * self.billions(largest)
            yield Cost("training", len(trained), hours, gpus, memory, weights + states)
        else:
            yield Cost("models", len(study.models), 0.0, 0, 4.0, weights)
        jobs = len(study.evaluation.sets) * compute.shards
        yield self._inference("rollouts", [[name] for name in evaluated], jobs, self._sampling_hours, 10)
        pairs = [[pair.base, pair.tuned] for pair in study.pairs.values()]
        trajectories = len(study.scoring.trajectories)
        scored = self._inference("scores", pairs, jobs * trajectories, self._scoring_hours, POSITION_BYTES)
        yield Cost(
            scored.stage, scored.jobs, scored.hours * trajectories, scored.gpus, scored.memory_gb, scored.disk_gb
        )
        sweeps = study.cross_sampling
        if sweeps.pairs:
            crossed = [[study.pairs[name].base, study.pairs[name].tuned] for name in sweeps.pairs]
            runs = len(sweeps.directions) * len(sweeps.all_criteria)
            levels = 2 + len(sweeps.quantiles or sweeps.thresholds)
            one = self._inference("cross-samples", crossed, jobs * runs, self._sampling_hours, 60 * levels)
            work = runs * (1 + (levels - 1) * (1 - REUSED))
            yield Cost(one.stage, one.jobs, one.hours * work, one.gpus, one.memory_gb, one.disk_gb * runs)

    def _inference(
        self, stage: str, models: list[list[str]], jobs: int, hours_of: Callable[[float], float], position_bytes: int
    ) -> Cost:
        compute = self.study.compute
        hours = sum(hours_of(self.billions(name)) for together in models for name in together)
        sizes = [[size_of(self.study, name) for name in together] for together in models]
        gpus = max(inference_gpus(compute, each) for each in sizes)
        held = max(sum(map(self.billions, together)) for together in models) * BYTES[compute.decoding().dtype]
        memory = max(held, max(memory_mb(compute, each) for each in sizes) / 1000)
        disk = len(models) * self.responses * self.length * position_bytes / 1e9
        return Cost(stage, len(models) * jobs, hours, gpus, memory, disk)

    def _sampling_hours(self, billions: float) -> float:
        step = max(self.rates.step, self.rates.step_per_billion * billions * self.rows / self.rates.rows)
        return self.responses * self.length / self.rows * step / 3600

    def _scoring_hours(self, billions: float) -> float:
        return 2e9 * billions * self.responses * (PROMPT + self.length) / self.rates.flops / 3600

    def _training_hours(self, model: str) -> float:
        entry, billions = self.study.models[model], self.billions(model)
        gpus = max(1, training_gpus(self.study.compute, size_of(self.study, model)) * self.study.compute.nodes)
        if entry.rl is None:
            supervised = entry.pretrain or entry.sft
            tokens = supervised.steps * supervised.batch_size * PROMPT
            return 6e9 * billions * tokens / (self.rates.training_flops * gpus) / 3600
        rl = entry.rl
        responses, length = rl.prompts_per_step * rl.responses_per_prompt, FILLED * rl.max_new_tokens
        step = max(self.rates.step, self.rates.step_per_billion * billions)
        sampling = responses * length / min(self.rates.rows, rl.generation_batch_size) * step / gpus
        # Forward and backward 6, old log-probabilities 2, the initial policy's 2 more.
        update = 10e9 * billions * responses * (PROMPT + length) * rl.epochs / (self.rates.training_flops * gpus)
        return rl.steps * (sampling + update) / 3600


def known_sizes(study: Study, results: Path) -> dict[str, int]:
    """Sizes of the problem sets that are built already, or whose file can be counted."""
    import pyarrow.parquet as pq

    sizes = {}
    for name, entry in study.problems.items():
        built = results / study.name / "problems" / f"{name}.parquet"
        if built.is_file():
            sizes[name] = pq.read_metadata(built).num_rows
        elif entry.jsonl and Path(entry.jsonl.path).suffix == ".jsonl" and Path(entry.jsonl.path).is_file():
            with open(entry.jsonl.path, "rb") as lines:
                rows = sum(1 for line in lines if line.strip())
            sizes[name] = min(rows, entry.size or rows)
    return sizes


def table(study: Study, costs: list[Cost]) -> str:
    """The costs as aligned lines, what dominates, and what was assumed."""
    device = "GPU hours" if study.compute.device == "cuda" else "hours"
    lines = [f"{'stage':<14} {'jobs':>6} {device:>10} {'GPUs a job':>11} {'GB memory':>10} {'GB disk':>9}"]
    hours = {cost.stage: cost.hours * max(1, cost.gpus) for cost in costs}
    for cost in costs:
        lines.append(
            f"{cost.stage:<14} {cost.jobs:>6} {hours[cost.stage]:>10.2f} {cost.gpus:>11} {cost.memory_gb:>10.1f} "
            f"{cost.disk_gb:>9.2f}"
        )
    total, disk = sum(hours.values()), sum(cost.disk_gb for cost in costs)
    most = max(hours, key=hours.get)
    lines += [
        f"{'in all':<14} {'':>6} {total:>10.2f} {'':>11} {'':>10} {disk:>9.2f}",
        "",
        f"{most} takes {hours[most] / total:.0%} of the time." if total else "Nothing takes time.",
        f"Assumed: responses of {FILLED:.0%} of max_new_tokens, prompts of {PROMPT} tokens, {UNKNOWN_SIZE} problems "
        "where a set's size is not known,",
        f"{REUSED:.0%} of a sweep's tokens known from its other thresholds; rates of "
        + ("an H200 in bfloat16." if study.compute.device == "cuda" else "two x86 cores."),
    ]
    if study.compute.placement == "sharded":
        lines.append(
            "placement 'sharded': all GPUs of a job are busy where transformers can split the models (tp_plan); else "
            "layers lie one after another, and one is busy at a time."
        )
    return "\n".join(lines)
