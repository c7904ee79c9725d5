"""Values that each row is given, whatever it has: drawn, or by its place.

Owns how they are made. Must not know blocks, nor where rows are read: `millstream.plan.placing`
says which unit of a source a row is of.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from millstream.errors import UserCodeError
from millstream.expr.nodes import Expr, fold, in_order
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


@dataclass(frozen=True)
class RowIds:
    """Numbers by which rows are told apart: that of the unit, and of the row in it.

    Args:
        unit: The number of the unit of the source; `None`: it is not known yet.
    """

    unit: int | None = None

    @property
    def told(self) -> str:
        """As it is written."""
        return "monotonically_increasing_id()"

    def __call__(self, start: int, rows: int) -> pa.Array:
        """The numbers of rows of the unit.

        Args:
            start: How many come before.
            rows: How many there are.

        Raises:
            UserCodeError: There are no numbers for so many units, or rows of one unit.
        """
        unit = _known(self.unit)
        if unit >= 1 << _UNIT_BITS or start + rows > 1 << _ROW_BITS:
            raise UserCodeError(
                f"{self.told} has numbers for 2^{_UNIT_BITS} units of a source, of 2^{_ROW_BITS} "
                f"rows each, and this is row {start + rows} of unit {unit}"
            )
        first = (unit << _ROW_BITS) + start
        return pa.array(np.arange(first, first + rows, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class RandomNumbers:
    """Floats from 0 to below 1; each depends on the seed and on the place of its row only.

    Args:
        seed: The seed; `None`: that of the run, which is not known yet.
        is_of_run: Whether the seed is that of the run.
        unit: The number of the unit of the source; `None`: it is not known yet.
    """

    seed: int | None = None
    is_of_run: bool = False
    unit: int | None = None

    @property
    def told(self) -> str:
        """As it is written."""
        return "random()" if self.seed is None or self.is_of_run else f"random(seed={self.seed})"

    def __call__(self, start: int, rows: int) -> pa.Array:
        """The numbers of rows of the unit.

        Args:
            start: How many come before.
            rows: How many there are.
        """
        # What comes third tells them apart from the draws of `random_sample`.
        seeds = np.random.SeedSequence((_known(self.seed), _known(self.unit), _NUMBERS))
        counter, within = divmod(start, _NUMBERS_AT_ONCE)
        key = seeds.generate_state(2, np.uint64)
        drawn = np.random.Generator(np.random.Philox(key=key, counter=counter))
        return pa.array(drawn.random(within + rows)[within:])


Places: TypeAlias = RowIds | RandomNumbers


class Placed(Udf):
    """Values that rows have by their places in a source.

    Args:
        values: What makes them.
    """

    def __init__(self, values: Places) -> None:
        type = pa.int64() if isinstance(values, RowIds) else pa.float64()
        super().__init__(Function(values, type, of_places=True), [], {})
        self.values = values

    def text(self, args: Sequence[str]) -> str:
        """As it is written."""
        return self.values.told


def placed_in(nodes: Iterable[Expr]) -> list[Placed]:
    """The values by place in expressions, each once."""
    return [each for each in in_order(nodes) if isinstance(each, Placed)]


def with_places(node: Expr, change: Callable[[Places], Places]) -> Expr:
    """The same expression, of other values by place.

    Args:
        node: The expression.
        change: Makes the other ones.
    """

    def made(each: Expr, args: list[Expr]) -> Expr:
        return Placed(change(each.values)) if isinstance(each, Placed) else each.with_args(args)

    return fold(node, made)


def _known(value: int | None) -> int:
    if value is None:
        raise RuntimeError("a value by place was computed outside of a source")
    return value


#: As Ray Data has it: so many bits for the unit, and so many for the row.
_UNIT_BITS = 30
_ROW_BITS = 33
_NUMBERS = 0x72616E64
#: What Philox makes at each count.
_NUMBERS_AT_ONCE = 4
_BYTES = 16
#: Before which of the digits there is a dash.
_DASHES = [8, 12, 16, 20]
