"""Checks across the sections of a study: every name that one section uses exists in another, and no cycle."""

from collections.abc import Iterable

from tokenshift.config.replicates import without_seed
from tokenshift.config.study import Study
from tokenshift.errors import nearest
from tokenshift.registries.trajectories import Mixed


def check_names(study: Study) -> None:
    """Raise ValueError at the first name of `study` that refers to nothing, and at cyclic `from` or `exclude`."""
    _check_problems_and_corpora(study)
    _check_models(study)
    _check_pairs(study)
    _check_uses(study)


def _require(name: str, known: Iterable[str], where: str, kind: str) -> None:
    known = list(known)
    if name not in known:
        raise ValueError(f"{where}: no {kind} is called '{name}'{nearest(name, known)}")


def _require_model(study: Study, name: str, where: str) -> None:
    replicates = study.replicates(name)
    if name not in study.models and replicates:
        raise ValueError(f"{where}: model '{name}' has several seeds; name one of {', '.join(replicates)}")
    _require(name, study.models, where, "model")


def _check_acyclic(edges: dict[str, list[str]], where: str) -> None:
    """Raise ValueError naming the cycle, if following `edges` from any name comes back to it."""
    finished: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            raise ValueError(f"{where} is cyclic: {' -> '.join([*path[path.index(name) :], name])}")
        if name not in finished:
            for following in edges[name]:
                visit(following, [*path, name])
            finished.add(name)

    for name in edges:
        visit(name, [])


def _check_problems_and_corpora(study: Study) -> None:
    for name, problems in study.problems.items():
        for excluded in problems.exclude:
            _require(excluded, study.problems, f"problems.{name}.exclude", "problem set")
    _check_acyclic({name: entry.exclude for name, entry in study.problems.items()}, "problems: `exclude`")
    for name, corpus in study.corpora.items():
        if corpus.problems is not None:
            _require(corpus.problems, study.problems, f"corpora.{name}.problems", "problem set")


def _check_models(study: Study) -> None:
    for name, model in study.models.items():
        if model.from_ is not None:
            _require_model(study, model.from_, f"models.{name}.from")
        for supervised in (model.pretrain, model.sft):
            if supervised is not None:
                _require(supervised.corpus, study.corpora, f"models.{name}.{model.origin}.corpus", "corpus")
        if model.rl is not None:
            _require(model.rl.problems, study.problems, f"models.{name}.rl.problems", "problem set")
            if model.rl.evaluation is not None:
                where = f"models.{name}.rl.evaluation.problems"
                _require(model.rl.evaluation.problems, study.problems, where, "problem set")
    edges = {name: [model.from_] if model.from_ else [] for name, model in study.models.items()}
    _check_acyclic(edges, "models: `from`")


def _check_pairs(study: Study) -> None:
    for name, pair in study.pairs.items():
        _require_model(study, pair.base, f"pairs.{name}.base")
        _require_model(study, pair.tuned, f"pairs.{name}.tuned")
        if pair.base == pair.tuned:
            raise ValueError(f"pairs.{name}: base and tuned are both '{pair.base}'")
        if pair.control is not None:
            _require(pair.control, study.pairs, f"pairs.{name}.control", "pair")
            if study.pairs[pair.control].base != pair.base:
                raise ValueError(f"pairs.{name}.control: '{pair.control}' has another base")


def _check_uses(study: Study) -> None:
    for name in study.evaluation.sets:
        _require(name, study.problems, "evaluation.sets", "problem set")
    for name in study.cross_sampling.pairs:
        _require(name, study.pairs, "cross_sampling.pairs", "pair")
    for name in study.scoring.trajectories:
        mixed = Mixed.parse(name)
        if mixed:
            _check_mixed(study, mixed, f"scoring.trajectories: {name}")
    if max(study.analysis.top_k) > study.scoring.top_k:
        raise ValueError(
            f"analysis.top_k: {max(study.analysis.top_k)} is more than the {study.scoring.top_k} candidates that "
            f"scoring.top_k stores"
        )
    if study.training is not None:
        known = {without_seed(name) for name in study.models} | set(study.models)
        named = (study.training.baseline, *study.training.models, *study.training.baselines.values())
        for name in named:
            if not study.replicates(name):
                _require(name, known, "training", "model")
        if len({_seed_of(study, name) for name in named}) > 1:
            raise ValueError("training: the compared models and the baseline must have the same seeds")


def _check_mixed(study: Study, trajectory: Mixed, where: str) -> None:
    """A trajectory of cross-samples needs the sweep that it is a step of."""
    sweeps = study.cross_sampling
    if not sweeps.pairs:
        raise ValueError(f"{where} needs cross_sampling.pairs")
    _require(trajectory.direction, sweeps.directions, where, "direction of cross_sampling")
    _require(trajectory.criterion, sweeps.all_criteria, where, "criterion of cross_sampling")
    last = len(sweeps.quantiles or sweeps.thresholds or []) + 1
    if trajectory.step > last:
        raise ValueError(f"{where}: the sweep has steps 0 to {last}")


def _seed_of(study: Study, name: str) -> tuple[int, ...]:
    return tuple(sorted(study.models[replicate].seeds[0] for replicate in study.replicates(name)))
