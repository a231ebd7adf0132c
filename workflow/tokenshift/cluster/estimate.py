"""What a study will cost: hours, memory and disk of each stage, from measured rates and stated assumptions.

To tell an afternoon from a month before a job is submitted. On a CPU the rate is measured on the spot; all stages of
smollm2 came out within a factor of 1.5 (docs/smollm2); on GPUs, and where responses are shorter or longer than
assumed, expect two or three.
"""

import csv
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tokenshift.cluster.resources import BYTES, TRAINING_BYTES, inference_gpus, memory_mb, size_of, training_gpus
from tokenshift.config.study import Study
from tokenshift.errors import StudyError

FILLED = 0.4  # of max_new_tokens, by a mean response
DRAWS = 2  # of prompts for a step of dynamic sampling
REUSED = 0.57  # of the tokens of a sweep's thresholds, known from the thresholds before (benchmarks/cross_sampling.md)
PROBLEM = 80  # tokens of a problem that is not at hand
POSITION_BYTES = 120  # of the scores' files (benchmarks/scoring.md)
SOME = 20  # problems of a set, of which the mean length is taken
UNKNOWN_SIZE = 500  # problems of a set whose size is known only once it is read
SAVED_STATES = 2
# Of the rate of matrix products: passes over given tokens and decoding; forward and backward passes of training.
IN_PASSES, IN_TRAINING = 0.6, 0.5
# What becomes a token of its own, about: a word, a digit, a mark, the end of a line.
PIECE = re.compile(r"[^\W\d_]+|\d|[^\w\s]|\n")


@dataclass(frozen=True)
class Rates:
    """What a device does: measured, with models as large as this one or smaller.

    step: seconds of a decoding step of up to `rows` rows, at least, and per billion parameters. flops: a second, in
    passes over given tokens; in training. optimiser: seconds of an optimiser step per billion parameters. start:
    seconds until a job has loaded its models.
    """

    step: float
    step_per_billion: float
    rows: int
    flops: float
    training_flops: float
    optimiser: float
    start: float


# In bfloat16 a step of 1.5 B or 7 B takes 28 ms at 32 rows, bound by Python; scoring runs at half of 519 TFLOP/s; the
# update of a DAPO step at 31.
H200 = Rates(
    step=0.028, step_per_billion=0.0005, rows=128, flops=2.6e14, training_flops=3.1e13, optimiser=0.02, start=60.0
)


def cpu_rates(products: float) -> Rates:
    """Rates of one CPU thread whose matrix products run at `products` FLOP/s: all of it is bound by arithmetic.

    A token costs two operations per parameter. An AdamW step of SmolLM2-135M took 4 s.
    """
    passes = IN_PASSES * products
    return Rates(
        step=0.0,
        step_per_billion=2e9 / passes,
        rows=1,
        flops=passes,
        training_flops=IN_TRAINING * products,
        optimiser=30.0,
        start=15.0,
    )


def measured_products(dtype: str) -> float:
    """FLOP/s of matrix products in `dtype` on one thread of this machine, by the processor's own clock."""
    import torch

    threads, size = torch.get_num_threads(), 1024
    torch.set_num_threads(1)
    left, right = (torch.randn(size, size).to(getattr(torch, dtype)) for _ in range(2))
    left @ right
    repeats, began = 0, time.process_time()
    while time.process_time() - began < 0.5:
        left @ right
        repeats += 1
    spent = time.process_time() - began
    torch.set_num_threads(threads)
    return repeats * 2 * size**3 / spent


def rates_of(study: Study) -> Rates:
    """The rates of what the study's jobs run on: an H200, or the threads of a job on this machine."""
    if study.compute.device == "cuda":
        return H200
    return cpu_rates(measured_products(study.compute.decoding().dtype) * study.compute.threads)


@dataclass(frozen=True)
class Cost:
    """The cost of a stage: its jobs, their hours together and on how many GPUs, memory of one in GB, disk in GB.

    folder: the stage's files, under the study's results.
    """

    stage: str
    jobs: int
    hours: float
    gpus: int
    memory_gb: float
    disk_gb: float
    folder: str


