"""Values that are drawn for each row, whatever the row has.

Owns how they are drawn. Must not know blocks.
"""

from __future__ import annotations

import secrets

import numpy as np
import pyarrow as pa

from millstream.expr.nodes import Expr
from millstream.expr.udf import Function, Udf


def drawn_uuids() -> Expr:
    """A UUID of version 4 for each row, as text."""
    return Udf(Function(uuid, pa.string(), of_rows=True), [], {})


def uuid(rows: int) -> pa.Array:
    """UUIDs of version 4, as `uuid.uuid4` makes them one by one.

    Args:
        rows: How many.
    """
    drawn = np.frombuffer(bytearray(secrets.token_bytes(_BYTES * rows)), np.uint8)
    drawn = drawn.reshape(rows, _BYTES)
    drawn[:, 6] = drawn[:, 6] & 0x0F | 0x40  # The version.
    drawn[:, 8] = drawn[:, 8] & 0x3F | 0x80  # The variant, of RFC 9562.
    digits = np.frombuffer(drawn.tobytes().hex().encode(), np.uint8).reshape(rows, 2 * _BYTES)
    text = np.insert(digits, _DASHES, ord("-"), axis=1)
    size = pa.binary(text.shape[1])
    buffers = [None, pa.py_buffer(text.tobytes())]
    return pa.Array.from_buffers(size, rows, buffers).cast(pa.binary()).cast(pa.string())


_BYTES = 16
#: Before which of the digits there is a dash.
_DASHES = [8, 12, 16, 20]
