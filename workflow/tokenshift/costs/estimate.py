"""What a study will cost: hours, memory and disk of each stage, from measured rates and stated assumptions.

To tell an afternoon from a month before a job is submitted. On a CPU the rate is measured on the spot; all stages of
smollm2 came out within a factor of 1.5 (docs/smollm2); on GPUs, and where responses are shorter or longer than
assumed, expect two or three.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from tokenshift.cluster.resources import BYTES, TRAINING_BYTES, inference_gpus, memory_mb, size_of, training_gpus
from tokenshift.config.study import Study
from tokenshift.costs.known import Known, pieces
from tokenshift.costs.rates import Rates
from tokenshift.errors import StudyError
from tokenshift.policies.forward import WELL_FILLED, WORTH_SHARING

FILLED = 0.4  # of max_new_tokens, by a mean response
DRAWS = 2  # of prompts for a step of dynamic sampling
REUSED = 0.57  # of the tokens of a sweep's thresholds, known from the thresholds before (benchmarks/cross_sampling.md)
PROBLEM = 80  # tokens of a problem that is not at hand
POSITION_BYTES = 120  # of the scores' files (benchmarks/scoring.md)
UNKNOWN_SIZE = 500  # problems of a set whose size is known only once it is read
SAVED_STATES = 2


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
        sampled = [(self._sampling_seconds(name, samples), [name]) for name in study.evaluated()]
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
                (2 * len(study.checkpoint_steps(pair.tuned)) * self._scoring_seconds(pair.tuned), [pair.tuned])
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
