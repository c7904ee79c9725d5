"""Functions of users within expressions.

Owns what the decorator makes, the calls, and what a function may return. Must not know how the
other parts of an expression are computed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from millstream.blocks.columns import from_ndarray, from_values
from millstream.blocks.common_type import common_type
from millstream.blocks.convert import convert
from millstream.blocks.usercode import RunEnded, name_of, user_error
from millstream.errors import ArgumentError, MillstreamError, UserCodeError
from millstream.errors.checks import require
from millstream.expr.nodes import Expr, in_order, type_of


def udf(return_dtype: pa.DataType | str) -> Callable[[Callable[..., Any]], UdfMaker]:
    """Makes a function on columns one that can be used in expressions.

    The function is called with whole blocks: it gets an Arrow array for each expression, and
    everything else as it is. It returns as many values, as an Arrow or NumPy array or a list. A
    class is constructed once per actor, with what the decorated name is called with, and its
    `__call__` is the function.

    Args:
        return_dtype: The Arrow type of what it returns, or its name, such as `"int64"`. Ray Data
            has classes of its own for types; here they are Arrow's.

    Raises:
        ArgumentError: There is no such type, or what is decorated cannot be called.
    """
    type = type_of("return_dtype", return_dtype)

    def decorate(function: Callable[..., Any]) -> UdfMaker:
        require(callable(function), "udf", function, "a function or a class with __call__")
        return UdfMaker(Function(function, type))

    return decorate


@dataclass(frozen=True)
class Function:
    """A user's function or class, with what it is constructed with.

    Args:
        function: What is called, or constructed and called.
        return_type: What it returns; or what says it for the type of its first argument, and raises
            `TypeError` if it is not for that.
        args: For the constructor.
        kwargs: For the constructor.
        takes: Raises `TypeError` if it is not for a type of its first argument.
        is_large: Whether what it returns is much larger than what it gets, so that it must get a
            few rows at a time.
        of_rows: Whether it is called with nothing but how many rows there are.
        of_places: Whether it is called with nothing but how many rows come before, and how many
            there are.
    """

    function: Callable[..., Any]
    return_type: pa.DataType | Callable[[pa.DataType], pa.DataType]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    takes: Callable[[pa.DataType], None] | None = None
    is_large: bool = False
    of_rows: bool = False
    of_places: bool = False

    def type_of(self, args: Sequence[pa.DataType]) -> pa.DataType:
        """What it returns for arguments of these types.

        Raises:
            TypeError: It is not for them.
        """
        if self.takes is not None:
            self.takes(args[0])
        if isinstance(self.return_type, pa.DataType):
            return self.return_type
        return self.return_type(args[0])

    @property
    def name(self) -> str:
        """What reports call it."""
        return name_of(self.function)

    @property
    def is_class(self) -> bool:
        """Whether it is to be constructed."""
        return inspect.isclass(self.function)

    def open(self) -> OpenUdf:
        """Makes it ready: a class is constructed.

        Raises:
            UserCodeError: The constructor raised.
        """
        function = self.function
        if self.is_class:
            function = _called(f"the constructor of {self.name}", function, self.args, self.kwargs)
        return OpenUdf(self, function)


class UdfMaker:
    """A function for expressions: called with expressions, it gives one.

    Args:
        function: The user's.
    """

    def __init__(self, function: Function, *, is_constructed: bool = False) -> None:
        self._function = function
        self._is_constructed = is_constructed
        self.__name__ = function.name
        self.__doc__ = function.function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The expression; of a class that is not constructed yet, the function that makes it."""
        if self._function.is_class and not self._is_constructed:
            made = Function(self._function.function, self._function.return_type, args, kwargs)
            return UdfMaker(made, is_constructed=True)
        given = [*args, *kwargs.values()]
        if not any(isinstance(each, Expr) for each in given):
            raise ArgumentError(
                f"{self.__name__}(...) in an expression needs at least one expression to work on"
            )
        return Udf(self._function, args, kwargs)


