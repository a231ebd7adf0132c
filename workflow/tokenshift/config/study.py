"""A study file: every key with its type, range, default and meaning, here and in the modules that this one imports.

They are the only places with defaults: scripts receive resolved values. workflow/schemas/study.schema.json and
config/README.md are generated from them (`make config`).
"""

from typing import Any

from pydantic import Field, model_validator

from tokenshift.config.analysis import Analysis, Training
from tokenshift.config.compute import Compute
from tokenshift.config.measurements import CrossSampling, Evaluation, Pair, Scoring
from tokenshift.config.models import Model
from tokenshift.config.problems import Corpus, ProblemSet, Prompt
from tokenshift.config.replicates import is_replicate, replicate, without_seed
from tokenshift.config.section import Name, Section, Seed
from tokenshift.registries.trajectories import OWN


class Study(Section):
    """One study: one file under config/studies, one folder under results."""

    name: Name = Field(description="Name of the study and of its folder under results.")
    description: str = Field("", description="One sentence for the report.")
    seed: Seed = Field(0, description="Seed of all sampling.")
    prompt: Prompt = Field(Prompt(), description="Prompt of training and evaluation, of all models without their own.")
    problems: dict[Name, ProblemSet] = Field(min_length=1, description="Problem sets by name.")
    corpora: dict[Name, Corpus] = Field({}, description="Training corpora by name.")
    models: dict[Name, Model] = Field(min_length=1, description="Models by name.")
    pairs: dict[Name, Pair] = Field(min_length=1, description="Pairs by name.")
    allow_overlap: bool = Field(
        False,
        description="Let models be trained on problems that they are evaluated on; every table and the report say so.",
    )
    evaluation: Evaluation = Field(description="Sampling of the responses.")
    scoring: Scoring = Field(Scoring(), description="Teacher-forced scoring.")
    cross_sampling: CrossSampling = Field(CrossSampling(), description="Two-policy decoding.")
    training: Training | None = Field(None, description="Comparison of trained models; null for none.")
    analysis: Analysis = Field(Analysis(), description="Tables and claims.")
    compute: Compute = Field(Compute(), description="Device, precision and resources.")

    @model_validator(mode="before")
    @classmethod
    def _expand_seeds(cls, given: Any) -> Any:
        """Replace a model with several seeds by one model per seed."""
        if not isinstance(given, dict) or not isinstance(given.get("models"), dict):
            return given
        models: dict[str, Any] = {}
        for name, model in given["models"].items():
            seeds = model.get("seeds") if isinstance(model, dict) else None
            if isinstance(seeds, list) and 1 < len(seeds) <= 1000 and len(set(map(str, seeds))) == len(seeds):
                for seed in seeds:
                    replicated = replicate(name, seed)
                    if replicated in given["models"]:
                        raise ValueError(f"models.{name}: its seed {seed} would be called {replicated}, which exists")
                    models[replicated] = model | {"seeds": [seed]}
            else:
                models[name] = model
        return given | {"models": models}

    @model_validator(mode="before")
    @classmethod
    def _complete_prompts(cls, given: Any) -> Any:
        """Fill in the prompt of each model that has one with the study's."""
        if not isinstance(given, dict) or not isinstance(given.get("models"), dict):
            return given
        common = given.get("prompt") or {}
        common = common.model_dump() if isinstance(common, Prompt) else common
        models = {
            name: model | {"prompt": common | model["prompt"]}
            if isinstance(model, dict) and isinstance(model.get("prompt"), dict) and isinstance(common, dict)
            else model
            for name, model in given["models"].items()
        }
        return given | {"models": models}

    @model_validator(mode="after")
    def _one_draft_length(self) -> "Study":
        """Refuse draft lengths from measured costs where several processes have to choose the same."""
        if self.compute.placement == "sharded" and self.cross_sampling.draft is None:
            raise ValueError(
                "cross_sampling.draft: null takes costs measured by each process, and placement 'sharded' may have "
                "several, which must agree: give a number"
            )
        return self

    def prompt_of(self, model: str) -> Prompt:
        """The prompt of `model`: its own, or that of the model it is trained from, or the study's."""
        entry = self.models[model]
        if entry.prompt is not None:
            return entry.prompt
        return self.prompt_of(entry.from_) if entry.from_ else self.prompt

    def root(self, model: str) -> str:
        """The model without a `from` that the training of `model` started from; itself, if it has none."""
        before = self.models[model].from_
        return self.root(before) if before else model

    def runs_code_of(self, model: str) -> bool:
        """Whether `model`, or the one that its training started from, may run code of its own."""
        existing = self.models[self.root(model)].pretrained
        return existing is not None and existing.remote_code

    def replicates(self, model: str) -> list[str]:
        """Names of the trained models that `model` stands for: itself, or one per seed."""
        if model in self.models:
            return [model]
        return [name for name in self.models if is_replicate(name, model)]

    def group(self, model: str) -> str:
        """Name under which the study file declares `model`: without the seed, where it is one of several."""
        declared = without_seed(model)
        return declared if model == replicate(declared, self.models[model].seeds[0]) else model

    def evaluated(self) -> list[str]:
        """Models with rollouts: of every pair, and of the training comparison with what they are trained from."""
        of_training = self.training.baseline_of if self.training else {}
        compared = dict.fromkeys([*of_training.values(), *of_training])
        trained = [replicate for name in compared for replicate in self.replicates(name)]
        origins = [self.models[name].from_ for name in trained]
        paired = [name for pair in self.pairs.values() for name in (pair.base, pair.tuned)]
        return list(dict.fromkeys([*paired, *filter(None, origins), *trained]))

    def trajectories(self, pair: str) -> list[str]:
        """Whose responses are scored of `pair`: cross-samples only where it is cross-sampled."""
        mixed = pair in self.cross_sampling.pairs
        return [name for name in self.scoring.trajectories if mixed or name in OWN]

    def checkpoint_steps(self, model: str) -> list[int]:
        """Training steps of which `model` has a checkpoint, the final one included if it was trained here; or none."""
        entry = self.models[model]
        if entry.pretrained is not None:
            return sorted(entry.pretrained.checkpoints)
        run = entry.rl or entry.sft
        if run is None or run.checkpoint_every is None:
            return []
        return sorted({*range(run.checkpoint_every, run.steps + 1, run.checkpoint_every), run.steps})
