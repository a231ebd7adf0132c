import json

import polars as pl
import pytest
import torch

from tiny_training import OPTIMISATION, file_bytes, start, tiny_model
from tokenshift.config.models import Sft
from tokenshift.config.problems import Prompt
from tokenshift.errors import StudyError
from tokenshift.training.batches import pad
from tokenshift.training.encoding import encode_examples, require_context
from tokenshift.training.log_probs import TokenModel
from tokenshift.training.pretraining import character_tokenizer
from tokenshift.training.run import Run
from tokenshift.training.supervised import negative_log_likelihood, one_cycle, train, warmup_then_linear

CORPUS = pl.DataFrame(
    {
        "problem_id": ["a", "b", "c", "d"],
        "problem": ["1+2", "2+2", "1+1+1", "2"],
        "solution": ["=3", "=4", "=2+1=3", "=2"],
        "manner": ["plain"] * 4,
    }
)
TOKENIZER = character_tokenizer(["1234+=:"])


def examples(learn_prompt: bool):
    return encode_examples(CORPUS, TOKENIZER, Prompt(template="{problem}:", chat=False), learn_prompt)


@pytest.mark.parametrize("learn_prompt", [True, False])
def test_the_loss_is_transformers_own(learn_prompt):
    chosen, model = examples(learn_prompt), tiny_model(len(TOKENIZER))
    longest = max(len(example.token_ids) for example in chosen)
    tokens, labels = torch.zeros(4, longest, dtype=torch.long), torch.full((4, longest), -100)
    for row, (problem, solution) in enumerate(CORPUS.select("problem", "solution").iter_rows()):
        prompt, answer = TOKENIZER(f"{problem}:").input_ids, [*TOKENIZER(solution).input_ids, 1]
        learned = [*prompt, *answer] if learn_prompt else [-100] * len(prompt) + answer
        tokens[row, : len(learned)], labels[row, : len(learned)] = (
            torch.tensor([*prompt, *answer]),
            torch.tensor(learned),
        )
    expected = model(input_ids=tokens, attention_mask=tokens != 0, labels=labels).loss
    batch = pad([e.token_ids for e in chosen], [e.first for e in chosen], model.device)
    torch.testing.assert_close(negative_log_likelihood(TokenModel(model), batch, int(batch.mask.sum())), expected)


def run(folder, **overrides):
    sizes = {"steps": 5, "batch_size": 4, "micro_batch_size": 3, "micro_batch_tokens": 1000} | overrides
    settings = Sft(**(OPTIMISATION.plain() | {"corpus": "sums"} | sizes))
    engine = start(tiny_model(len(TOKENIZER)), settings)
    depends_on = {"sft": settings.plain()}
    with Run(folder.with_suffix(".state"), depends_on, engine, TOKENIZER, "a card", save_every=2) as training:
        train(engine, examples(False), settings, seed=7, checkpoint_every=2, run=training)
        training.publish(folder)
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_repeats_to_the_byte(tmp_path):
    rows = run(tmp_path / "first")
    run(tmp_path / "again")
    first = file_bytes(tmp_path / "first")
    assert first == file_bytes(tmp_path / "again")
    checkpoints = sorted(folder.name for folder in (tmp_path / "first" / "checkpoints").iterdir())
    assert checkpoints == ["step-000002", "step-000004", "step-000005"]
    assert first["model.safetensors"] == first["checkpoints/step-000005/model.safetensors"]
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_micro_batches_do_not_change_the_losses(tmp_path):
    whole, cut = (run(tmp_path / str(size), micro_batch_size=size) for size in (4, 1))
    assert [row["loss"] for row in whole] == pytest.approx([row["loss"] for row in cut], rel=1e-4)


def test_learning_rates():
    def rates(schedule, steps):
        optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
        scheduler, seen = schedule(optimiser), []
        for _ in range(steps):
            seen.append(scheduler.get_last_lr()[0])
            optimiser.step()
            scheduler.step()
        return seen

    linear = rates(lambda optimiser: warmup_then_linear(optimiser, 20), 20)
    assert linear[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert linear[-1] == pytest.approx(2.0 / 18)
    cycle = rates(lambda optimiser: one_cycle(optimiser, 2.0, 20), 20)
    assert max(cycle) == pytest.approx(2.0)
    assert cycle.index(max(cycle)) == 5
    assert cycle[-1] < 1e-3


def test_a_sequence_beyond_the_context_is_refused():
    with pytest.raises(StudyError, match="65 tokens is longer than the model's context of 64"):
        require_context([3, 65], tiny_model())


def test_too_small_a_corpus_is_refused(tmp_path):
    with pytest.raises(StudyError, match="cannot draw a batch of 9 rows from 4"):
        run(tmp_path / "run", batch_size=9)
