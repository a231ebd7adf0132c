"""Columns as the page reads them: little-endian arrays behind a JSON header, compressed, as text.

The page makes typed arrays of them without a copy: nothing is kept token by token. Numbers are rounded to 16 bits, with
the last code for what was not measured; the viewer is for looking, the Parquet files for computing.
"""

import base64
import json
import math
import zlib
from dataclasses import dataclass

import numpy as np

CODES = 2**16 - 1  # the last stands for "not measured"
ALIGNMENT = 8  # bytes, of each array


@dataclass(frozen=True)
class Column:
    """An array, and what a step of its integers is worth; 0 where they count or name something."""

    values: np.ndarray
    step: float = 0.0


# What one code is worth. JS is at most ln 2; log-probabilities below -32.8 and entropies above 32.8 nats are cut there.
JS_STEP = math.log(2) / (CODES - 1)
NATS_STEP = 1 / 2000
PROBABILITY_STEP = 1 / (CODES - 1)


def rounded(values: np.ndarray, step: float) -> Column:
    """Floats of the sign of `step` as 16-bit multiples of it, NaN as the last code."""
    codes = np.clip(np.rint(np.asarray(values, np.float64) / step), 0, CODES - 1)
    return Column(np.where(np.isnan(codes), CODES, codes).astype(np.uint16), step)


def counted(values: np.ndarray) -> Column:
    """Counts from 0 as 16 bits, cut at the largest."""
    return Column(np.minimum(values, CODES - 1).astype(np.uint16))


def named(ids: np.ndarray, size: int) -> Column:
    """Indices below `size`, in as few bits as name them."""
    return Column(np.asarray(ids).astype(np.uint16 if size <= CODES else np.uint32))


def pack(described: dict, columns: dict[str, Column]) -> str:
    """`columns`, and a JSON object that describes them, as text in base64; the same bytes for the same content."""
    layout, arrays, offset = {}, [], 0
    for name, column in columns.items():
        array = np.ascontiguousarray(column.values)
        layout[name] = [array.dtype.str.lstrip("<|"), offset, len(array), column.step]
        padding = -array.nbytes % ALIGNMENT
        arrays.append(array.tobytes() + bytes(padding))
        offset += array.nbytes + padding
    header = json.dumps({"columns": layout, **described}, ensure_ascii=False, allow_nan=False).encode()
    header += b" " * (-(len(header) + 4) % ALIGNMENT)
    content = len(header).to_bytes(4, "little") + header + b"".join(arrays)
    compressor = zlib.compressobj(6, zlib.DEFLATED, 15)
    return base64.b64encode(compressor.compress(content) + compressor.flush()).decode()
