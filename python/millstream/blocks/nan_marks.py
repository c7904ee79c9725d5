"""Which NaN stands for what, in arrays of floats, which have no other room for a null.

Owns the bits. NumPy and pandas pass the bits of a NaN on when they copy, select, sort and join, and
processors do when they calculate with it or convert its width: so it is still known afterwards what
was null. The payload of such a NaN is in its highest bits, which all widths have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: In place of a null, where NaN is a value of its own (NumPy).
NULL = 0x24E
#: In place of a NaN, where NaN stands for what is missing (pandas).
VALUE = 0x24F


def put(array: Array, mark: int, where: Array) -> None:
    """Puts NaN with a mark into an array of floats, where a mask says so."""
    exponent, shift, _ = _LAYOUTS[array.dtype.itemsize]
    bits = array.view(f"u{array.dtype.itemsize}")
    bits[where] = exponent | mark << shift


def find(array: Array, mark: int) -> Array:
    """Where an array of floats has NaN with a mark, as a mask."""
    if array.dtype.itemsize not in _LAYOUTS or not array.dtype.isnative:
        return np.zeros(len(array), bool)
    exponent, shift, magnitude = _LAYOUTS[array.dtype.itemsize]
    bits = np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")
    found: Array = (bits & magnitude) == (exponent | mark << shift)
    return found


# By bytes: the bits of the exponent, how far to shift ten bits to the highest of the mantissa, and
# all bits but the sign.
_LAYOUTS = {
    2: (0x7C00, 0, 0x7FFF),
    4: (0x7F80_0000, 13, 0x7FFF_FFFF),
    8: (0x7FF0_0000_0000_0000, 42, 0x7FFF_FFFF_FFFF_FFFF),
}
