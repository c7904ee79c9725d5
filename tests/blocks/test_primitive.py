"""Plain values into Arrow, as pyarrow would have it."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import primitive

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("type", "plain"),
    [
        (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
        (pa.uint64(), st.just(2**63) | st.just(2**64 - 1)),
        (pa.float64(), st.floats(allow_nan=False)),
        (pa.bool_(), st.booleans()),
        (pa.large_string(), TEXT),
        (pa.large_binary(), st.binary()),
    ],
)
@given(data=st.data())
def test_values_become_what_pyarrow_makes_of_them(type, plain, data):
    values = data.draw(st.lists(st.none() | plain, min_size=1).filter(any_value))
    made = primitive.of_values(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, type))


def any_value(values):
    return any(value is not None for value in values)


@pytest.mark.parametrize(
    "values", [[1, 2.0], [1, True], ["a", b"a"], [-1, 2**63], [2**64], [None], [[1]]]
)
def test_other_values_are_left_to_pyarrow(values):
    assert primitive.of_values(values) is None
