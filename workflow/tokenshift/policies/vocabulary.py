"""Which tokens the tokenizers of a pair have in common, and what ends a model's responses.

A tuned model often adds or renames special tokens. Its pair is compared over the ids that both models know under one
name; a difference between ordinary tokens means another language, which no comparison survives.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from transformers import AutoConfig, GenerationConfig, PreTrainedTokenizerBase

from tokenshift.artifacts import read_parquet
from tokenshift.errors import StudyError
from tokenshift.policies.models import load_tokenizer, trusts
from tokenshift.schemas import VOCABULARY


def vocabulary(tokenizer: PreTrainedTokenizerBase) -> list[str | None]:
    """Token strings by id; None where the tokenizer leaves an id unused."""
    by_token = tokenizer.get_vocab()
    tokens: list[str | None] = [None] * (max(by_token.values()) + 1)
    for token, token_id in by_token.items():
        tokens[token_id] = token
    return tokens


def pair_vocabulary(base: Path, tuned: Path, special_tokens: Mapping[str, str], pair: str) -> pa.Table:
    """The tokens of two model folders by id (schemas.VOCABULARY).

    An id is shared where both tokenizers have the same token, or leave it unused between others, and where
    `special_tokens` maps the base's name of it to the tuned model's. Raises StudyError at the first id where an
    ordinary token differs, and when `special_tokens` maps what is not one token.
    """
    of_base, of_tuned = load_tokenizer(base), load_tokenizer(tuned)
    renamed = _renamed(of_base, of_tuned, special_tokens, f"pairs.{pair}.special_tokens")
    special = {*of_base.get_added_vocab().items(), *of_tuned.get_added_vocab().items()}
    ours, theirs = vocabulary(of_base), vocabulary(of_tuned)
    size, both = max(len(ours), len(theirs)), min(len(ours), len(theirs))
    ours, theirs = ([*known, *[None] * (size - len(known))] for known in (ours, theirs))
    shared = []
    for token_id, names in enumerate(zip(ours, theirs, strict=True)):
        shared.append(token_id < both and (names[0] == names[1] or token_id in renamed))
        if not shared[-1] and any(name is not None and (name, token_id) not in special for name in names):
            raise StudyError(
                f"{base} and {tuned} cannot be compared: their ordinary tokens first differ at id {token_id}, "
                f"{names[0]!r} against {names[1]!r}; a pair needs one tokenizer, but for special tokens"
            )
    columns = {"token_id": range(size), "token_base": ours, "token_tuned": theirs, "shared": shared}
    return pa.table({name: pa.array(columns[name], VOCABULARY.field(name).type) for name in VOCABULARY.names})


def _renamed(
    base: PreTrainedTokenizerBase, tuned: PreTrainedTokenizerBase, special_tokens: Mapping[str, str], setting: str
) -> set[int]:
    """Ids of the tokens that have another name in the tuned model."""
    renamed = set()
    for ours, theirs in special_tokens.items():
        ids = []
        for which, name, tokenizer in (("base", ours, base), ("tuned", theirs, tuned)):
            ids.append(tokenizer.get_added_vocab().get(name))
            if ids[-1] is None:
                known = ", ".join(map(repr, tokenizer.get_added_vocab())) or "none"
                raise StudyError(f"{setting}: the {which} model has no special token {name!r}; it has {known[:300]}")
        if ids[0] != ids[1]:
            raise StudyError(
                f"{setting}: {ours!r} has id {ids[0]} and {theirs!r} id {ids[1]}: only tokens of one id can be one"
            )
        renamed.add(ids[0])
    return renamed


def shared_ids(file: Path) -> np.ndarray:
    """The ids, ascending, of the tokens that both models of a pair have, from the file of its vocabulary."""
    return read_parquet(file, VOCABULARY).filter(pl.col("shared"))["token_id"].to_numpy()


def stop_ids(
    tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig, stops: Sequence[str] | None
) -> tuple[int, ...]:
    """Ids, ascending, of the tokens that end a response: `stops`, or those of generation config and tokenizer.

    Raises StudyError when one of `stops` is no token.
    """
    if stops is None:
        configured = generation.eos_token_id
        ids = {tokenizer.eos_token_id, *(configured if isinstance(configured, list) else [configured])}
        return tuple(sorted(ids - {None}))
    known = tokenizer.get_vocab()
    if unknown := [stop for stop in stops if stop not in known]:
        raise StudyError(f"prompt.stops: {unknown[0]!r} is no token of the tokenizer of {tokenizer.name_or_path}")
    return tuple(sorted(known[stop] for stop in stops))


def require_shared_stops(
    table: pa.Table, pair: str, folders: Mapping[str, Path], stops: Mapping[str, list[str]]
) -> None:
    """Raise StudyError where a policy ends its responses with a token that the other does not have.

    Two policies that decode together draw shared tokens alone: it would never be drawn. `folders` and `stops`
    (prompt.stops, or None) are those of base and tuned model, `table` is their vocabulary.
    """
    rows = table.to_pylist()
    for which, folder in folders.items():
        tokenizer = load_tokenizer(folder)
        for stop in stop_ids(tokenizer, generation_config(folder), stops[which]):
            token = rows[stop] if stop < len(rows) else None  # a padding row, which is never drawn
            if token and not token["shared"]:
                names = f"{token['token_base']!r}: {token['token_tuned']!r}"
                both = token["token_base"] is not None and token["token_tuned"] is not None
                remedy = f"if both mean the same, set pairs.{pair}.special_tokens to {{{names}}}; " if both else ""
                raise StudyError(
                    f"pair {pair} cannot be cross-sampled: the {which} model ends its responses with "
                    f"{token[f'token_{which}']!r} (id {stop}), which the other does not have: {remedy}set the model's "
                    "prompt.stops, or leave the pair out of cross_sampling.pairs"
                )


def generation_config(folder: Path) -> GenerationConfig:
    """The generation config of a model folder, or that which follows from its config.json."""
    if (folder / "generation_config.json").is_file():
        return GenerationConfig.from_pretrained(folder)
    return GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, trust_remote_code=trusts(folder)))
