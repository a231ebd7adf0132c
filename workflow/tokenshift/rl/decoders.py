"""What decodes the responses of a training run with the weights of the moment: our own decoder, or vLLM beside it."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion

from tokenshift.config.specs import RlSpec
from tokenshift.distributions.sampling import Sampling
from tokenshift.noise import uniforms
from tokenshift.policies.generation import batches, generate
from tokenshift.policies.policy import Policy
from tokenshift.policies.rollouts import PromptBatch
from tokenshift.policies.vllm_engine import VllmEngine, response_seed
from tokenshift.training.engine import gathered, sharing_parameters

if TYPE_CHECKING:
    from deepspeed import DeepSpeedEngine


@dataclass(frozen=True)
class Keys:
    """What the random numbers of responses are keyed by, beside problem and sample."""

    seed: int  # of the run
    purpose: str  # of the draw


class Decoder(Protocol):
    """What decodes the responses of a training run."""

    @property
    def model(self) -> PreTrainedModel:
        """The model whose responses these are: its context and its device."""

    def following(self, engine: "DeepSpeedEngine") -> AbstractContextManager[None]:
        """Context in which responses are those of the weights that `engine` has now; entered by all processes."""

    def responses(
        self, batch: PromptBatch, keys: Keys, sampling: Sampling, batch_size: int, cancelled: Callable[[], bool]
    ) -> list[list[int]]:
        """One response per prompt: token ids. Raises Cancelled once `cancelled`, asked now and then, has said so."""


@dataclass(frozen=True)
class OwnDecoder:
    """Our own decoder, computing with the very parameters that are trained."""

    policy: Policy  # of a model that is not DeepSpeed's (tokenshift.training.engine.sharing_parameters)

    @property
    def model(self) -> PreTrainedModel:
        """The twin of the trained model."""
        return self.policy.model

    def following(self, engine: "DeepSpeedEngine") -> AbstractContextManager[None]:
        """Context in which the twin has the parameters of `engine`."""
        return sharing_parameters(engine, self.policy.model)

    def responses(
        self, batch: PromptBatch, keys: Keys, sampling: Sampling, batch_size: int, cancelled: Callable[[], bool]
    ) -> list[list[int]]:
        """One response per prompt, `batch_size` at a time, whose tokens do not depend on the others."""
        responses = []
        for rows in batches(len(batch.prompts), batch_size):
            ids, samples = batch.problem_ids[rows], batch.samples[rows]
            noise = uniforms(keys.seed, keys.purpose, ids, samples, sampling.max_new_tokens)
            responses += generate(self.policy, batch.prompts[rows], noise, sampling, batch_size, cancelled=cancelled)
        return responses


@dataclass(frozen=True)
class VllmDecoder:
    """vLLM in the training process, which takes the trained weights over before each draw."""

    engine: VllmEngine
    model: PreTrainedModel  # the one that is trained
    stop_token_ids: tuple[int, ...]

    @classmethod
    def beside(cls, policy: Policy, folder: Path, prompts: PromptBatch, spec: RlSpec) -> Self:
        """vLLM beside the training of `policy`, of the model `folder`, for any responses to `prompts`.

        Raises StudyError where vLLM cannot serve the model.
        """
        rl = spec.rl
        longest = max(map(len, prompts.prompts), default=0) + rl.max_new_tokens
        hardware = spec.compute.model_copy(update={"dtype": rl.precision})
        size = (policy.vocabulary_size, longest, rl.generation_batch_size)
        return cls(
            VllmEngine(folder, *size, hardware, colocated=rl.engine_cache_gb), policy.model, policy.stop_token_ids
        )

    @contextlib.contextmanager
    def following(self, engine: "DeepSpeedEngine") -> Iterator[None]:
        """Context at whose start the weights are handed over; it takes no memory beyond vLLM's own copy."""
        with gathered(engine):
            weights = {name: parameter.data for name, parameter in self.model.named_parameters()}
            self.engine.load(revert_weight_conversion(self.model, weights).items())  # named as in files
        yield

    def responses(
        self, batch: PromptBatch, keys: Keys, sampling: Sampling, batch_size: int, cancelled: Callable[[], bool]
    ) -> list[list[int]]:
        """One response per prompt; vLLM was started with `batch_size`."""
        rows = zip(batch.problem_ids, batch.samples, strict=True)
        seeds = [response_seed(keys.seed, keys.purpose, problem_id, sample) for problem_id, sample in rows]
        return self.engine.generate(batch.prompts, seeds, sampling, self.stop_token_ids, cancelled=cancelled)
