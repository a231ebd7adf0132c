"""What a token of a vocabulary stands for: text, or bytes that are only part of a character."""

import re
from collections.abc import Sequence
from functools import cache

BYTE = re.compile("<0x([0-9A-F]{2})>")  # how vocabularies of SentencePiece write a single byte
FOREIGN = 0.01  # share of tokens that may be written in another alphabet than the rest


@cache
def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level vocabulary stands for (byte-level BPE, as GPT-2 introduced it).

    Bytes that are printable in Latin-1 are their own character; the others, in order, those from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + index): byte for index, byte in enumerate(others)}


def token_texts(tokens: Sequence[str | None]) -> list[str | list[int] | None]:
    """The text of each token, or its bytes where they are no whole characters; None where an id is unused.

    A vocabulary is taken to be byte-level where Ġ, the space of that alphabet, is a token, and all but a few, which
    special tokens may be, are written in it. Where <0x0A> or ▁ is a token, such tokens stand for a byte and for spaces;
    all other vocabularies are text as they are.
    """
    known = set(tokens) - {None}
    foreign = sum(not byte_of_character().keys() >= set(token) for token in known)
    if "Ġ" in known and foreign <= FOREIGN * len(known):
        return [None if token is None else _from_byte_characters(token) for token in tokens]
    if "▁" in known or any(BYTE.fullmatch(token) for token in known):
        return [None if token is None else _from_pieces(token) for token in tokens]
    return list(tokens)


def _from_byte_characters(token: str) -> str | list[int]:
    """A token of a byte-level vocabulary; a special token, which is in no such alphabet, is its own text."""
    by_character = byte_of_character()
    if any(character not in by_character for character in token):
        return token
    return _text_or_bytes(bytes(by_character[character] for character in token))


def _from_pieces(token: str) -> str | list[int]:
    if byte := BYTE.fullmatch(token):
        return _text_or_bytes(bytes([int(byte[1], 16)]))
    return token.replace("▁", " ")


def _text_or_bytes(content: bytes) -> str | list[int]:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return list(content)