class Udf(Expr):
    """What a user's function makes of its arguments.

    Args:
        function: The function.
        given: What it is called with, expressions and others.
        named: What it is called with by name.
    """

    def __init__(self, function: Function, given: Sequence[Any], named: Mapping[str, Any]) -> None:
        self.function = function
        values = [*given, *named.values()]
        self.args = tuple(each for each in values if isinstance(each, Expr))
        #: What else it is called with, and a mark where an expression is.
        self.constants = tuple(_Here() if isinstance(each, Expr) else each for each in values)
        self.names = tuple(named)

    def text(self, args: Sequence[str]) -> str:
        """As it is written."""
        left = iter(args)
        told = [next(left) if isinstance(each, _Here) else repr(each) for each in self.constants]
        first = len(told) - len(self.names)
        named = [f"{name}={each}" for name, each in zip(self.names, told[first:], strict=True)]
        return f"{self.function.name}({', '.join([*told[:first], *named])})"

    def arguments(self, values: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """What the function is called with.

        Args:
            values: Those of the expressions.
        """
        left = iter(values)
        given = [next(left) if isinstance(each, _Here) else each for each in self.constants]
        first = len(given) - len(self.names)
        return given[:first], dict(zip(self.names, given[first:], strict=True))


class OpenUdf:
    """A function that is ready to be called.

    Args:
        given: The function.
        instance: Itself, or what was constructed.
    """

    def __init__(self, given: Function, instance: Callable[..., Any]) -> None:
        self._given = given
        self._instance = instance

    def __call__(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], rows: int, start: int = 0
    ) -> pa.ChunkedArray:
        """The values of a block.

        Args:
            args: What to pass.
            kwargs: What to pass by name.
            rows: How many values there must be.
            start: How many rows come before.

        Raises:
            UserCodeError: It raised, or returned what it must not.
        """
        name = self._given.name
        given = [rows] if self._given.of_rows else args
        if self._given.of_places:
            given = [start, rows]
        result = _called(name, self._instance, given, kwargs)
        try:
            like = self._given.return_type
            column = _column_of(result, like if isinstance(like, pa.DataType) else None)
        except (TypeError, ValueError) as error:
            raise UserCodeError(f"{name} returned what is no column: {error}") from error
        if len(column) != rows:
            raise UserCodeError(
                f"{name} returned {len(column)} values for {rows} rows; it must return one for each"
            )
        types = [each.type for each in args if isinstance(each, pa.Array)]
        return self._typed(column, self._given.type_of(types))

    def close(self) -> None:
        """Lets go of the instance of a class: its `close` is called, if it has one."""
        close = getattr(self._instance, "close", None) if self._given.is_class else None
        self._instance = _closed
        if callable(close):
            close()

    def _typed(self, column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
        told = f"{self._given.name} returned {column.type}, and its return_dtype is {wanted}"
        if common_type(column.type, wanted) is None:
            raise UserCodeError(told)
        try:
            return convert(column, wanted)
        except ValueError as error:
            raise UserCodeError(f"{told}, which does not hold every value: {error}") from error


def functions_of(expressions: Iterable[Expr]) -> list[Function]:
    """The functions of users in expressions, each once."""
    found = [node.function for node in in_order(expressions) if isinstance(node, Udf)]
    return list({id(each): each for each in found}.values())


class _Here:
    """Marks where an expression is among the arguments."""


def _closed(*_: object, **__: object) -> Any:
    raise RuntimeError("the function was called after it was closed")


def _called(
    where: str, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    try:
        return function(*args, **kwargs)
    except BaseException as error:
        if isinstance(error, (MillstreamError, RunEnded)):
            raise
        raise user_error(error, where) from error


def _column_of(result: Any, like: pa.DataType | None) -> pa.ChunkedArray:
    if isinstance(result, np.ndarray):
        result = from_ndarray(result, like)
    elif isinstance(result, list):
        result = from_values(result, like)
    elif not isinstance(result, (pa.Array, pa.ChunkedArray)):
        raise TypeError(
            f"a value of type {type(result).__name__}; return an Arrow or NumPy array, or a list"
        )
    return pa.chunked_array([result]) if isinstance(result, pa.Array) else result
