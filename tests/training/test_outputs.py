import yaml

from tokenshift.config.compute import Hardware
from tokenshift.config.models import Pretrain, Rl
from tokenshift.config.problems import Prompt
from tokenshift.config.specs import PretrainSpec, RlSpec
from tokenshift.training.outputs import model_card

COMMON = {"code": "", "environment": "", "seed": 7, "prompt": Prompt(), "compute": Hardware()}


def test_a_card_says_how_the_model_was_made():
    rl = Rl(recipe="dapo", problems="sums", steps=3)
    card = model_card(RlSpec(rl=rl, **COMMON), "rl", "base", "sums")
    _, metadata, text = card.split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "base_model": "base",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tokenshift", "rl"],
    }
    assert "by the recipe `dapo` from base on `sums`, seed 7" in text
    assert "| `steps` | `3` |" in text
    pretrain = Pretrain(corpus="sums", steps=3, learning_rate=1e-3)
    card = model_card(PretrainSpec(pretrain=pretrain, **COMMON), "pretrain", None, "sums")
    assert "from random weights on `sums`" in card
