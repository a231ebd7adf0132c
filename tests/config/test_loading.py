import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tokenshift.config.loading import load_study
from tokenshift.config.problems import Prompt
from tokenshift.config.recipes import DAPO
from tokenshift.config.study import Study
from tokenshift.errors import StudyError

ROOT = Path(__file__).parents[2]
SMALLEST: dict[str, Any] = {
    "name": "smallest",
    "problems": {"given": {"jsonl": {"path": "given.jsonl"}}, "others": {"jsonl": {"path": "others.jsonl"}}},
    "corpora": {"texts": {"jsonl": {"path": "texts.jsonl"}}},
    "models": {
        "base": {"pretrained": {"path": "base"}},
        "dapo": {"from": "base", "rl": {"recipe": "dapo", "problems": "given", "steps": 10}},
        "boost": {
            "from": "base",
            "rl": {"recipe": "dapo", "problems": "given", "steps": 10, "weight": {"divergence": {"alpha": 20}}},
            "seeds": [1, 2],
        },
        "sft": {"from": "base", "sft": {"corpus": "texts", "steps": 5, "learning_rate": 1e-3}},
    },
    "pairs": {"dapo": {"base": "base", "tuned": "dapo", "control": "sft"}, "sft": {"base": "base", "tuned": "sft"}},
    "evaluation": {"sets": ["given"]},
    "cross_sampling": {"pairs": ["dapo"], "thresholds": [0.1, 0.2]},
}


def changed(key: str, value: Any) -> dict[str, Any]:
    """SMALLEST with `value` at the dotted `key`; sections on the way are made where they are missing."""
    study = copy.deepcopy(SMALLEST)
    *sections, last = key.split(".")
    section = study
    for name in sections:
        section = section.setdefault(name, {})
    section[last] = value
    return study


def refusal(path: Path) -> str:
    with pytest.raises(StudyError) as error:
        load_study(str(path))
    return str(error.value)


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_a_study_is_read_with_its_defaults(tmp_path):
    study = load_study(str(written(tmp_path, yaml.safe_dump(SMALLEST))))
    assert (study.evaluation.samples, study.evaluation.top_p) == (32, 0.7)
    assert study.models["dapo"].seeds == [0]


def test_every_study_of_the_repository_loads():
    names = sorted(path.stem for path in (ROOT / "config/studies").glob("*.yaml"))
    assert "miniature" in names
    assert [load_study(name, ROOT).name for name in names] == names


def test_a_recipe_fills_what_is_not_given(tmp_path):
    study = changed("models.dapo.rl.clip_high", 0.3) | {"training": None}
    rl = load_study(str(written(tmp_path, yaml.safe_dump(study)))).models["dapo"].rl
    filled = rl.model_dump(mode="json")
    assert {key: filled[key] for key in DAPO} == DAPO | {"clip_high": 0.3}


def test_a_models_prompt_is_filled_from_the_studys_and_inherited(tmp_path):
    study = changed("models.base.prompt", {"system": "Think."}) | {"prompt": {"template": "Q: {problem}"}}
    loaded = load_study(str(written(tmp_path, yaml.safe_dump(study))))
    assert loaded.prompt_of("base") == loaded.prompt_of("boost-s1") == Prompt(template="Q: {problem}", system="Think.")
    assert loaded.prompt == Prompt(template="Q: {problem}")
    study = changed("models.dapo.prompt", {"chat": False})
    loaded = load_study(str(written(tmp_path, yaml.safe_dump(study))))
    assert loaded.prompt_of("dapo") == Prompt(chat=False)
    assert loaded.prompt_of("base") == loaded.prompt_of("sft") == Prompt()


def test_several_seeds_are_several_models(tmp_path):
    study = load_study(str(written(tmp_path, yaml.safe_dump(SMALLEST, sort_keys=False))))
    assert list(study.models) == ["base", "dapo", "boost-s1", "boost-s2", "sft"]
    assert study.replicates("boost") == ["boost-s1", "boost-s2"]
    assert (study.group("boost-s2"), study.group("dapo")) == ("boost", "dapo")
    assert study.models["boost-s2"].seeds == [2]


