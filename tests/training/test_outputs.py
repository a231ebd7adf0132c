import yaml

from tokenshift.training.outputs import model_card


def test_a_card_says_how_the_model_was_made():
    spec = {"rl": {"recipe": "dapo", "steps": 3, "weight": None}, "seed": 7, "prompt": {"template": "{problem}="}}
    card = model_card("rl", "base", "sums", spec)
    _, metadata, text = card.split("---\n", 2)
    assert yaml.safe_load(metadata) == {
        "base_model": "base",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tokenshift", "rl"],
    }
    assert "by the recipe `dapo` from base on `sums`, seed 7" in text
    assert "| `steps` | `3` |" in text
    assert "from random weights on `sums`" in model_card("pretrain", None, "sums", {**spec, "pretrain": {}})
