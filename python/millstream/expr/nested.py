"""What expressions do with lists and structs.

Owns `Expr.list` and `Expr.struct`. Arrow computes it.
"""

from __future__ import annotations

from typing import TypeAlias

from millstream.errors import ArgumentError
from millstream.errors.checks import check_count, check_kind, require
from millstream.expr.nodes import Call, Expr

#: In the class, `slice` is a method.
Places: TypeAlias = slice


class Lists:
    """Lists of any layout.

    Args:
        expr: What gives them.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def len(self) -> Expr:
        """How many values a list has."""
        return Call("list_value_length", self._expr)

    def get(self, index: int) -> Expr:
        """The value at a place. A list that is too short for it is an error when it runs.

        Args:
            index: From 0.

        Raises:
            ArgumentError: It is negative.
        """
        check_count("index", index, least=0, optional=False)
        return Call("list_element", self._expr, index)

    def slice(
        self, start: int | None = None, stop: int | None = None, step: int | None = None
    ) -> Expr:
        """A part of each list, as far as it has it.

        Args:
            start: The first place; `None`: 0.
            stop: The place after the last; `None`: all.
            step: Every how many-th place; `None`: 1.

        Raises:
            ArgumentError: A place is negative, or the step is below 1.
        """
        check_count("start", start, least=0)
        check_count("stop", stop, least=0)
        check_count("step", step)
        if stop is not None and stop < (start or 0):
            raise ArgumentError(f"stop={stop!r} must be at least start={start!r}")
        # A list of fixed size would be an error where it is too short, and another type where not.
        return Call(
            "list_slice",
            self._expr,
            start=start or 0,
            stop=stop,
            step=step or 1,
            return_fixed_size_list=False,
        )

    def __getitem__(self, key: int | Places) -> Expr:
        if isinstance(key, Places):
            return self.slice(key.start, key.stop, key.step)
        return self.get(key)

    # Else Python would ask for one place after the other, without an end.
    __iter__ = None


class Structs:
    """Structs.

    Args:
        expr: What gives them.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def field(self, field_name: str) -> Expr:
        """The values of a field; null where the struct is.

        Args:
            field_name: Its name.
        """
        check_kind("field_name", field_name, str, optional=False)
        return Call("struct_field", self._expr, indices=field_name)

    def field_by_index(self, index: int) -> Expr:
        """The values of a field; null where the struct is.

        Args:
            index: Its place, from 0.

        Raises:
            ArgumentError: It is negative.
        """
        check_count("index", index, least=0, optional=False)
        return Call("struct_field", self._expr, indices=[index])

    def __getitem__(self, key: str | int) -> Expr:
        require(isinstance(key, (str, int)), "key", key, "the name or the place of a field")
        return self.field(key) if isinstance(key, str) else self.field_by_index(key)

    __iter__ = None