@dataclass(frozen=True)
class Known:
    """What is known of a study beside its file: where not, it is assumed.

    problems, tokens: size and mean length, in tokens, of problem sets. billions: parameters of models that do not say.
    length: mean length of a response, in tokens.
    """

    problems: dict[str, int]
    tokens: dict[str, float]
    billions: float | None = None
    length: float | None = None


def estimate(study: Study, known: Known, rates: Rates) -> list[Cost]:
    """The cost of each stage of `study` on what has these rates.

    Raises StudyError where the size of a model is not known: neither from its `billions` nor its architecture, nor by
    `known`.
    """
    return list(_Estimate(study, known, rates).stages())


class _Estimate:
    def __init__(self, study: Study, known: Known, rates: Rates):
        self.study, self.known, self.rates = study, known, rates
        entries = study.problems.items()
        self.problems = {name: known.problems.get(name, entry.size or UNKNOWN_SIZE) for name, entry in entries}
        sampling = study.evaluation
        self.length = known.length or FILLED * sampling.max_new_tokens
        self.asked = sum(self.problems[name] for name in sampling.sets)
        self.rows = min(rates.rows, sampling.batch_size)

    def prompt(self, model: str, problem_set: str) -> float:
        """Tokens of a prompt."""
        return pieces(self.study.prompt_of(model).template) + self.known.tokens.get(problem_set, PROBLEM)

    def billions(self, model: str) -> float:
        """Parameters of a model, in billions."""
        known = size_of(self.study, model) or self._built(self.study.root(model)) or self.known.billions
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
        if study.training:
            compared = [study.training.baseline, *study.training.models]
            evaluated |= dict.fromkeys(replicate for name in compared for replicate in study.replicates(name))
        weights = sum(self.billions(name) for name in study.models) * BYTES["float32" if trained else "bfloat16"]
        if trained:
            hours = sum(self._training_seconds(name) + self.rates.start for name in trained) / 3600
            largest = max(trained, key=self.billions)
            states = SAVED_STATES * TRAINING_BYTES * self.billions(largest)
            gpus = training_gpus(compute, size_of(study, largest)) * compute.nodes
            memory = TRAINING_BYTES * self.billions(largest)
            yield Cost("training", len(trained), hours, gpus, memory, weights + states, "models")
        else:
            yield Cost("models", len(study.models), 0.0, 0, 4.0, weights, "models")
        samples = study.evaluation.samples
        sampled = [(self._sampling_seconds(name, samples), [name]) for name in evaluated]
        yield self._cost("rollouts", sampled, 1, 10 * samples)
        scored = []
        for pair in study.pairs.values():
            together, own = [pair.base, pair.tuned], len(study.scoring.trajectories)
            scored.append((own * sum(self._scoring_seconds(name) for name in together), together))
        trajectories = len(study.scoring.trajectories)
        yield self._cost("scores", scored, trajectories, POSITION_BYTES * samples * trajectories)
        kept = {name: pair for name, pair in study.pairs.items() if study.checkpoint_steps(pair.tuned)}
        if kept:
            passes = [
                ((1 + len(study.checkpoint_steps(pair.tuned))) * self._scoring_seconds(pair.tuned), [pair.tuned])
                for pair in kept.values()
            ]
            yield self._cost("checkpoint scores", passes, 1, 10 * samples)
        sweeps = study.cross_sampling
        if sweeps.pairs:
            runs = len(sweeps.directions) * len(sweeps.all_criteria)
            levels, samples = 2 + len(sweeps.quantiles or sweeps.thresholds), sweeps.samples or samples
            decoded = samples * (1 + (levels - 1) * (1 - REUSED))
            crossed = []
            for name in sweeps.pairs:
                together = [study.pairs[name].base, study.pairs[name].tuned]
                crossed.append((runs * sum(self._sampling_seconds(model, decoded) for model in together), together))
            yield self._cost("cross-samples", crossed, runs, 60 * levels * samples * runs)

    def _cost(self, stage: str, work: list[tuple[float, list[str]]], runs: int, problem_bytes: int) -> Cost:
        """The cost of a stage that takes so many seconds with these models together, in `runs` jobs a set and shard.

        `problem_bytes` are those of its files for each token of a problem's response.
        """
        compute, jobs = self.study.compute, runs * len(self.study.evaluation.sets) * self.study.compute.shards
        hours = sum(seconds + jobs * self.rates.start for seconds, _ in work) / 3600
        sizes = [[size_of(self.study, name) for name in together] for _, together in work]
        gpus = max(inference_gpus(compute, each) for each in sizes)
        held = max(sum(map(self.billions, together)) for _, together in work) * BYTES[compute.decoding().dtype]
        memory = max(held, max(memory_mb(compute, each) for each in sizes) / 1000)
        disk = len(work) * self.asked * self.length * problem_bytes / 1e9
        return Cost(stage, len(work) * jobs, hours, gpus, memory, disk, stage.replace(" ", "_").replace("-", "_"))

    def _sampling_seconds(self, model: str, samples: float) -> float:
        """So many responses to every problem; each prompt is computed once."""
        billions = self.billions(model)
        step = max(self.rates.step, self.rates.step_per_billion * billions * self.rows / self.rates.rows)
        prompts = sum(self.problems[name] * self.prompt(model, name) for name in self.study.evaluation.sets)
        return self.asked * samples * self.length / self.rows * step + 2e9 * billions * prompts / self.rates.flops

    def _scoring_seconds(self, model: str) -> float:
        """One model along one trajectory; a prompt counts once where its responses are scored together."""
        from tokenshift.policies.forward import WELL_FILLED, WORTH_SHARING

        positions, samples = 0.0, self.study.evaluation.samples
        for name in self.study.evaluation.sets:
            prompt = self.prompt(model, name)
            total = samples * (prompt + self.length)
            worth = (samples - 1) * prompt >= WORTH_SHARING * total
            if worth and total >= WELL_FILLED * self.study.scoring.batch_tokens:
                total = prompt + samples * self.length
            positions += self.problems[name] * total
        return 2e9 * self.billions(model) * positions / self.rates.flops

    def _training_seconds(self, model: str) -> float:
        entry, billions = self.study.models[model], self.billions(model)
        gpus = max(1, training_gpus(self.study.compute, size_of(self.study, model)) * self.study.compute.nodes)
        if entry.rl is None:
            supervised = entry.pretrain or entry.sft
            solved = self.study.corpora[supervised.corpus].problems
            tokens = supervised.steps * supervised.batch_size * (self.prompt(model, solved) + self.length)
            passes = 6e9 * billions * tokens / (self.rates.training_flops * gpus)
            return passes + supervised.steps * self.rates.optimiser * billions / gpus
        rl = entry.rl
        responses = rl.prompts_per_step * rl.responses_per_prompt
        length = self.known.length or FILLED * rl.max_new_tokens
        step = max(self.rates.step, self.rates.step_per_billion * billions)
        drawn = responses * (DRAWS if rl.dynamic_sampling_draws else 1)
        sampling = drawn * length / min(self.rates.rows, rl.generation_batch_size) * step / gpus
        # Forward and backward 6, old log-probabilities 2, the initial policy's 2 more.
        initial = 2e9 if rl.kl_coefficient or rl.report_base_kl else 0
        positions = responses * (self.prompt(model, rl.problems) + length)
        update = (2e9 + initial + 6e9 * rl.epochs) * billions * positions / (self.rates.training_flops * gpus)
        optimiser_steps = rl.epochs * rl.prompts_per_step // rl.mini_batch_prompts
        return rl.steps * (sampling + update + optimiser_steps * self.rates.optimiser * billions / gpus)


