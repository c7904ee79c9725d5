"""What expressions do with lists, maps and structs.

Owns `Expr.list`, `Expr.arr`, `Expr.map` and `Expr.struct`. Arrow computes it, or
`millstream.expr.lists`.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from millstream.errors import ArgumentError
from millstream.errors.checks import check_choice, check_count, check_kind, require
from millstream.expr.nodes import Call, Expr
from millstream.expr.udf import Function, Udf

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

    def sort(
        self,
        order: Literal["ascending", "descending"] = "ascending",
        null_placement: Literal["at_start", "at_end"] = "at_end",
    ) -> Expr:
        """The values of each list in order.

        Args:
            order: `"ascending"` or `"descending"`.
            null_placement: Where nulls go; NaN lies between them and the numbers.

        Raises:
            ArgumentError: It is none of the words.
        """
        check_choice("order", order, ("ascending", "descending"))
        check_choice("null_placement", null_placement, ("at_start", "at_end"))
        from millstream.expr.lists import ListSort

        return _made(ListSort(order, null_placement), self._expr)

    def flatten(self) -> Expr:
        """The values of the lists within each list, as one list."""
        from millstream.expr.lists import ListFlatten

        return _made(ListFlatten(), self._expr)

    def __getitem__(self, key: int | Places) -> Expr:
        if isinstance(key, Places):
            return self.slice(key.start, key.stop, key.step)
        return self.get(key)

    # Else Python would ask for one place after the other, without an end.
    __iter__ = None


class Arrays:
    """Lists of one size.

    Args:
        expr: What gives them.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def to_list(self) -> Expr:
        """As lists of any size."""
        from millstream.expr.lists import ArrayToList

        return _made(ArrayToList(), self._expr)


class Maps:
    """Maps.

    Args:
        expr: What gives them.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def keys(self) -> Expr:
        """The keys of each map, as a list; null where the map is."""
        from millstream.expr.lists import MapPart

        return _made(MapPart("keys"), self._expr)

    def values(self) -> Expr:
        """The values of each map, as a list; null where the map is."""
        from millstream.expr.lists import MapPart

        return _made(MapPart("values"), self._expr)


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


def _made(function: Any, expr: Expr) -> Expr:
    """What a function of ours makes of a column."""
    return Udf(Function(function, function.type_of), [expr], {})
