import pytest

from tokenshift.errors import StudyError
from tokenshift.provenance.hashes import LIBRARY
from tokenshift.provenance.packages import differing, installed, pins, require_locked

ROOT = LIBRARY.parents[1]


def test_pins_of_a_lock_and_of_an_environment(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("# comment\nabsl-py==2.5.0\ntorch==2.13.0\n")
    assert pins(lock) == {"absl-py": "2.5.0", "torch": "2.13.0"}
    environment = tmp_path / "data.yaml"
    environment.write_text("dependencies:\n  - python =3.11\n  - pip:\n      - polars==2.1.0\n")
    assert pins(environment) == {"polars": "2.1.0"}


def test_every_installed_package_is_found_with_its_version():
    from importlib.metadata import version

    found = installed()
    for name in ("numpy", "polars", "pydantic-core", "math-verify"):
        assert found[name] == version(name).partition("+")[0]


def test_only_packages_installed_in_another_version_differ():
    locked, found = {"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "4"}
    assert differing(locked, found) == {"b": {"locked": "2", "installed": "4"}}


def test_an_environment_other_than_the_lock_is_refused_with_both_versions(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"numpy==0.1\npolars=={installed()['polars']}\nnever-installed==1\n")
    with pytest.raises(StudyError) as refused:
        require_locked(lock)
    assert str(refused.value).startswith(
        f"installed packages differ from requirements.lock: numpy {installed()['numpy']} (locked: 0.1); install"
    )


def test_this_environment_is_the_locked_one():
    require_locked(ROOT / "requirements.lock")
