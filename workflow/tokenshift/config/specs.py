"""What each script's --spec holds: sections of the study and names, with every value resolved.

The rule of a script hands it the JSON of one of these; the script reads it back with `parse`. A job's result depends on
its spec and its input files alone, so a script has no defaults: a value that is missing is an error.
"""

import json
from typing import Any, Literal, Self

from pydantic import ValidationError

from tokenshift.config.analysis import Analysis, Bootstrap, Measures
from tokenshift.config.compute import Hardware
from tokenshift.config.measurements import Compared, Drafting, ResponseSampling, Truncation
from tokenshift.config.models import Pretrain, Pretrained, Rl, Sft
from tokenshift.config.problems import Corpus, ProblemSet, Prompt
from tokenshift.config.section import Section
from tokenshift.errors import StudyError


class Spec(Section):
    """The spec of any job: hashes of its script with the library's code, and of its environment."""

    code: str
    environment: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """The spec in the JSON `text`. Raises StudyError, naming the keys, when it does not fit or lacks a value."""
        try:
            spec = cls.model_validate(json.loads(text))
        except RecursionError:
            raise StudyError(f"--spec does not fit {cls.__name__}: nested too deeply") from None
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
    """The spec of problems.py; `source` is the hash of the local file that the set is read from."""

    name: str
    problems: ProblemSet
    source: str | None


class CorpusSpec(Spec):
    """The spec of corpus.py; `source` is the hash of the local file that the corpus is read from."""

    name: str
    corpus: Corpus
    source: str | None


class Fit(Section):
    """Room that a model needs: for each of `problems` (such as problems/heldout) and `new_tokens` after it.

    root: the existing model that it was trained from, or is, whose tokenizer and context it has; or the one that is
    trained from nothing, with its context. setting: the key of the study that says how many new tokens.
    """

    problems: str
    prompt: Prompt
    root: str
    context: int | None
    new_tokens: int
    setting: str


class PreflightSpec(Spec):
    """The spec of preflight.py."""

    allow_overlap: bool
    fits: list[Fit]


class FetchSpec(Spec):
    """The spec of fetch_model.py."""

    pretrained: Pretrained


class PairPrompts(Section):
    """The prompts of both models of a pair."""

    base: Prompt
    tuned: Prompt


class VocabularySpec(Spec):
    """The spec of vocabulary.py; `special_tokens` as of the pair. Where it is cross-sampled, stops are compared too."""

    pair: str
    special_tokens: dict[str, str]
    prompts: PairPrompts
    cross_sampled: bool


class TrainingSpec(Spec):
    """The spec of every training script."""

    seed: int
    prompt: Prompt
    compute: Hardware


class PretrainSpec(TrainingSpec):
    """The spec of pretrain.py."""

    pretrain: Pretrain


class SftSpec(TrainingSpec):
    """The spec of sft.py."""

    sft: Sft


class RlSpec(TrainingSpec):
    """The spec of rl.py."""

    rl: Rl


class SamplingSpec(Spec):
    """The spec of every script that samples responses to evaluation problems."""

    seed: int
    evaluation: ResponseSampling
    compute: Hardware


class RolloutsSpec(SamplingSpec):
    """The spec of rollouts.py."""

    prompt: Prompt


class VllmRolloutsSpec(RolloutsSpec):
    """The spec of rollouts_vllm.py: `engine` as of the evaluation, `gpus` those over which the model is split."""

    engine: Literal["vllm"]
    gpus: int


class SweepSpec(SamplingSpec):
    """The spec of either cross-sampling script; `conditioning` as of the scoring."""

    pair: str
    set: str
    direction: str
    drafting: Drafting
    prompts: PairPrompts
    conditioning: str


class CrossSampleSpec(SweepSpec):
    """The spec of cross_sample.py: either quantiles or thresholds."""

    criterion: str
    quantiles: list[float] | None
    thresholds: list[float] | None


class ControlSpec(SweepSpec):
    """The spec of cross_sample_random.py."""

    control: str