MISTAKES = [
    ("evaluation.tempratur", 1.0, "evaluation.tempratur: unknown key (did you mean 'temperature'?)"),
    ("evalution", {}, "evalution: unknown key (did you mean 'evaluation'?)"),
    ("models.dapo.rl.clip_hihg", 0.3, "models.dapo.rl.clip_hihg: unknown key (did you mean 'clip_high'?)"),
    ("models.boost.rl.weight.divergence.alhpa", 1, "weight.divergence.alhpa: unknown key (did you mean 'alpha'?)"),
    (
        "models.boost.rl.weight.sibling",
        {"c": 0.2},
        "of divergence, sibling, top_entropy; found divergence, s",
    ),
    (
        "models.boost.rl.responses_per_prompt",
        1,
        "per_prompt: input should be greater than or equal to 2, not 1",
    ),
    ("analysis.claims.sparsity", 0.9, "analysis.claims.sparsity: unknown key (did you mean 'sparse'?)"),
    ("evaluation.samples", "many", "evaluation.samples: input should be a valid integer, unable to parse"),
    ("evaluation.samples", 0, "evaluation.samples: input should be greater than or equal to 1, not 0"),
    ("evaluation.top_p", 1.5, "evaluation.top_p: input should be less than or equal to 1, not 1.5"),
    ("evaluation.sets", [], "evaluation.sets: list should have at least 1 item"),
    ("evaluation.sets", ["givne"], "evaluation.sets: no problem set is called 'givne' (did you mean 'given'?)"),
    ("seed", -1, "seed: input should be greater than or equal to 0, not -1"),
    ("name", "../up", "name: string should match pattern"),
    ("prompt.template", "Solve!", "prompt: template must hold {problem} exactly once"),
    ("prompt", {"chat": False, "system": "Think."}, "prompt: system needs `chat: true`"),
    ("models.dapo.prompt", {"chat": False, "chat_template": "x"}, "prompt: chat_template needs `chat: true`"),
    ("models.dapo.prompt.stops", [], "models.dapo.prompt.stops: value should have at least 1 item"),
    ("models.dapo.prompt.stop", ["a"], "models.dapo.prompt.stop: unknown key (did you mean 'stops'?)"),
    ("scoring.conditioning", "base", "scoring.conditioning: input should be 'responder' or 'own', not 'base'"),
    ("problems.given.exclude", ["othrs"], "problems.given.exclude: no problem set is called 'othrs'"),
    ("problems.given", {"size": 3}, "problems.given: needs exactly one of reasoning_gym, jsonl, datasets; found none"),
    (
        "problems.given.datasets",
        {"path": "x"},
        "problems.given: needs exactly one of reasoning_gym, jsonl, datasets; found jsonl, datasets",
    ),
    ("problems.more", {"reasoning_gym": {"task": "x"}}, "problems.more: a reasoning_gym set needs a size"),
    ("problems.given.exclude", ["given"], "`exclude` is cyclic: given -> given"),
    ("corpora.texts", {"worked_solutions": {}}, "corpora.texts: worked_solutions needs `problems`"),
    ("corpora.texts.problems", "givn", "corpora.texts.problems: no problem set is called 'givn'"),
    ("models.dapo.rl.recipe", "ppo", "models.dapo.rl.recipe: input should be 'dapo', 'grpo' or 'dr_grpo', not 'ppo'"),
    ("models.more", {"from": "base", "rl": {"problems": "given", "steps": 1}}, "rl.recipe: this key is needed"),
    ("models.dapo.rl.problems", "train", "models.dapo.rl.problems: no problem set is called 'train'"),
    ("models.dapo.rl.mini_batch_prompts", 100, "mini_batch_prompts (100) must divide prompts_per_step (512)"),
    ("models.boost.rl.mini_batch_prompts", 512, "the divergence weight cannot act"),
    ("models.boost.rl.weight.divergence.strength", 2.5, "divergence.strength: input should be less than 2, not 2.5"),
    ("models.boost.rl.weight.divergence.strength", -2, "divergence.strength: input should be greater than -2, not -2"),
    ("models.dapo.rl.overlong", {"buffer": 99999}, "overlong.buffer is larger than max_new_tokens"),
    ("models.sft.sft.corpus", "text", "models.sft.sft.corpus: no corpus is called 'text' (did you mean 'texts'?)"),
    ("models.sft.pretrained", {"path": "x"}, "models.sft: needs exactly one of pretrained, pretrain, sft, rl; found"),
    ("models.base.from", "sft", "models.base: `from` is not used with pretrained"),
    ("models.more", {"sft": {"corpus": "texts", "steps": 1, "learning_rate": 1}}, "models.more: `from` is missing"),
    ("models.sft.from", "sft", "models: `from` is cyclic: sft -> sft"),
    ("models.boost.seeds", [1, 1], "models.boost: seeds repeat"),
    ("models.boost.seeds", [], "models.boost.seeds: list should have at least 1 item"),
    ("models.boost-s2", {"pretrained": {"path": "x"}}, "its seed 2 would be called boost-s2, which exists"),
    ("pairs.dapo.tuned", "dpo", "pairs.dapo.tuned: no model is called 'dpo' (did you mean 'dapo'?)"),
    ("pairs.dapo.tuned", "boost", "pairs.dapo.tuned: model 'boost' has several seeds; name one of boost-s1, boost-s2"),
    ("models.sft.from", "boost", "models.sft.from: model 'boost' has several seeds; name one of boost-s1, boost-s2"),
    ("pairs.dapo.tuned", "base", "pairs.dapo: base and tuned are both 'base'"),
    ("pairs.dapo.control", "sfft", "pairs.dapo.control: no pair is called 'sfft' (did you mean 'sft'?)"),
    ("pairs.sft", {"base": "sft", "tuned": "dapo"}, "pairs.dapo.control: 'sft' has another base"),
    ("cross_sampling.pairs", ["dpo"], "cross_sampling.pairs: no pair is called 'dpo' (did you mean 'dapo'?)"),
    ("cross_sampling.thresholds", [0.2, 0.1], "thresholds out of order: [0.2, 0.1] must increase"),
    ("cross_sampling.quantiles", [0.5], "cross_sampling: needs exactly one of quantiles, thresholds; found"),
    ("cross_sampling.thresholds", [0.1, 0.7], "thresholds: 0.7 lies above the largest JS, ln 2 = 0.6931"),
    ("cross_sampling.criteria", ["js", "kl_primary_intervention"], "thresholds are of js alone; give quantiles"),
    ("cross_sampling.criteria", ["js_nuclues"], "criteria.0: input should be 'js', 'js_nucleus'"),
    ("cross_sampling.random_controls", ["random_effective"], "random_effective is calibrated with random; add it"),
    ("scoring.trajectories", ["tuned", "forward"], "scoring.trajectories.1: string should match pattern"),
    ("scoring.trajectories", ["tuned", "tuned"], "scoring: trajectories repeats tuned"),
    ("scoring.trajectories", ["forward-js-9"], "scoring.trajectories: forward-js-9: the sweep has steps 0 to 3"),
    ("scoring.trajectories", ["forward-sj-1"], "no criterion of cross_sampling is called 'sj' (did you mean 'js'?)"),
    ("scoring.ablation", [{"top_p": 0}], "scoring.ablation.0.top_p: input should be greater than 0, not 0"),
    ("compute.placement", "sharded", "compute: placement 'sharded' needs device cuda"),
    ("analysis.entropy_edges", [0.0, 0.2, 0.1], "entropy_edges out of order: [0.0, 0.2, 0.1] must increase"),
    ("analysis.js_edges", [0.0, 0.2, 0.1], "js_edges out of order: [0.0, 0.2, 0.1] must increase"),
    ("analysis.high", 0.001, "analysis: high (0.001) is below near_zero (0.01)"),
    ("analysis.top_k", [1, 20], "analysis.top_k: 20 is more than the 10 candidates that scoring.top_k stores"),
    ("training", {"baseline": "dpao", "models": ["boost"]}, "training: no model is called 'dpao' (did you mean"),
    ("training", {"baseline": "dapo", "models": ["boost"]}, "must have the same seeds"),
    ("training", {"baseline": "dapo", "models": ["sft"], "baselines": {"boost": "sft"}}, "boost, which `models` lacks"),
    ("training", {"baseline": "dapo", "models": ["sft"], "baselines": {"sft": "spt"}}, "no model is called 'spt'"),
]


