"""What each script's --spec holds: sections of the study and names, with every value resolved.

The rule of a script hands it the JSON of one of these; the script reads it back with `parse`. A job's result depends on
its spec and its input files alone, so a script has no defaults: a value that is missing is an error.
"""

import json
from typing import Any, Self

from pydantic import ValidationError

from tokenshift.config.compute import Hardware
from tokenshift.config.measurements import Compared, Drafting, ResponseSampling, Truncation
from tokenshift.config.models import Pretrain, Pretrained, Rl, Sft
from tokenshift.config.problems import Corpus, ProblemSet, Prompt
from tokenshift.config.section import Section
from tokenshift.errors import StudyError


class Spec(Section):
    """Of any job: hashes of its script with the library's code, and of its environment."""

    code: str
    environment: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The spec in the JSON `text`. Raises StudyError, naming the keys, when it does not fit or lacks a value."""
        try:
            spec = cls.model_validate(json.loads(text))
        except ValueError as error:
            details = error.errors() if isinstance(error, ValidationError) else [{"loc": (), "msg": str(error)}]
            listed = [f"{'.'.join(map(str, detail['loc'])) or 'JSON'}: {detail['msg'].lower()}" for detail in details]
            raise StudyError(f"--spec does not fit {cls.__name__}: {'; '.join(listed)}") from None
        if missing := _unset(spec):
            raise StudyError(f"--spec lacks {', '.join(missing)}: a script has no defaults of its own")
        return spec


def _unset(value: Any, within: str = "") -> list[str]:
    """Dotted keys of `value`, a section or a collection of them, that took their default."""
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return [key for name, part in parts for key in _unset(part, f"{within}{name}.")]
    if not isinstance(value, Section):
        return []
    missing = [f"{within}{name}" for name in type(value).model_fields if name not in value.model_fields_set]
    return missing + [key for name, part in value for key in _unset(part, f"{within}{name}.")]


class ProblemsSpec(Spec):
    """Of problems.py; `source` is the hash of the local file that the set is read from."""

    name: str
    problems: ProblemSet
    source: str | None


class CorpusSpec(Spec):
    """Of corpus.py; `source` is the hash of the local file that the corpus is read from."""

    name: str
    corpus: Corpus
    source: str | None


class FetchSpec(Spec):
    """Of fetch_model.py."""

    pretrained: Pretrained


class VocabularySpec(Spec):
    """Of vocabulary.py."""


class TrainingSpec(Spec):
    """Of every training script."""

    seed: int
    prompt: Prompt
    compute: Hardware


class PretrainSpec(TrainingSpec):
    """Of pretrain.py."""

    pretrain: Pretrain


class SftSpec(TrainingSpec):
    """Of sft.py."""

    sft: Sft


class RlSpec(TrainingSpec):
    """Of rl.py."""

    rl: Rl


class RolloutsSpec(Spec):
    """Of rollouts.py."""

    seed: int
    prompt: Prompt
    evaluation: ResponseSampling
    compute: Hardware


class SweepSpec(RolloutsSpec):
    """Of either cross-sampling script."""

    pair: str
    set: str
    direction: str
    drafting: Drafting


class CrossSampleSpec(SweepSpec):
    """Of cross_sample.py: either quantiles or thresholds."""

    criterion: str
    quantiles: list[float] | None
    thresholds: list[float] | None


class ControlSpec(SweepSpec):
    """Of cross_sample_random.py."""

    control: str


class ScoringSpec(Spec):
    """Of either scoring script; `truncation` is the sampling distribution of the evaluation."""

    pair: str
    set: str
    truncation: Truncation
    compared: Compared
    batch_tokens: int
    chunk_memory_mb: int
    compute: Hardware


class ScoreSpec(ScoringSpec):
    """Of score.py."""

    trajectory: str


class CheckpointScoresSpec(ScoringSpec):
    """Of checkpoint_scores.py: training steps whose checkpoints are compared with the base."""

    steps: list[int]
