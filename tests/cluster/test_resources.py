from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenshift.cluster.resources import (
    fetching_mb,
    gpus_to_hold,
    inference_gpus,
    inference_launcher,
    launcher,
    memory_mb,
    training_gpus,
)
from tokenshift.config.compute import Compute
from tokenshift.config.models import Model
from tokenshift.errors import StudyError

CUDA = {"device": "cuda", "dtype": "bfloat16", "gpus": 1}


def compute(**changes) -> Compute:
    return Compute(**(CUDA | changes))


@given(st.floats(0.01, 1000), st.sampled_from([2, 4, 16]), st.integers(8, 200))
def test_the_gpus_hold_the_parameters_and_one_less_would_not(billions, size, memory):
    gpus = gpus_to_hold(billions, size, memory)
    assert (gpus - 1) * 0.6 * memory < billions * size <= gpus * 0.6 * memory * (1 + 1e-12)


@pytest.mark.parametrize(
    ("billions", "gpus"), [([7.6], 1), ([7.6, 7.6], 1), ([32.8], 2), ([32.8, 32.8], 4), ([None, 32.8], 1)]
)
def test_inference_asks_for_gpus_by_size(billions, gpus):
    assert inference_gpus(compute(placement="sharded"), billions) == gpus


def test_no_fewer_gpus_than_the_study_says():
    assert inference_gpus(compute(placement="sharded", gpus=8), [7.6]) == 8
    assert training_gpus(compute(gpus=8), 0.5) == 8


def test_none_on_the_cpu():
    assert inference_gpus(Compute(), [32.8, 32.8]) == training_gpus(Compute(), 32.8) == 0


@pytest.mark.parametrize(
    ("changes", "sizes", "remedy"),
    [
        ({}, [32.8, 32.8], "set compute.placement to sharded$"),
        ({}, [20, 20], "set compute.placement to sharded, or to apart with gpus: 2$"),
        ({"placement": "apart", "gpus": 2}, [32.8, 32.8], "set compute.placement to sharded$"),
    ],
)
def test_models_that_do_not_fit_are_refused(changes, sizes, remedy):
    with pytest.raises(StudyError, match=remedy):
        inference_gpus(compute(**changes), sizes)


def test_training_spreads_over_the_nodes():
    assert training_gpus(compute(), 32.8) == 11
    assert training_gpus(compute(nodes=2), 32.8) == 6


def test_memory_holds_the_weights_besides():
    assert memory_mb(compute(mem_mb=4000), [7.6, 7.6]) == 4000 + 30_400
    assert memory_mb(compute(mem_mb=4000), [None]) == 4000


def test_exact_decoding_is_in_float32_and_needs_the_memory_for_it():
    half, exact = (compute(dtype="bfloat16", placement="sharded", exact=exact) for exact in (False, True))
    assert (half.decoding().dtype, exact.decoding().dtype, exact.dtype) == ("bfloat16", "float32", "bfloat16")
    assert memory_mb(exact, [7.0]) - memory_mb(half, [7.0]) == 14_000
    assert (inference_gpus(half, [14.0]), inference_gpus(exact, [14.0])) == (1, 2)


def test_a_gguf_file_needs_memory_for_its_weights_in_single_precision():
    models = {
        "small": {"pretrained": {"gguf": {"path": "m.gguf"}}, "billions": 0.5},
        "unknown": {"pretrained": {"gguf": {"path": "m.gguf"}}},
        "folder": {"pretrained": {"path": "m"}, "billions": 70},
    }
    study = SimpleNamespace(models={name: Model.model_validate(given) for name, given in models.items()})
    assert [fetching_mb(study, name) for name in models] == [8000, 4000, 4000]


def test_launchers():
    assert launcher(Compute(), 0, 1) == "python"
    assert launcher(compute(), 4, 8) == "python -m torch.distributed.run --standalone --nproc-per-node=4"
    step = "srun --nodes=2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=8 --gres=gpu:4 --kill-on-bad-exit=1"
    assert inference_launcher(compute(placement="sharded"), 4) == launcher(compute(), 4, 8)
    assert inference_launcher(compute(), 4) == inference_launcher(compute(placement="sharded"), 1) == "python"
    assert launcher(compute(nodes=2), 4, 8) == f"{step} python $SCRIPTS/launch.py"


def test_gpus_on_the_cpu_are_refused():
    with pytest.raises(ValueError, match="gpus is 2, but device is cpu"):
        Compute(gpus=2)
