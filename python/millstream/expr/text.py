"""What expressions do with text.

Owns `Expr.str`. Arrow computes it. Lengths and places are in characters, which are code points.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

from millstream.errors import ArgumentError
from millstream.errors.checks import (
    check_choice,
    check_count,
    check_flag,
    check_kind,
    is_whole,
    require,
)
from millstream.expr.nodes import Call, Expr


class Strings:
    """Text.

    Args:
        expr: What gives it.
    """

    def __init__(self, expr: Expr) -> None:
        self._expr = expr

    def len(self) -> Expr:
        """How many characters it has."""
        return Call("utf8_length", self._expr)

    def byte_len(self) -> Expr:
        """How many bytes it has in UTF-8."""
        return Call("binary_length", self._expr)

    def upper(self) -> Expr:
        """In upper case."""
        return Call("utf8_upper", self._expr)

    def lower(self) -> Expr:
        """In lower case."""
        return Call("utf8_lower", self._expr)

    def capitalize(self) -> Expr:
        """With the first character in upper case, the others in lower case."""
        return Call("utf8_capitalize", self._expr)

    def title(self) -> Expr:
        """With each word as in `capitalize`."""
        return Call("utf8_title", self._expr)

    def swapcase(self) -> Expr:
        """With upper case for lower case, and the other way round."""
        return Call("utf8_swapcase", self._expr)

    def is_alpha(self) -> Expr:
        """Whether it has characters, and all are letters."""
        return Call("utf8_is_alpha", self._expr)

    def is_alnum(self) -> Expr:
        """Whether it has characters, and all are letters and digits."""
        return Call("utf8_is_alnum", self._expr)

    def is_digit(self) -> Expr:
        """Whether it has characters, and all are digits."""
        return Call("utf8_is_digit", self._expr)

    def is_decimal(self) -> Expr:
        """Whether it has characters, and all are decimal digits."""
        return Call("utf8_is_decimal", self._expr)

    def is_numeric(self) -> Expr:
        """Whether it has characters, and all are numbers, as digits and fractions are."""
        return Call("utf8_is_numeric", self._expr)

    def is_space(self) -> Expr:
        """Whether it has characters, and all are white space."""
        return Call("utf8_is_space", self._expr)

    def is_lower(self) -> Expr:
        """Whether it has letters, and all of them are in lower case."""
        return Call("utf8_is_lower", self._expr)

    def is_upper(self) -> Expr:
        """Whether it has letters, and all of them are in upper case."""
        return Call("utf8_is_upper", self._expr)

    def is_title(self) -> Expr:
        """Whether each word begins in upper case and goes on in lower case."""
        return Call("utf8_is_title", self._expr)

    def is_printable(self) -> Expr:
        """Whether all characters can be printed."""
        return Call("utf8_is_printable", self._expr)

    def is_ascii(self) -> Expr:
        """Whether all characters are ASCII."""
        return Call("string_is_ascii", self._expr)

    def starts_with(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """Whether it begins with a text.

        Args:
            pattern: The text to look for.
            ignore_case: Whether upper and lower case are the same.
        """
        return self._matching("starts_with", pattern, ignore_case=ignore_case)

    def ends_with(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """Whether it ends with a text.

        Args:
            pattern: The text to look for.
            ignore_case: Whether upper and lower case are the same.
        """
        return self._matching("ends_with", pattern, ignore_case=ignore_case)

    def contains(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """Whether a text is in it.

        Args:
            pattern: The text to look for.
            ignore_case: Whether upper and lower case are the same.
        """
        return self._matching("match_substring", pattern, ignore_case=ignore_case)

    def match(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        r"""Whether all of it is as in SQL's LIKE.

        Args:
            pattern: `%` stands for any characters, `_` for one, after `\` for themselves.
            ignore_case: Whether upper and lower case are the same.
        """
        return self._matching("match_like", pattern, ignore_case=ignore_case)

    def match_regex(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """Whether a part of it is as a regular expression says.

        Args:
            pattern: A regular expression, as RE2 has them.
            ignore_case: Whether upper and lower case are the same.
        """
        _check_regex(pattern)
        return self._matching("match_substring_regex", pattern, ignore_case=ignore_case)

    def find(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """The byte at which a text first begins, from 0; -1 if it is not there.

        Args:
            pattern: The text to look for.
            ignore_case: Whether upper and lower case are the same.
        """
        return self._matching("find_substring", pattern, ignore_case=ignore_case)

    def find_regex(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """The byte at which a match first begins, from 0; -1 if there is none.

        Args:
            pattern: A regular expression, as RE2 has them.
            ignore_case: Whether upper and lower case are the same.
        """
        _check_regex(pattern)
        return self._matching("find_substring_regex", pattern, ignore_case=ignore_case)

    def count(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """How often a text is in it, without overlaps.

        Args:
            pattern: The text to look for.
            ignore_case: Whether upper and lower case are the same.
        """
        return self._matching("count_substring", pattern, ignore_case=ignore_case)

    def count_regex(self, pattern: str, *, ignore_case: bool = False) -> Expr:
        """How often there is a match, without overlaps.

        Args:
            pattern: A regular expression, as RE2 has them.
            ignore_case: Whether upper and lower case are the same.
        """
        _check_regex(pattern)
        return self._matching("count_substring_regex", pattern, ignore_case=ignore_case)

    def extract(self, pattern: str) -> Expr:
        """What the groups of a regular expression match, as a struct; null if there is no match.

        Args:
            pattern: A regular expression, as RE2 has them, with named groups: `(?P<name>...)`.
        """
        _check_regex(pattern)
        return self._matching("extract_regex", pattern)

    def replace(
        self, pattern: str, replacement: str, *, max_replacements: int | None = None
    ) -> Expr:
        """With another text in the place of one.

        Args:
            pattern: The text to look for.
            replacement: What comes in its place.
            max_replacements: How often at most, from the left; `None`: everywhere.
        """
        return self._replaced("replace_substring", pattern, replacement, max_replacements)

    def replace_regex(
        self, pattern: str, replacement: str, *, max_replacements: int | None = None
    ) -> Expr:
        r"""With another text in the place of each match.

        Args:
            pattern: A regular expression, as RE2 has them.
            replacement: What comes in its place; `\1` is the first group.
            max_replacements: How often at most, from the left; `None`: everywhere.
        """
        _check_regex(pattern)
        return self._replaced("replace_substring_regex", pattern, replacement, max_replacements)

    def replace_slice(self, start: int, stop: int, replacement: str) -> Expr:
        """With another text in the place of some characters.

        Ray Data counts bytes, which may cut a character into what is no text.

        Args:
            start: The first character; negative: from the end.
            stop: The one after the last.
            replacement: What comes in their place.
        """
        _check_places(start=start, stop=stop)
        check_kind("replacement", replacement, str, optional=False)
        return Call(
            "utf8_replace_slice", self._expr, start=start, stop=stop, replacement=replacement
        )

    def slice(self, start: int, stop: int | None = None, step: int = 1) -> Expr:
        """Some of its characters, as far as there are.

        Args:
            start: The first; negative: from the end.
            stop: The one after the last; `None`: all.
            step: Every how many-th; negative: backwards.
        """
        _check_places(start=start, stop=start if stop is None else stop)
        require(isinstance(step, int) and step != 0, "step", step, "a whole number, not 0")
        return Call("utf8_slice_codeunits", self._expr, start=start, stop=stop, step=step)

    def split(self, pattern: str, *, max_splits: int | None = None, reverse: bool = False) -> Expr:
        """The texts between those where a text is, as a list.

        Args:
            pattern: The text to look for.
            max_splits: How often at most; `None`: everywhere.
            reverse: Whether to begin at the end; it matters with `max_splits` only.
        """
        return self._parts("split_pattern", max_splits, reverse, pattern=pattern)

    def split_regex(self, pattern: str, *, max_splits: int | None = None) -> Expr:
        """The texts between matches, as a list.

        Args:
            pattern: A regular expression, as RE2 has them.
            max_splits: How often at most; `None`: everywhere.
        """
        _check_regex(pattern)
        return self._parts("split_pattern_regex", max_splits, False, pattern=pattern)

    def split_whitespace(self, *, max_splits: int | None = None, reverse: bool = False) -> Expr:
        """The texts between white space, as a list.

        Args:
            max_splits: How often at most; `None`: everywhere.
            reverse: Whether to begin at the end; it matters with `max_splits` only.
        """
        return self._parts("utf8_split_whitespace", max_splits, reverse)

    def repeat(self, n: int) -> Expr:
        """The text several times.

        Args:
            n: How often.
        """
        check_count("n", n, least=0, optional=False)
        return Call("binary_repeat", self._expr, n)

    def reverse(self) -> Expr:
        """Backwards."""
        return Call("utf8_reverse", self._expr)

    def strip(self, characters: str | None = None) -> Expr:
        """Without some characters at both ends.

        Args:
            characters: Which; `None`: white space.
        """
        return self._stripped("utf8_trim", characters)

    def lstrip(self, characters: str | None = None) -> Expr:
        """Without some characters at the beginning.

        Args:
            characters: Which; `None`: white space.
        """
        return self._stripped("utf8_ltrim", characters)

    def rstrip(self, characters: str | None = None) -> Expr:
        """Without some characters at the end.

        Args:
            characters: Which; `None`: white space.
        """
        return self._stripped("utf8_rtrim", characters)

    def pad(
        self, width: int, fillchar: str = " ", side: Literal["left", "right", "both"] = "right"
    ) -> Expr:
        """With characters added until it has as many as wanted.

        Args:
            width: How many.
            fillchar: The character.
            side: Where they are added.
        """
        check_choice("side", side, ("left", "right", "both"))
        check_count("width", width, least=0, optional=False)
        is_right = isinstance(fillchar, str) and len(fillchar) == 1
        require(is_right, "fillchar", fillchar, "one character")
        function = {"left": "utf8_lpad", "right": "utf8_rpad", "both": "utf8_center"}[side]
        return Call(function, self._expr, width=width, padding=fillchar)

    def lpad(self, width: int, padding: str = " ") -> Expr:
        """With characters added at the beginning until it has as many as wanted.

        Args:
            width: How many.
            padding: The character.
        """
        return self.pad(width, padding, "left")

    def rpad(self, width: int, padding: str = " ") -> Expr:
        """With characters added at the end until it has as many as wanted.

        Args:
            width: How many.
            padding: The character.
        """
        return self.pad(width, padding, "right")

    def center(self, width: int, padding: str = " ") -> Expr:
        """With characters added at both ends until it has as many as wanted.

        Args:
            width: How many.
            padding: The character.
        """
        return self.pad(width, padding, "both")

    def _matching(self, function: str, pattern: str, *, ignore_case: bool | None = None) -> Expr:
        check_kind("pattern", pattern, str, optional=False)
        if ignore_case is None:
            return Call(function, self._expr, pattern=pattern)
        check_flag("ignore_case", ignore_case)
        return Call(function, self._expr, pattern=pattern, ignore_case=ignore_case)

    def _replaced(self, function: str, pattern: str, replacement: str, most: int | None) -> Expr:
        check_kind("pattern", pattern, str, optional=False)
        check_kind("replacement", replacement, str, optional=False)
        check_count("max_replacements", most)
        return Call(
            function,
            self._expr,
            pattern=pattern,
            replacement=replacement,
            max_replacements=most,
        )

    def _parts(self, function: str, most: int | None, reverse: bool, **how: str) -> Expr:
        for name, value in how.items():
            check_kind(name, value, str, optional=False)
        check_count("max_splits", most)
        check_flag("reverse", reverse)
        return Call(function, self._expr, max_splits=most, reverse=reverse, **how)

    def _stripped(self, function: str, characters: str | None) -> Expr:
        check_kind("characters", characters, str)
        if characters is None:
            return Call(f"{function}_whitespace", self._expr)
        return Call(function, self._expr, characters=characters)


def _check_places(**places: int) -> None:
    for name, value in places.items():
        is_right = is_whole(value, 0) or (isinstance(value, int) and value < 0)
        require(is_right, name, value, "a whole number")


def _check_regex(pattern: str) -> None:
    check_kind("pattern", pattern, str, optional=False)
    # Loaded where it is needed, since it takes longer to load than a small pipeline to run.
    from pyarrow import compute

    try:
        # Without a text, Arrow does not look at it.
        compute.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        raise ArgumentError(f"pattern={pattern!r} must be a regular expression: {error}") from None