@pytest.mark.parametrize(("key", "value", "message"), MISTAKES)
def test_every_mistake_is_one_line(tmp_path, key, value, message):
    path = written(tmp_path, yaml.safe_dump(changed(key, value)))
    found = refusal(path)
    assert message in found
    assert found.startswith(f"{path}: ")
    assert "\n" not in found


@pytest.mark.parametrize("key", ["name", "problems", "models", "pairs", "evaluation"])
def test_needed_keys(tmp_path, key):
    study = {name: section for name, section in SMALLEST.items() if name != key}
    assert refusal(written(tmp_path, yaml.safe_dump(study))).endswith(f"{key}: this key is needed")


def test_longer_cycles_are_named_whole(tmp_path):
    models = copy.deepcopy(SMALLEST)
    models["models"]["sft"]["from"] = "dapo"
    models["models"]["dapo"]["from"] = "sft"
    assert "models: `from` is cyclic: dapo -> sft -> dapo" in refusal(written(tmp_path, yaml.safe_dump(models)))
    problems = copy.deepcopy(SMALLEST)
    problems["problems"]["given"]["exclude"] = ["others"]
    problems["problems"]["others"]["exclude"] = ["given"]
    found = refusal(written(tmp_path, yaml.safe_dump(problems)))
    assert "problems: `exclude` is cyclic: given -> others -> given" in found