def pieces(text: str) -> int:
    """About how many tokens `text` has."""
    return len(PIECE.findall(text))


def known_problems(study: Study, results: Path) -> tuple[dict[str, int], dict[str, float]]:
    """Sizes of the problem sets that are built already, or whose file can be counted; mean tokens of a few problems.

    The latter of sets that are built, generated, or in a local file.
    """
    import pyarrow.parquet as pq

    from tokenshift.problems.sets import kept_problems

    sizes, tokens = {}, {}
    for name, entry in study.problems.items():
        built = results / study.name / "problems" / f"{name}.parquet"
        local = entry.jsonl and Path(entry.jsonl.path).is_file()
        texts = []
        if built.is_file():
            sizes[name] = pq.read_metadata(built).num_rows
            texts = pq.read_table(built, columns=["problem"])["problem"].to_pylist()[:SOME]
        elif entry.reasoning_gym or local:
            found = islice(kept_problems(entry, f"problems.{name}", frozenset()), min(SOME, entry.size or SOME))
            texts = [problem.problem for problem in found]
        if not built.is_file() and local and Path(entry.jsonl.path).suffix == ".jsonl":
            with open(entry.jsonl.path, "rb") as lines:
                rows = sum(1 for line in lines if line.strip())
            sizes[name] = min(rows, entry.size or rows)
        if texts:
            tokens[name] = sum(map(pieces, texts)) / len(texts)
    return sizes, tokens


