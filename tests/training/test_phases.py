import time

import pytest

from tokenshift.training.phases import phase, seconds_by_phase


def slept(name: str, seconds: float) -> float:
    with phase(name):
        time.sleep(seconds)
        return 1 / seconds


def test_time_is_counted_by_phase_until_it_is_asked_for():
    seconds_by_phase()
    for _ in range(2):
        slept("short", 0.01)
    with pytest.raises(ZeroDivisionError):
        slept("broken", 0)
    taken = seconds_by_phase()
    assert taken.keys() == {"broken_seconds", "short_seconds"}
    assert taken["short_seconds"] >= 0.02
    assert seconds_by_phase() == {}
