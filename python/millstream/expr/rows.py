"""Values that are made row by row, of bytes or pixels, and the errors that name a row.

Owns what functions of ours over columns have in common. Must not know what they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import pyarrow as pa

from millstream.blocks import block
from millstream.errors import UserCodeError
from millstream.errors.checks import check_choice

#: What becomes of a row for which there is no value: the run fails, or it is null.
OnError = Literal["raise", "null"]


class RowError(UserCodeError):
    """A row has no value.

    Args:
        row: Its number within what the function was called with.
        problem: Why, and of which column.
    """

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(problem)
        self.row = row

    def placed(self, start: int) -> UserCodeError:
        """The error that names the row.

        Args:
            start: How many rows of the task come before what the function was called with.
        """
        return UserCodeError(f"row {start + self.row} of its task: {self.message}")

    def __reduce__(self) -> tuple[Any, ...]:
        return RowError, (self.row, self.message)


class Portions:
    """Cuts blocks into parts of which large values are made, so that these stay within bounds.

    How many rows a part has follows from the bytes that the one before has become.
    """

    def __init__(self) -> None:
        self._rows = _ROWS_FIRST

    def of(self, table: pa.Table) -> Iterator[pa.Table]:
        """The parts of a block; one even of a block without rows."""
        start = 0
        while start < max(1, table.num_rows):
            part = table.slice(start, self._rows)
            yield part
            start += max(1, part.num_rows)

    def became(self, rows: int, nbytes: int) -> None:
        """Notes what a part has become."""
        if rows:
            wanted = TABLE_BYTES * rows // max(1, nbytes)
            self._rows = max(1, min(wanted, self._rows * _GROWTH, _ROWS_MAX))


def check_on_error(on_error: Any) -> None:
    """Checks what becomes of rows without a value.

    Raises:
        ArgumentError: It is none of the words.
    """
    check_choice("on_error", on_error, ("raise", "null"))


def made_of_each(
    values: Iterable[Any], make: Callable[[Any], Any], what: str, on_error: OnError
) -> list[Any]:
    """Makes a value of each that is there.

    Args:
        values: The values; null stays null.
        make: Makes one; what it raises is a `ValueError` or an `OSError`.
        what: What it does to what, for errors: "cannot decode col('image')".
        on_error: What becomes of a row for which it fails.

    Raises:
        RowError: It fails.
    """
    made = []
    for row, value in enumerate(values):
        try:
            made.append(None if value is None else make(value))
        except (ValueError, OSError) as error:
            if on_error == "raise":
                raise RowError(row, f"{what}: {in_words(error)}") from error
            made.append(None)
    return made


def in_words(error: BaseException) -> str:
    """An error in one line."""
    return str(error).strip() or type(error).__name__


def in_one_piece(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return block.gatherable(pa.table({"": column})).column(0).combine_chunks()


#: The size of the tables that large values are made into, in memory.
TABLE_BYTES = 16 << 20
_ROWS_FIRST = 8
_GROWTH = 8
_ROWS_MAX = 4096