def test_several_mistakes_are_a_line_each(tmp_path):
    study = changed("evaluation.top_p", 2.0) | {"sede": 1}
    lines = refusal(written(tmp_path, yaml.safe_dump(study))).split("\n")
    assert len(lines) == 2
    assert all(line.startswith(f"{tmp_path}/study.yaml: ") for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "line 2: key 'name' is given twice"),
        ("name: a\nevaluation:\n  sets: [x]\n  sets: [y]\n", "line 4: key 'sets' is given twice"),
        ("name: [a\n", "is not valid YAML"),
        ("- name\n", "must hold a mapping of sections, not list"),
        ("", "must hold a mapping of sections, not NoneType"),
    ],
)
def test_files_that_are_no_studies(tmp_path, text, message):
    found = refusal(written(tmp_path, text))
    assert message in found
    assert str(tmp_path) in found
    assert "\n" not in found


def test_a_missing_study_names_the_nearest(tmp_path):
    with pytest.raises(StudyError, match=r"no study file .*minature.yaml \(did you mean 'miniature'\?\)"):
        load_study("minature", ROOT)
    with pytest.raises(StudyError, match=r"no study file .*nowhere\.yaml"):
        load_study(str(tmp_path / "nowhere.yaml"))


def numbers_in(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each integer or number in a JSON schema, with its place."""
    if schema.get("type") in ("integer", "number") and not {"enum", "const"} & schema.keys():
        yield where, schema
    for key, inner in schema.items():
        for part in inner if isinstance(inner, list) else [inner]:
            if isinstance(part, dict):
                yield from numbers_in(part, f"{where}/{key}")


def test_every_number_of_a_study_has_both_bounds():
    found = dict(numbers_in(Study.model_json_schema()))
    assert len(found) > 80
    for where, number in found.items():
        assert {"minimum", "exclusiveMinimum"} & number.keys(), where
        assert {"maximum", "exclusiveMaximum"} & number.keys(), where


def test_messages_are_cut_to_a_line_each(tmp_path):
    study = changed("evaluation.samples", "x" * 10_000) | {"k" * 10_000: 1}
    lines = refusal(written(tmp_path, yaml.safe_dump(study))).splitlines()
    assert len(lines) == 2
    assert max(map(len, lines)) < 600