def measured_hours(folder: Path) -> float | None:
    """Hours of the jobs that made the files of a stage, by Snakemake's benchmarks in `folder`; None without any."""
    seconds = []
    for file in folder.rglob("*.tsv"):
        with open(file, newline="") as lines:
            seconds += [float(row["s"]) for row in csv.DictReader(lines, delimiter="\t")]
    return sum(seconds) / 3600 if seconds else None


def table(study: Study, costs: list[Cost], known: Known, taken: dict[str, float | None]) -> str:
    """The costs as aligned lines, what dominates, what was assumed, and what stages took where they have been run."""
    device = "GPU hours" if study.compute.device == "cuda" else "hours"
    lines = [f"{'stage':<18} {'jobs':>6} {device:>10} {'taken':>7} {'GPUs a job':>11} {'GB memory':>10} {'GB disk':>9}"]
    hours = {cost.stage: cost.hours * max(1, cost.gpus) for cost in costs}
    for cost in costs:
        took = "" if taken.get(cost.stage) is None else f"{taken[cost.stage]:.2f}"
        lines.append(
            f"{cost.stage:<18} {cost.jobs:>6} {hours[cost.stage]:>10.2f} {took:>7} {cost.gpus:>11} "
            f"{cost.memory_gb:>10.1f} {cost.disk_gb:>9.2f}"
        )
    total, disk = sum(hours.values()), sum(cost.disk_gb for cost in costs)
    most = max(hours, key=hours.get)
    assumed = f"{known.length:g} tokens" if known.length else f"{FILLED:.0%} of max_new_tokens"
    lines += [
        f"{'in all':<18} {'':>6} {total:>10.2f} {'':>7} {'':>11} {'':>10} {disk:>9.2f}",
        "",
        f"{most} takes {hours[most] / total:.0%} of the time." if total else "Nothing takes time.",
        "Hours are those of all jobs one after another; a machine or cluster runs several at a time.",
        f"Assumed: responses of {assumed}, {PROBLEM} tokens and {UNKNOWN_SIZE} problems where a set is not at hand,",
        f"{DRAWS} draws for a step of dynamic sampling, {REUSED:.0%} of a sweep's tokens known from its other",
        "thresholds; rates of "
        + ("an H200 in bfloat16." if study.compute.device == "cuda" else "this machine, measured now."),
    ]
    if study.compute.placement == "sharded":
        lines.append(
            "placement 'sharded': all GPUs of a job are busy where transformers can split the models (tp_plan); else "
            "layers lie one after another, and one is busy at a time."
        )
    return "\n".join(lines)
