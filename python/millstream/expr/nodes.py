"""What users write: expressions over columns, as trees that never change.

Owns the nodes, the operators and methods that make them, and walks through them. Knows nothing of
how they are computed (`millstream.expr.bind`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import pyarrow as pa

from millstream.blocks import infer
from millstream.errors import ArgumentError
from millstream.errors.checks import check_flag, is_sequence, require

if TYPE_CHECKING:
    from millstream.expr.fetch import Urls
    from millstream.expr.nested import Arrays, Lists, Maps, Structs
    from millstream.expr.pictures import Images
    from millstream.expr.text import Strings
    from millstream.expr.times import Times

T = TypeVar("T")
#: What names are: in the class, `str` and `list` are namespaces.
Name: TypeAlias = str


class Expr:
    """A value for each row, said by columns, constants and functions of them.

    Made by `col`, `lit`, `when` and functions decorated with `udf`, and by operators and methods of
    other expressions. Where a value is null, so is what is computed of it, but for `&` and `|`,
    which know what null cannot change, and methods that say otherwise.
    """

    args: tuple[Expr, ...] = ()
    #: NumPy's numbers on the left of an operator leave it to the expression.
    __array_ufunc__ = None

    # Operators ------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Expr:
        return Call("add", self, other)

    def __radd__(self, other: Any) -> Expr:
        return Call("add", other, self)

    def __sub__(self, other: Any) -> Expr:
        return Call("subtract", self, other)

    def __rsub__(self, other: Any) -> Expr:
        return Call("subtract", other, self)

    def __mul__(self, other: Any) -> Expr:
        return Call("multiply", self, other)

    def __rmul__(self, other: Any) -> Expr:
        return Call("multiply", other, self)

    def __truediv__(self, other: Any) -> Expr:
        return Call("divide", self, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return Call("divide", other, self)

    def __floordiv__(self, other: Any) -> Expr:
        return Call("floor_divide", self, other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return Call("floor_divide", other, self)

    def __mod__(self, other: Any) -> Expr:
        return Call("modulo", self, other)

    def __rmod__(self, other: Any) -> Expr:
        return Call("modulo", other, self)

    def __neg__(self) -> Expr:
        return self.negate()

    def __gt__(self, other: Any) -> Expr:
        return Call("greater", self, other)

    def __ge__(self, other: Any) -> Expr:
        return Call("greater_equal", self, other)

    def __lt__(self, other: Any) -> Expr:
        return Call("less", self, other)

    def __le__(self, other: Any) -> Expr:
        return Call("less_equal", self, other)

    def __eq__(self, other: Any) -> Expr:  # type: ignore[override]
        return Call("equal", self, other)

    def __ne__(self, other: Any) -> Expr:  # type: ignore[override]
        return Call("not_equal", self, other)

    def __and__(self, other: Any) -> Expr:
        return Call("and_kleene", self, other)

    def __rand__(self, other: Any) -> Expr:
        return Call("and_kleene", other, self)

    def __or__(self, other: Any) -> Expr:
        return Call("or_kleene", self, other)

    def __ror__(self, other: Any) -> Expr:
        return Call("or_kleene", other, self)

    def __invert__(self) -> Expr:
        return Call("invert", self)

    __hash__ = object.__hash__

    def __bool__(self) -> bool:
        raise ArgumentError(
            f"{self!r} has a value for each row and is neither true nor false: use & for `and`, "
            "| for `or`, ~ for `not`, and .between(low, high) for `low <= x <= high`"
        )

    # Methods --------------------------------------------------------------------------------

    def alias(self, name: Name) -> Expr:
        """The same values under a name, for `Dataset.with_columns`.

        Args:
            name: The column that they become.
        """
        return Alias(self, name)

    def cast(self, target_type: pa.DataType | Name, *, safe: bool = True) -> Expr:
        """The values as another type.

        Args:
            target_type: An Arrow type, or its name: `"int32"`.
            safe: Whether a value that the type does not hold is an error. `False`: it is cut,
                wraps around, or becomes another one. Floats are rounded to shorter ones either way.

        Raises:
            ArgumentError: There is no such type.
        """
        check_flag("safe", safe)
        return Call("cast", self, to=type_of("target_type", target_type), safe=safe)

    def is_null(self) -> Expr:
        """Whether there is no value. NaN is one."""
        return Call("is_null", self)

    def is_not_null(self) -> Expr:
        """Whether there is a value. NaN is one."""
        return Call("is_valid", self)

    def is_nan(self) -> Expr:
        """Whether a float is NaN."""
        return Call("is_nan", self)

    def fill_null(self, value: Any) -> Expr:
        """The values, and another one where there is none.

        Args:
            value: A constant or an expression. The type stays as it is if that holds it.
        """
        return Call("coalesce", self, value)

    def is_in(self, values: Iterable[Any]) -> Expr:
        """Whether the value is one of these.

        Never null: null is in values that have None, and NaN in those that have NaN.

        Args:
            values: Constants, such as a list or an Arrow array.
        """
        return Call("is_in", self, values=_constants(values))

    def not_in(self, values: Iterable[Any]) -> Expr:
        """Whether the value is none of these; so null is not, unless values have None.

        Args:
            values: As in `is_in`.
        """
        return Call("invert", self.is_in(values))

    def between(self, low: Any, high: Any) -> Expr:
        """Whether the value is at least `low` and at most `high`.

        Args:
            low: A constant or an expression.
            high: A constant or an expression.
        """
        return Call("and_kleene", Call("greater_equal", self, low), Call("less_equal", self, high))

    def negate(self) -> Expr:
        """The number with the other sign. What has none, as of the smallest integer, is an error.

        `-x` is the same.
        """
        return Call("negate", self)

    def abs(self) -> Expr:
        """The number without its sign. What has none, as of the smallest integer, is an error."""
        return Call("abs", self)

    def sign(self) -> Expr:
        """1, 0 or -1; NaN stays NaN."""
        return Call("sign", self)

    def power(self, exponent: Any) -> Expr:
        """The number to a power. Integers stay integers, and overflow is an error.

        Args:
            exponent: A number or an expression.
        """
        return Call("power", self, exponent)

    def ceil(self) -> Expr:
        """The next whole number above. Floats stay floats, integers are as they are."""
        return Call("ceil", self)

    def floor(self) -> Expr:
        """The next whole number below. Floats stay floats, integers are as they are."""
        return Call("floor", self)

    def round(self) -> Expr:
        """The nearest whole number, halves to the even one. Integers are as they are."""
        return Call("round", self)

    def trunc(self) -> Expr:
        """The number without what is after the point. Integers are as they are."""
        return Call("trunc", self)

    def ln(self) -> Expr:
        """The natural logarithm: -inf of 0, NaN below."""
        return Call("ln", self)

    def log10(self) -> Expr:
        """The logarithm to base 10: -inf of 0, NaN below."""
        return Call("log10", self)

    def log2(self) -> Expr:
        """The logarithm to base 2: -inf of 0, NaN below."""
        return Call("log2", self)

    def exp(self) -> Expr:
        """The power of e."""
        return Call("exp", self)

    def sin(self) -> Expr:
        """The sine of radians."""
        return Call("sin", self)

    def cos(self) -> Expr:
        """The cosine of radians."""
        return Call("cos", self)

    def tan(self) -> Expr:
        """The tangent of radians."""
        return Call("tan", self)

    def asin(self) -> Expr:
        """The angle in radians whose sine it is; NaN if there is none."""
        return Call("asin", self)

    def acos(self) -> Expr:
        """The angle in radians whose cosine it is; NaN if there is none."""
        return Call("acos", self)

    def atan(self) -> Expr:
        """The angle in radians whose tangent it is."""
        return Call("atan", self)

    # Namespaces -----------------------------------------------------------------------------

    @property
    def str(self) -> Strings:
        """What can be done with text."""
        from millstream.expr.text import Strings

        return Strings(self)

    @property
    def list(self) -> Lists:
        """What can be done with lists."""
        from millstream.expr.nested import Lists

        return Lists(self)

    @property
    def struct(self) -> Structs:
        """What can be done with structs."""
        from millstream.expr.nested import Structs

        return Structs(self)

    @property
    def map(self) -> Maps:
        """What can be done with maps."""
        from millstream.expr.nested import Maps

        return Maps(self)

    @property
    def arr(self) -> Arrays:
        """What can be done with lists of one size."""
        from millstream.expr.nested import Arrays

        return Arrays(self)

    @property
    def url(self) -> Urls:
        """What can be done with addresses of files."""
        from millstream.expr.fetch import Urls

        return Urls(self)

    @property
    def image(self) -> Images:
        """What can be done with pictures."""
        from millstream.expr.pictures import Images

        return Images(self)

    @property
    def dt(self) -> Times:
        """What can be done with dates and timestamps."""
        from millstream.expr.times import Times

        return Times(self)

    # Itself ---------------------------------------------------------------------------------

    def text(self, args: Sequence[Name]) -> Name:
        """The node in words.

        Args:
            args: Its arguments in words.
        """
        raise NotImplementedError

    def with_args(self, args: Iterable[Expr]) -> Expr:
        """The same node of other arguments."""
        return _made(type(self), self._own(), args)

    def _own(self) -> dict[Name, Any]:
        return {name: value for name, value in vars(self).items() if name != "args"}

    def __repr__(self) -> Name:
        return fold(self, lambda node, args: node.text(args))

    def __reduce__(self) -> tuple[Any, ...]:
        # Flat, since pickle goes no deeper than functions may call each other.
        order = in_order([self])
        places = {id(node): place for place, node in enumerate(order)}
        parts = [
            (type(node), node._own(), [places[id(each)] for each in node.args]) for node in order
        ]
        return _rebuild, (parts,)


class Column(Expr):
    """A column of the dataset."""

    def __init__(self, name: Name) -> None:
        require(isinstance(name, str), "name", name, "a column name")
        self.name = name

    def text(self, args: Sequence[Name]) -> Name:
        """As it is written."""
        return f"col({self.name!r})"


class Literal(Expr):
    """A constant."""

    def __init__(self, value: Any) -> None:
        self.scalar: pa.Scalar = _scalar(value)

    def text(self, args: Sequence[Name]) -> Name:
        """Its value."""
        return repr(self.scalar.as_py())


class Alias(Expr):
    """A value under a name."""

    def __init__(self, expr: Expr, name: Name) -> None:
        require(isinstance(name, str), "name", name, "a column name")
        self.args = (expr,)
        self.name = name

    def text(self, args: Sequence[Name]) -> Name:
        """As it is written."""
        return f"{args[0]}.alias({self.name!r})"


class Call(Expr):
    """A function of values.

    Args:
        function: What `millstream.expr.bind` calls it: mostly Arrow's own name.
        args: The values; constants are made expressions.
        options: What is the same for all rows, by name.
    """

    def __init__(self, function: Name, *args: Any, **options: Any) -> None:
        self.function = function
        self.args = tuple(map(as_expr, args))
        self.options = options

    def text(self, args: Sequence[Name]) -> Name:
        """An operator between its values, or the function with them."""
        if self.function in _SYMBOLS:
            return f"({args[0]} {_SYMBOLS[self.function]} {args[1]})"
        if self.function == "invert":
            return f"~{args[0]}"
        options = [f"{name}={_short(value)}" for name, value in self.options.items()]
        return f"{self.function}({', '.join([*args, *options])})"


class When:
    """A condition that waits for its value.

    Args:
        condition: When it holds.
        before: The conditions and values before it, in turn.
    """

    def __init__(self, condition: Expr, before: tuple[Expr, ...] = ()) -> None:
        require(isinstance(condition, Expr), "condition", condition, "an expression")
        self._before = (*before, condition)

    def then(self, value: Any) -> Then:
        """What holds then.

        Args:
            value: A constant or an expression.
        """
        return Then(*self._before, as_expr(value))


class Then(Call):
    """The values of conditions, and null where none holds.

    Args:
        args: Conditions and values, in turn.
    """

    def __init__(self, *args: Expr) -> None:
        super().__init__("case_when", *args)

    def when(self, condition: Expr) -> When:
        """A further condition, for rows where none before it holds.

        Args:
            condition: A bool for each row; null is as false.
        """
        return When(condition, self.args)

    def otherwise(self, value: Any) -> Expr:
        """What holds where no condition does.

        Args:
            value: A constant or an expression.
        """
        return Call("case_when", *self.args, value)


def as_expr(value: Any) -> Expr:
    """An expression as it is, and anything else as a constant.

    Raises:
        ArgumentError: It is no value of a column.
    """
    return value if isinstance(value, Expr) else Literal(value)


def type_of(name: str, given: Any) -> pa.DataType:
    """An Arrow type, also by its name.

    Raises:
        ArgumentError: There is no such type.
    """
    if isinstance(given, str):
        try:
            return pa.type_for_alias(given)
        except ValueError:
            pass
    require(isinstance(given, pa.DataType), name, given, "an Arrow type or its name")
    return given


def in_order(nodes: Iterable[Expr]) -> list[Expr]:
    """The expressions and all below them, each once, and after its arguments."""
    order: list[Expr] = []
    known: set[int] = set()
    left = [(node, False) for node in reversed(list(nodes))]
    while left:
        node, has_args = left.pop()
        if has_args:
            order.append(node)
        elif id(node) not in known:
            known.add(id(node))
            left.append((node, True))
            left += [(each, False) for each in reversed(node.args)]
    return order


def fold(node: Expr, combine: Callable[[Expr, list[T]], T]) -> T:
    """Goes through an expression, each part after its arguments, however deep they lie.

    Args:
        node: The expression.
        combine: Makes an answer of a part and the answers of its arguments.
    """
    answers: dict[int, T] = {}
    for each in in_order([node]):
        answers[id(each)] = combine(each, [answers[id(arg)] for arg in each.args])
    return answers[id(node)]


def columns_of(nodes: Iterable[Expr]) -> list[str]:
    """The columns that expressions ask for, in the order in which they first do."""
    return list(dict.fromkeys(node.name for node in in_order(nodes) if isinstance(node, Column)))


def renamed(node: Expr, names: Mapping[str, str]) -> Expr:
    """The same expression of columns of other names.

    Args:
        node: The expression.
        names: The new names by those in the expression.
    """

    def change(each: Expr, args: list[Expr]) -> Expr:
        if isinstance(each, Column):
            return Column(names.get(each.name, each.name))
        return each.with_args(args)

    return fold(node, change)


def short_text(node: Expr) -> str:
    """An expression in words, without the parentheses around it, cut if it is long."""
    told = repr(node)
    if told.startswith("(") and isinstance(node, Call) and node.function in _SYMBOLS:
        told = told[1:-1]
    return told if len(told) <= _TEXT_MAX else f"{told[: _TEXT_MAX - 1]}…"


def _made(kind: type[Expr], own: Mapping[str, Any], args: Iterable[Expr]) -> Expr:
    node = kind.__new__(kind)
    vars(node).update(own)
    args = tuple(args)
    if args:
        node.args = args
    return node


def _rebuild(parts: Iterator[tuple[type[Expr], dict[str, Any], list[int]]]) -> Expr:
    nodes: list[Expr] = []
    for kind, own, places in parts:
        nodes.append(_made(kind, own, [nodes[place] for place in places]))
    return nodes[-1]


def _scalar(value: Any) -> pa.Scalar:
    if isinstance(value, pa.Scalar):
        return value
    try:
        return infer.array_of([value])[0]
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise ArgumentError(f"{value!r} is no value of a column: {error}") from error


def _constants(values: Any) -> pa.Array:
    if isinstance(values, Literal):
        values = values.scalar.as_py()
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    is_right = is_sequence(values) and not isinstance(values, Expr)
    require(is_right, "values", values, "a list of constants")
    try:
        made = infer.array_of(list(values))
    except (pa.ArrowException, OverflowError, ValueError, TypeError) as error:
        raise ArgumentError(f"values={values!r} are no values of a column: {error}") from error
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


def _short(value: Any) -> str:
    if not isinstance(value, pa.Array):
        return str(value) if isinstance(value, pa.DataType) else repr(value)
    shown = [repr(each.as_py()) for each in value[:_VALUES_MAX]]
    return f"[{', '.join(shown)}{', …' if len(value) > _VALUES_MAX else ''}]"


_SYMBOLS = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "divide": "/",
    "floor_divide": "//",
    "modulo": "%",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "equal": "==",
    "not_equal": "!=",
    "and_kleene": "&",
    "or_kleene": "|",
}
#: Names of operators are no longer than this.
_TEXT_MAX = 80
_VALUES_MAX = 5
