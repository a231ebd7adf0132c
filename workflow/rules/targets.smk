"""Which files each stage of this study makes and takes."""

from tokenshift.registries.controls import CONTROLS
from tokenshift.registries.trajectories import OWN, Mixed


def trajectory_responses(wildcards):
    """The file whose responses are scored: rollouts of the pair's tuned or base model, or a sweep's cross-samples."""
    mixed = Mixed.parse(wildcards.trajectory)
    if mixed:
        return f"{RESULTS}/cross_samples/{wildcards.pair}/{wildcards.problem_set}/{mixed.sweep}.parquet"
    model = getattr(STUDY.pairs[wildcards.pair], wildcards.trajectory)
    return f"{RESULTS}/rollouts/{model}/{wildcards.problem_set}.parquet"


def trained_on():
    """Problem sets and corpora that models of this study are trained on."""
    models = STUDY.models.values()
    problems = [model.rl.problems for model in models if model.rl]
    corpora = [(model.pretrain or model.sft).corpus for model in models if model.pretrain or model.sft]
    files = [f"{RESULTS}/problems/{name}.parquet" for name in problems]
    return list(dict.fromkeys([*files, *(f"{RESULTS}/corpora/{name}.parquet" for name in corpora)]))


def needed_room():
    """Problems that models have to have room for, with what follows them (tokenshift.config.specs.Fit)."""

    def fit(model, problems, new_tokens, setting):
        root = STUDY.root(model)
        pretrain = STUDY.models[root].pretrain
        context = pretrain.architecture.max_position_embeddings if pretrain else None
        return {
            "problems": problems,
            "prompt": STUDY.prompt_of(model).plain(),
            "root": root,
            "context": context,
            "new_tokens": new_tokens,
            "setting": setting,
        }

    fits = []
    for name, model in STUDY.models.items():
        if model.rl:
            setting, new_tokens = f"models.{name}.rl.max_new_tokens", model.rl.max_new_tokens
            heldout = [model.rl.evaluation.problems] if model.rl.evaluation else []
            fits += [fit(name, f"problems/{used}", new_tokens, setting) for used in [model.rl.problems, *heldout]]
        elif model.pretrain or model.sft:
            corpus = (model.pretrain or model.sft).corpus
            fits.append(fit(name, f"corpora/{corpus}", 0, f"models.{name}.{model.origin}.corpus"))
    for name in STUDY.evaluated():
        for problem_set in STUDY.evaluation.sets:
            new_tokens = STUDY.evaluation.max_new_tokens
            fits.append(fit(name, f"problems/{problem_set}", new_tokens, "evaluation.max_new_tokens"))
    return list({json.dumps(fit, sort_keys=True): fit for fit in fits}.values())


def primary_scores(wildcards):
    """Scores along the primary policy's own responses: a sweep's thresholds are quantiles of them."""
    primary, _ = DIRECTIONS[wildcards.direction]
    return f"{RESULTS}/scores/{wildcards.pair}/{wildcards.problem_set}/{primary}.parquet"


def pilot_run(wildcards):
    """The run that calibrates a control matched on replaced tokens; none for the others."""
    pilot = CONTROLS[wildcards.control].pilot
    folder = f"{RESULTS}/cross_samples/{wildcards.pair}/{wildcards.problem_set}"
    return f"{folder}/{wildcards.direction}-{pilot}.parquet" if pilot else []


def all_scores():
    return [
        f"{RESULTS}/scores/{pair}/{problem_set}/{trajectory}.parquet"
        for pair in STUDY.pairs
        for problem_set in STUDY.evaluation.sets
        for trajectory in STUDY.trajectories(pair)
    ]


def scored_cross_samples():
    """Sweeps of which a step is a scored trajectory."""
    scored = {mixed.sweep for mixed in map(Mixed.parse, STUDY.scoring.trajectories) if mixed}
    return [file for file in all_cross_samples() if Path(file).stem in scored]


def all_checkpoint_scores():
    """Of the pairs whose tuned model was trained here and kept checkpoints."""
    return expand(
        f"{RESULTS}/checkpoint_scores/{{pair}}/{{problem_set}}.parquet",
        pair=[name for name, pair in STUDY.pairs.items() if STUDY.checkpoint_steps(pair.tuned)],
        problem_set=STUDY.evaluation.sets,
    )


def all_cross_samples():
    return expand(
        f"{RESULTS}/cross_samples/{{pair}}/{{problem_set}}/{{direction}}-{{criterion}}.parquet",
        pair=STUDY.cross_sampling.pairs,
        problem_set=STUDY.evaluation.sets,
        direction=STUDY.cross_sampling.directions,
        criterion=STUDY.cross_sampling.all_criteria,
    )


def all_rollouts():
    return expand(
        f"{RESULTS}/rollouts/{{model}}/{{problem_set}}.parquet",
        model=STUDY.evaluated(),
        problem_set=STUDY.evaluation.sets,
    )


def all_vocabularies():
    return expand(f"{RESULTS}/vocabularies/{{pair}}.parquet", pair=STUDY.pairs)


def shown_scores(wildcards):
    """Scores along the responses of the pair's own policies."""
    own = [trajectory for trajectory in OWN if trajectory in STUDY.trajectories(wildcards.pair)]
    return [f"{RESULTS}/scores/{wildcards.pair}/{wildcards.problem_set}/{trajectory}.parquet" for trajectory in own]


def shown_sweeps(wildcards):
    """Sweeps by JS, or by the first criterion of a study without it; none of a pair that is not cross-sampled."""
    criteria = STUDY.cross_sampling.criteria
    if wildcards.pair not in STUDY.cross_sampling.pairs or not criteria:
        return []
    criterion = "js" if "js" in criteria else criteria[0]
    folder = f"{RESULTS}/cross_samples/{wildcards.pair}/{wildcards.problem_set}"
    return [f"{folder}/{direction}-{criterion}.parquet" for direction in STUDY.cross_sampling.directions]


def rl_models():
    """RL-tuned models that are evaluated: one that nothing uses is not trained for its curves."""
    return [model for model in STUDY.evaluated() if STUDY.models[model].origin == "rl"]


def weighted_groups():
    """Compared models by declared name, less those that RL tuned here without a weight of the advantages."""
    compared = STUDY.training.models if STUDY.training else []
    first = {group: STUDY.models[STUDY.replicates(group)[0]] for group in compared}
    return [group for group, model in first.items() if model.rl is None or model.rl.weight]


def weighted_models():
    """RL-tuned models with weighted advantages that are compared with a baseline."""
    return [model for model in rl_models() if STUDY.group(model) in weighted_groups()]


def by_group(models):
    """The models by declared name and seed."""
    groups = {}
    for model in models:
        groups.setdefault(STUDY.group(model), {})[str(STUDY.models[model].seeds[0])] = model
    return groups


def training_groups():
    """Trained and base models by declared name and seed, for the comparison over seeds."""
    base_of = {}
    for model in STUDY.evaluated():
        if STUDY.models[model].from_:
            base_of[STUDY.group(model)] = STUDY.group(STUDY.models[model].from_)
    for pair in STUDY.pairs.values():
        base_of.setdefault(STUDY.group(pair.tuned), STUDY.group(pair.base))
    return {
        "groups": by_group(STUDY.evaluated()),
        "base_of": base_of,
        "baseline_of": STUDY.training.baseline_of if STUDY.training else {},
    }
