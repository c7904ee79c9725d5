"""Libraries written in Rust, whose failures within are no `Exception` of Python.

Owns how these become errors like any other. Must not know any library.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from millstream.blocks import block


class PanicError(RuntimeError):
    """Code in Rust has failed where its authors thought that it could not."""


@contextmanager
def panics_told() -> Iterator[None]:
    """Turns a panic into a `PanicError`; it would pass by `except Exception` otherwise."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise PanicError(f"the library failed within: {error}") from error


def without_slices(table: pa.Table) -> pa.Table:
    """Gives structs within structs memory of their own: arrow-rs panics at a slice of such."""
    return block.copy(table) if any(map(_is_deep, table.schema.types)) else table


def _is_deep(type: pa.DataType, is_inside: bool = False) -> bool:
    is_struct = pa.types.is_struct(type)
    if is_struct and is_inside:
        return True
    inner = (type.field(index).type for index in range(type.num_fields))
    return any(_is_deep(each, is_inside or is_struct) for each in inner)


# The class of pyo3, which no module has.
_PANIC = "PanicException"
