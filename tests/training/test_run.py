import json
import os
import pickle
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

import processes
from tiny_training import file_bytes, start, tiny_model
from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import sha256
from tokenshift.training.finished import forget_finished
from tokenshift.training.pretraining import character_tokenizer
from tokenshift.training.run import Run, Stopped, checkpoint_due
from tokenshift.training.run_folder import locked, spec_key
from tokenshift.training.saved_state import read_state, write_state

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


def test_the_last_two_states_are_kept(tmp_path):
    training = run(tmp_path)
    training.restore(START)
    for step in (2, 4, 6):
        training.finish_step({"step": step})
    assert {folder.name for folder in training.root.glob("step-*")} == {"step-4", "step-6"}
    assert "the state after step 6 is kept in" in training.saved_state()


def test_a_save_that_was_cut_short_does_not_count(tmp_path):
    training = run(tmp_path)
    training.restore(START)
    training.finish_step({"step": 2})
    (training.root / "step-4").mkdir()
    assert run(tmp_path).restore(START) == {"step": 2}


def saved_twice(folder: Path) -> Run:
    """A run with states after steps 2 and 4, each with other weights, and a checkpoint before the second."""
    training = run(folder)
    training.restore(START)
    for step in (2, 4):
        report(training, step - 1, step)
        with torch.no_grad():
            training.engine.module.model.lm_head.weight.fill_(step)
        if step == 4:
            training.keep(step)
        training.finish_step({"step": step})
    return training


def files_of(training: Run) -> list[str]:
    """All that the state after step 4 consists of, by path from the run's folder."""
    found = [*training.root.glob("step-4/*"), *training.root.glob("model/checkpoints/step-000004/*")]
    return sorted(str(file.relative_to(training.root)) for file in found)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, Path.unlink])
def test_a_run_goes_on_from_the_last_state_that_is_whole(tmp_path, damage, capfd):
    """Whatever file of the last one was damaged, a missing state.json apart: that is a save that was cut short."""
    whole = saved_twice(tmp_path / "whole")
    assert "generators-0.json" in str(files_of(whole))
    assert "model.safetensors" in str(files_of(whole))
    for number, name in enumerate(files_of(whole)):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole", folder)
        damage(folder / whole.root.name / name)
        again = run(folder)
        assert again.restore(START) == {"step": 2}
        assert (again.engine.module.model.lm_head.weight == 2).all()
        assert reported(again) == [1, 2]
        assert not list(again.root.glob("model/checkpoints/*"))
        cut = damage is Path.unlink and name.endswith("state.json")
        assert ("the state saved after step 4 is not whole" in capfd.readouterr().err) is not cut
        shutil.rmtree(folder)


def test_without_a_whole_state_one_line_says_what_to_delete(tmp_path):
    training = saved_twice(tmp_path)
    for step in (2, 4):
        flip_a_bit(next(training.root.glob(f"step-{step}/*.pt")))
    with pytest.raises(StudyError, match=f"step 4 is not whole.*delete {training.root} to train from the") as told:
        run(tmp_path).restore(START)
    assert "\n" not in str(told.value)


class Intruder:
    """Unpickled, it leaves a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_no_code_runs_from_a_saved_state(tmp_path, stage):
    """Not even where the hashes were made to fit."""
    mark = tmp_path / "executed"
    engine = start(tiny_model(), zero_stage=stage)
    training = Run(tmp_path / "states", {"a": 1}, engine, TOKENIZER, "a card", save_every=1)
    training.restore(START)
    training.finish_step({"step": 1})
    for file in training.root.glob("step-1/*.pt"):
        torch.save({"module": Intruder(mark), "optimizer_state_dict": Intruder(mark)}, file)
        torch.load(file, weights_only=False)
        assert mark.exists()
        mark.unlink()
    position, hashes = read_state(training.root / "step-1/state.json")
    write_state(training.root / "step-1/state.json", position, {name: sha256(training.root / name) for name in hashes})
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        training.restore(START)
    assert not mark.exists()


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_state_that_others_can_write_is_refused(tmp_path, mode):
    root = run(tmp_path).root
    assert root.stat().st_mode & 0o777 == 0o700
    root.chmod(mode)
    with pytest.raises(StudyError, match="can be written by another user: delete it"):
        run(tmp_path)


def test_a_state_of_another_user_is_refused(tmp_path, monkeypatch):
    run(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    with pytest.raises(StudyError, match="belongs to or can be written by another user"):
        run(tmp_path)


def test_a_finished_run_is_published_again_and_not_trained_again(tmp_path):
    training = saved_twice(tmp_path / "state")
    training.publish(tmp_path / "model")
    before = file_bytes(tmp_path / "model")
    shutil.rmtree(tmp_path / "model")
    again = run(tmp_path / "state")
    assert again.restore(START) == {"step": 4}
    assert not again.fresh
    again.publish(tmp_path / "model")
    assert file_bytes(tmp_path / "model") == before


def test_a_finished_model_that_was_damaged_is_refused(tmp_path):
    training = saved_twice(tmp_path / "state")
    training.publish(tmp_path / "model")
    flip_a_bit(training.model_folder / "model.safetensors")
    with pytest.raises(StudyError, match=f"a finished model is not whole: .*delete {training.root} to train it again"):
        run(tmp_path / "state").restore(START)


def test_a_checkpoint_that_was_damaged_is_not_published(tmp_path):
    training = saved_twice(tmp_path / "state")
    flip_a_bit(training.model_folder / "checkpoints/step-000004/model.safetensors")
    with pytest.raises(StudyError, match=r"step-000004/model.safetensors is missing or was changed since it was exp"):
        training.publish(tmp_path / "model")
    assert not (tmp_path / "model").exists()


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


@pytest.mark.parametrize("text", ['{"a": 3}', '{"a": '])
def test_the_state_of_another_spec_is_refused(tmp_path, text):
    training = run(tmp_path)
    (training.root / "spec.json").write_text(text)
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
    forget_finished(tmp_path, ["state"])
    assert {file.name for file in training.root.iterdir()} <= {"spec.json", "times.jsonl", "tensorboard"}
    assert (tmp_path / "model/checkpoints/step-000002/model.safetensors").is_file()
    assert (tmp_path / "model/README.md").read_text() == "a card"
    assert "metrics.jsonl" in json.loads((tmp_path / "model/manifest.json").read_text())["sha256"]
    times = [json.loads(line) for line in (training.root / "times.jsonl").read_text().splitlines()]
    assert times == [{"step": step, "tokens_per_second": 1.0} for step in (1, 2)]


def test_checkpoints_are_due_at_multiples_and_at_the_end():
    assert [step for step in range(1, 9) if checkpoint_due(step, 8, 3)] == [3, 6, 8]
    assert not any(checkpoint_due(step, 8, None) for step in range(1, 9))