class ScoringSpec(Spec):
    """The spec of either scoring script; `truncation` is the sampling distribution of the evaluation."""

    pair: str
    set: str
    prompts: PairPrompts
    conditioning: str
    truncation: Truncation
    compared: Compared
    batch_tokens: int
    chunk_memory_mb: int | None
    compute: Hardware


class ScoreSpec(ScoringSpec):
    """The spec of score.py."""

    trajectory: str


class CheckpointScoresSpec(ScoringSpec):
    """The spec of checkpoint_scores.py: training steps whose checkpoints are compared with the base."""

    steps: list[int]


class AnyTableSpec(Spec):
    """The spec of the script of any table: whether models may have been trained on what they are evaluated on."""

    allow_overlap: bool


class TableSpec(AnyTableSpec):
    """The spec of the scripts of tables that need thresholds or bins."""

    analysis: Measures


class IntervalsSpec(AnyTableSpec):
    """The spec of the scripts of tables that need no more than the settings of their intervals."""

    bootstrap: Bootstrap


class EntropyByJsSpec(TableSpec):
    """The spec of tables/entropy_by_js.py: a confident policy has entropy below `low_entropy`, in nats."""

    low_entropy: float


class PairModels(Section):
    """The models of a pair."""

    base: str
    tuned: str


class PositionProfileSpec(TableSpec):
    """The spec of tables/position_profile.py: the models that wrote the responses of each pair."""

    pairs: dict[str, PairModels]


class TruncationSpec(TableSpec):
    """The spec of tables/truncation.py; as in the spec of the scores."""

    truncation: Truncation
    ablation: list[Truncation]


class ReplacementPositionsSpec(TableSpec):
    """The spec of tables/replacement_positions.py: the largest effective share at which the claims are judged."""

    budget: float


class TrainingGroups(Section):
    """Trained and base models over seeds: of each group (a model as the study file declares it) the model of each seed.

    base_of: the group that a group was trained from. baseline_of: the group that a compared group is compared with.
    """

    groups: dict[str, dict[int, str]]
    base_of: dict[str, str]
    baseline_of: dict[str, str]


class TrainingTableSpec(IntervalsSpec):
    """The spec of tables/training.py."""

    training: TrainingGroups


class TrainingCurvesSpec(AnyTableSpec):
    """The spec of tables/training_curves.py: as in `TrainingGroups`, and the coverage of intervals."""

    groups: dict[str, dict[int, str]]
    confidence: float


class ClaimsSpec(AnyTableSpec):
    """The spec of tables/claims.py: the control of each pair, where it has one; the groups with weighted advantages."""

    control_of: dict[str, str | None]
    training: TrainingGroups
    weighted: list[str]
    analysis: Analysis


class ViewerSpec(Spec):
    """The spec of viewer.py: names, the evaluation's sampling distribution, and what counts as high JS (nats).

    page: hash of the page that the data are put into.
    """

    page: str
    study: str
    pair: str
    set: str
    base: str
    tuned: str
    truncation: Truncation
    high: float


class FigureSpec(Spec):
    """The spec of the scripts of figures that need nothing but their table."""


class PairsFigureSpec(FigureSpec):
    """The spec of a figure that gives each pair a colour: the names of all pairs of the study, drawn or not."""

    pairs: list[str]


class HighFigureSpec(PairsFigureSpec):
    """The spec of a figure that names the positions of high JS: analysis.high, in nats."""

    high: float


class ThresholdsFigureSpec(HighFigureSpec):
    """The spec of a figure that names either threshold of JS: analysis.near_zero, in nats."""

    near_zero: float


class FigureOneSpec(HighFigureSpec):
    """The spec of figures/figure_1.py: the pair and the problem set that it tells of."""

    pair: str
    set: str


class EntropyByJsFigureSpec(PairsFigureSpec):
    """The spec of figures/entropy_by_js.py: as in the spec of its table."""

    low_entropy: float
