import json
import os
import signal
import time
from pathlib import Path

import pytest
import torch

import processes
from tiny_training import start, tiny_model
from tokenshift.errors import StudyError
from tokenshift.training.pretraining import character_tokenizer
from tokenshift.training.run import Run, Stopped, checkpoint_due
from tokenshift.training.run_folder import locked, spec_key

START = {"step": 0, "draws": 0}
TOKENIZER = character_tokenizer(["abcdefghijk"])


def run(folder, spec=None) -> Run:
    return Run(folder, spec or {"a": 1}, start(tiny_model()), TOKENIZER, "a card", save_every=2)


def report(training: Run, *steps: int) -> None:
    for step in steps:
        training.metrics.report(step, {"loss": step / 2}, {"tokens_per_second": 1.0})


def reported(training: Run) -> list[int]:
    return [json.loads(line)["step"] for line in (training.model_folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_goes_on_from_its_last_save(tmp_path):
    training = run(tmp_path)
    assert training.restore(START) == START
    report(training, 1, 2)
    training.finish_step({"step": 1, "draws": 4})
    with torch.no_grad():
        training.engine.module.model.lm_head.weight.fill_(0.5)
    training.finish_step({"step": 2, "draws": 9})
    report(training, 3)
    training.keep(3)
    again = run(tmp_path)
    random_before = torch.rand(1)
    torch.manual_seed(99)
    assert again.restore(START) == {"step": 2, "draws": 9}
    assert torch.rand(1) == random_before
    assert (again.engine.module.model.lm_head.weight == 0.5).all()
    assert reported(again) == [1, 2]
    assert list((again.model_folder / "checkpoints").iterdir()) == []


def test_only_the_last_state_is_kept(tmp_path):
    training = run(tmp_path)
    training.restore(START)
    for step in (2, 4, 6):
        training.finish_step({"step": step})
    assert [folder.name for folder in training.root.glob("step-*")] == ["step-6"]
    assert "the state after step 6 is kept in" in training.saved_state()


def test_a_save_that_was_cut_short_does_not_count(tmp_path):
    training = run(tmp_path)
    training.restore(START)
    training.finish_step({"step": 2})
    (training.root / "step-4").mkdir()
    assert run(tmp_path).restore(START) == {"step": 2}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_stops(tmp_path, number):
    with run(tmp_path) as training:
        training.restore(START)
        training.finish_step({"step": 1})
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match="stopped by a signal after step 1; the state is saved in"):
            training.finish_step({"step": 1})
    assert run(tmp_path).restore(START) == {"step": 1}


def test_another_spec_is_another_run(tmp_path):
    training = run(tmp_path)
    training.restore(START)
    training.finish_step({"step": 2})
    assert run(tmp_path, {"a": 2}).restore(START) == START
    assert spec_key({"a": 1, "b": 2}) == spec_key({"b": 2, "a": 1})


def test_the_state_of_another_spec_is_refused(tmp_path):
    training = run(tmp_path)
    (training.root / "spec.json").write_text('{"a": 3}')
    with pytest.raises(StudyError, match="holds the state of another run"):
        run(tmp_path)


def hold(folder: str) -> None:
    lock = locked(Path(folder) / "lock")
    (Path(folder) / "held").touch()
    time.sleep(60)
    lock.close()


def test_two_processes_do_not_train_in_one_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tokenshift.training.run_folder.LOCK_SECONDS", 0.5)
    root = run(tmp_path).root
    with locked(root / "lock"):
        pass  # closing it gives up this process's lock
    (other,) = processes.start(1, tmp_path / "log", hold, str(root))
    while not (root / "held").exists():
        time.sleep(0.01)
    with pytest.raises(StudyError, match="another process trains in"):
        run(tmp_path)
    other.kill()
    other.join()
    assert run(tmp_path).restore(START) == START


def test_publishing_leaves_only_what_differs_between_equal_runs(tmp_path):
    training = run(tmp_path / "state")
    training.restore(START)
    report(training, 1, 2)
    training.finish_step({"step": 2})
    training.keep(2)
    training.publish(tmp_path / "model")
    assert {file.name for file in training.root.iterdir()} <= {"spec.json", "times.jsonl", "tensorboard"}
    assert (tmp_path / "model/checkpoints/step-000002/model.safetensors").is_file()
    assert (tmp_path / "model/README.md").read_text() == "a card"
    assert "metrics.jsonl" in json.loads((tmp_path / "model/manifest.json").read_text())["sha256"]
    times = [json.loads(line) for line in (training.root / "times.jsonl").read_text().splitlines()]
    assert times == [{"step": step, "tokens_per_second": 1.0} for step in (1, 2)]


def test_checkpoints_are_due_at_multiples_and_at_the_end():
    assert [step for step in range(1, 9) if checkpoint_due(step, 8, 3)] == [3, 6, 8]
    assert not any(checkpoint_due(step, 8, None) for step in range(1, 9))
