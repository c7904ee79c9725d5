"""Options that many operators and readers take: said and documented once.

Owns how a class of options becomes keyword arguments. The classes are where they are used:
`FunctionOptions` and `WorkerOptions` in `millstream.plan.arguments`, `FileOptions` in
`millstream.io.files`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Set
from dataclasses import MISSING, Field, field, fields
from functools import wraps
from itertools import takewhile
from typing import Any, TypeVar

R = TypeVar("R")


def takes(**options: type) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Lets a function take the fields of classes as keyword arguments.

    The function itself gets an object of each class, which its constructor has checked. To
    `help`, `inspect.signature` and whatever else asks, it has all the arguments: their types,
    defaults and documentation are those of the fields. A field that is made by `rest` takes all
    further keywords.

    Args:
        **options: The classes, frozen dataclasses, by the parameters that get the objects.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        own = inspect.signature(function)
        signature = _signature(own, options)
        names = {name: [each.name for each in fields(kind)] for name, kind in options.items()}
        positional = _names_of(own, _POSITIONAL)
        several = _names_of(own, {inspect.Parameter.VAR_POSITIONAL})
        others = _names_of(signature, {inspect.Parameter.VAR_KEYWORD})

        @wraps(function)
        def call(*args: Any, **given: Any) -> R:
            try:
                bound = signature.bind(*args, **given).arguments
            except TypeError as error:
                raise TypeError(f"{function.__name__}() {error}") from None
            for name, kind in options.items():
                taken = {each: bound.pop(each) for each in names[name] if each in bound}
                bound[name] = kind(**taken)
            given_first = takewhile(bound.__contains__, positional)
            first = [bound.pop(name) for name in list(given_first)]
            first += [each for name in several for each in bound.pop(name, ())]
            rests: list[dict[str, Any]] = [bound.pop(name) for name in others if name in bound]
            further = rests[0] if rests else {}
            for name in options.keys() & further.keys():
                unexpected = f"got an unexpected keyword argument {name!r}"
                raise TypeError(f"{function.__name__}() {unexpected}")
            return function(*first, **bound, **further)

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__doc__ = _documentation(function, options)
        return call

    return decorate


def rest() -> Any:
    """A field that takes all keywords that no other takes, as a dict."""
    return field(default_factory=dict, metadata={_REST: True})


def documentation_of(kind: type) -> dict[str, str]:
    """What a class of options says of each field, or its base where it says nothing."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base is not object:
            found |= _entries(inspect.cleandoc(base.__doc__ or ""))
    return {each.name: found.get(each.name, "") for each in fields(kind)}


def _signature(own: inspect.Signature, options: dict[str, type]) -> inspect.Signature:
    parameters = [each for each in own.parameters.values() if each.name not in options]
    for kind in options.values():
        parameters += map(_parameter, fields(kind))
    # What takes all further keywords comes last.
    return own.replace(parameters=sorted(parameters, key=lambda each: each.kind))


def _parameter(given: Field[Any]) -> inspect.Parameter:
    if given.metadata.get(_REST):
        return inspect.Parameter(given.name, inspect.Parameter.VAR_KEYWORD, annotation="Any")
    default = inspect.Parameter.empty if given.default is MISSING else given.default
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(given.name, kind, default=default, annotation=given.type)


def _names_of(signature: inspect.Signature, kinds: Set[Any]) -> list[str]:
    return [each.name for each in signature.parameters.values() if each.kind in kinds]


def _rest_of(kind: type) -> str | None:
    return next((each.name for each in fields(kind) if each.metadata.get(_REST)), None)


def _documentation(function: Callable[..., Any], options: dict[str, type]) -> str:
    """The function's own text, with the fields in the place of the parameters that get objects."""
    text = inspect.cleandoc(function.__doc__ or "")
    for name, kind in options.items():
        starred = _rest_of(kind)
        entries = [
            f"    {'**' if each == starred else ''}{each}: {said}"
            for each, said in documentation_of(kind).items()
        ]
        # What is said of a parameter goes on in lines that are further in.
        pattern = re.compile(rf"^    {name}:.*(?:\n     .*)*", flags=re.MULTILINE)
        text = pattern.sub("\n".join(entries).replace("\\", r"\\"), text)
    return text


def _entries(text: str) -> dict[str, str]:
    """The entries of the section of arguments."""
    section = re.search(r"^Args:\n((?:[ \t].*\n?|\n)*)", text, flags=re.MULTILINE)
    found = re.split(r"^    (?=\S)", section.group(1) if section else "", flags=re.MULTILINE)
    pairs = (entry.rstrip().partition(":") for entry in found if entry.strip())
    return {name.lstrip("*"): said.strip() for name, _, said in pairs}


_POSITIONAL = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
#: Marks the field that takes all further keywords.
_REST = "takes the rest"
