"""The miniature's beginnings: a tokenizer of single characters and a small Qwen2 model with random weights."""

from collections.abc import Iterable

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from tokenshift.config.models import Architecture
from tokenshift.errors import StudyError

PAD, EOS = "<pad>", "<eos>"


def character_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Tokenizer with one token for each character of `texts`, in code point order after <pad> and <eos>.

    Decoding returns every text of these characters unchanged. Encoding any other character raises an exception: the
    vocabulary has no token for the unknown. Raises StudyError when there are no characters.
    """
    characters = sorted(set().union(*texts))
    if not characters:
        raise StudyError("the corpus holds no text to build a tokenizer from")
    vocabulary = {token: token_id for token_id, token in enumerate([PAD, EOS, *characters])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def build_model(
    architecture: Architecture, vocabulary_size: int, pad_token_id: int, eos_token_id: int, seed: int
) -> Qwen2ForCausalLM:
    """Qwen2 model of `architecture`, with tied embeddings and weights drawn from `seed`."""
    config = Qwen2Config(
        **architecture.plain(),
        vocab_size=vocabulary_size,
        pad_token_id=pad_token_id,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(config)
