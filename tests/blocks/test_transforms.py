"""Steps: each kind of user function, and what is made of its results."""

import asyncio
import functools
import gc
import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from millstream.blocks import block
from millstream.blocks.transforms import FilterRows, FlatMap, MapBatches, MapRows, SelectColumns
from millstream.blocks.usercode import UserFunction
from millstream.errors import ArgumentError, MillstreamError, SchemaError, UserCodeError


def blocks_of(*sizes):
    start = 0
    for size in sizes:
        yield pa.table({"id": np.arange(start, start + size)})
        start += size


def ids(transform, *sizes):
    made = transform.open()(blocks_of(*(sizes or (5, 3))))
    return [value for table in made for value in table["id"].to_pylist()]


def double(batch):
    return {"id": batch["id"] * 2}


def yields_halves(batch):
    half = len(batch["id"]) // 2
    yield {"id": batch["id"][:half]}
    yield {"id": batch["id"][half:]}


async def double_later(batch):
    await asyncio.sleep(0.001 * float(8 - batch["id"][0]))
    return {"id": batch["id"] * 2}


async def double_row_later(row):
    await asyncio.sleep(0.001 * (8 - row["id"]))
    return {"id": row["id"] * 2}


async def yields_later(batch):
    for value in batch["id"]:
        await asyncio.sleep(0)
        yield {"id": [value * 2]}


class Times:
    def __init__(self, factor, *, plus=0):
        self.factor, self.plus = factor, plus

    def __call__(self, batch, extra=0):
        return {"id": batch["id"] * self.factor + self.plus + extra}


class TimesLater(Times):
    async def __call__(self, batch):
        return {"id": batch["id"] * self.factor}


class Yields(Times):
    async def __call__(self, batch):
        for value in batch["id"]:
            yield {"id": [value * self.factor]}


DOUBLED = [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize(
    "transform",
    [
        MapBatches(double),
        MapBatches(double, batch_size=3),
        MapBatches(functools.partial(lambda k, b: {"id": b["id"] * k}, 2)),
        MapBatches(lambda b: iter([double(b)])),
        MapBatches(double_later, batch_size=1),
        MapBatches(yields_later, batch_size=3),
        MapBatches(UserFunction(Times, constructor_args=(2,))),
        MapBatches(UserFunction(Times, constructor_kwargs={"factor": 2})),
        MapBatches(UserFunction(TimesLater, constructor_args=(2,)), batch_size=2),
        MapBatches(UserFunction(Yields, constructor_args=(2,)), batch_size=2),
        MapBatches(Times(2)),
        MapRows(lambda row: {"id": row["id"] * 2}),
        MapRows(double_row_later),
        MapRows(UserFunction(Times, constructor_args=(2,))),
        FlatMap(lambda row: [double(row)]),
        FlatMap(lambda row: (double(row) for _ in range(1))),
    ],
    ids=lambda transform: transform.name,
)
def test_every_kind_of_function_gives_the_same(transform):
    assert ids(transform) == DOUBLED


def test_arguments_are_passed_after_the_data():
    transform = MapBatches(UserFunction(Times, (100,), {}, (1,), {"plus": 10}))
    assert ids(transform, 2) == [110, 111]
    assert ids(MapRows(UserFunction(lambda row, k: {"id": row["id"] + k}, kwargs={"k": 1})), 2) == [
        1,
        2,
    ]


def test_a_class_is_loaded_once_for_all_bundles():
    loaded = []

    class Model:
        def __init__(self):
            loaded.append(self)

        def __call__(self, batch):
            return batch

    apply = MapBatches(Model).open()
    assert [sum(1 for _ in apply(blocks_of(2))) for _ in range(3)] == [1, 1, 1]
    assert len(loaded) == 1


def test_names_are_what_a_user_wrote():
    assert MapBatches(double).name == "MapBatches(double)"
    assert MapBatches(UserFunction(Times, constructor_args=(1,))).name == "MapBatches(Times)"
    assert MapBatches(Times(1)).name == "MapBatches(Times)"
    assert MapRows(functools.partial(double)).name == "Map(double)"
    assert FlatMap(lambda row: [row]).name == "FlatMap(<lambda>)"
    assert FilterRows(double).name == "Filter(double)"
    assert SelectColumns(["a", "b"]).name == "Select(a, b)"


def test_batches_cross_blocks_and_without_a_size_join_small_ones():
    seen = []

    def note(batch):
        seen.append(len(batch["id"]))
        return batch

    ids(MapBatches(note, batch_size=3), 2, 2, 3)
    ids(MapBatches(note, batch_size=None), 2, 2, 3)
    assert seen == [3, 3, 1, 7]


def test_empty_blocks_do_not_reach_the_function():
    def fail(_):
        raise AssertionError

    for transform in (MapBatches(fail), MapRows(fail), FlatMap(fail), FilterRows(fail)):
        assert ids(transform, 0, 0) == []


def test_coroutines_overlap_and_keep_order():
    together, most = 0, 0

    async def wait(batch):
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0.01 if batch["id"][0] % 2 else 0.02)
        together -= 1
        return batch

    assert ids(MapBatches(wait, batch_size=1), 40) == list(range(40))
    assert 1 < most <= 16


def test_results_of_a_generator_are_taken_as_they_come():
    produced = []

    def slowly(batch):
        for index in range(1000):
            produced.append(index)
            yield batch

    made = MapBatches(slowly).open()(blocks_of(1))
    next(made)
    assert len(produced) == 1


def test_a_closed_stream_closes_the_users_generator():
    closed = threading.Event()

    def forever(batch):
        try:
            while True:
                yield batch
        finally:
            closed.set()

    made = MapBatches(forever).open()(blocks_of(1))
    next(made)
    made.close()
    assert closed.is_set()


def test_the_thread_of_coroutines_ends_with_its_function():
    before = set(threading.enumerate())
    apply = MapBatches(double_later).open()
    list(apply(blocks_of(1)))
    assert set(threading.enumerate()) - before
    del apply
    deadline = time.monotonic() + 10
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_batches_are_read_only_views_only_when_asked_for():
    def write(batch):
        batch["id"] += 1
        return batch

    values = np.arange(3)
    source = pa.table({"id": pa.array(values)})
    made = list(MapBatches(write).open()(iter([source])))
    assert made[0]["id"].to_pylist() == [1, 2, 3]
    assert values.tolist() == [0, 1, 2]
    with pytest.raises(UserCodeError, match="read-only"):
        list(MapBatches(write, zero_copy_batch=True).open()(iter([source])))


def test_filter_keeps_rows_and_types():
    table = pa.table({"id": range(6), "s": pa.array(["a"] * 6, pa.string())})
    made = list(FilterRows(lambda row: row["id"] % 2).open()(iter([table])))
    assert made[0].schema == table.schema
    assert made[0]["id"].to_pylist() == [1, 3, 5]


def test_filter_of_rows_without_columns():
    made = list(FilterRows(lambda row: row == {}).open()(iter([block.rows_only(3)])))
    assert made[0].num_rows == 3


def test_filter_refuses_what_is_not_a_truth():
    with pytest.raises(UserCodeError, match="neither true nor false"):
        list(FilterRows(lambda row: np.array([1, 2])).open()(blocks_of(1)))


def test_select_keeps_the_order_given_and_rows_without_columns():
    table = pa.table({"a": [1], "b": [2], "c": [3]})
    (made,) = SelectColumns(["c", "a"]).open()(iter([table]))
    assert made.column_names == ["c", "a"]
    (made,) = SelectColumns([]).open()(iter([table]))
    assert made.num_rows == 1
    with pytest.raises(SchemaError, match="no column 'x'; the columns are 'a', 'b', 'c'"):
        list(SelectColumns(["x"]).open()(iter([table])))


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (
            MapBatches(lambda b: None),
            r"batch 0 \(rows 0 to 4 of its task\): the function returned None",
        ),
        (MapBatches(lambda b: [1]), "returned a list of int, which is not a batch"),
        (
            MapRows(lambda r: None),
            "row 0 of its task: the function returned None, which is not a row",
        ),
        (MapRows(lambda r: iter([r])), "which is not a row"),
        (FlatMap(lambda r: r), "returned a value of type dict for row 0 .* return a list of rows"),
        (FlatMap(lambda r: None), "returned None for row 0"),
        (FlatMap(lambda r: [1]), "a value of type int, which is not a row"),
    ],
)
def test_wrong_results_are_errors_that_say_what_and_where(transform, message):
    with pytest.raises(UserCodeError, match=message):
        list(transform.open()(blocks_of(5)))


def raises(batch):
    raise KeyError("no such thing")


async def raises_later(batch):
    await asyncio.sleep(0)
    raises(batch)


def raises_after_one(batch):
    yield batch
    raises(batch)


@pytest.mark.parametrize("function", [raises, raises_later, raises_after_one])
def test_errors_of_user_code_show_only_the_users_frames(function):
    with pytest.raises(UserCodeError) as caught:
        list(MapBatches(function, batch_size=2).open()(blocks_of(3)))
    assert isinstance(caught.value.__cause__, KeyError)
    message = caught.value.message
    assert message.startswith("batch 0 (rows 0 to 1 of its task) raised KeyError")
    assert 'raise KeyError("no such thing")' in message
    assert "millstream" + "/blocks" not in message.replace("tests/blocks", "")
    assert "asyncio" not in message.replace("await asyncio", "")


@pytest.mark.parametrize("error", [StopIteration("early"), SystemExit(3)])
def test_errors_that_python_treats_in_its_own_way_are_users_errors_too(error):
    def fail(batch):
        raise error

    with pytest.raises(UserCodeError, match=type(error).__name__):
        list(MapBatches(fail).open()(blocks_of(1)))


def test_a_failing_constructor_is_the_users_error():
    class Broken:
        def __init__(self):
            raise RuntimeError("no weights")

        def __call__(self, batch):
            return batch

    with pytest.raises(
        UserCodeError, match="constructor of Broken raised RuntimeError: no weights"
    ):
        MapBatches(Broken).open()


def test_a_millstream_error_of_user_code_passes_as_it_is():
    def fail(batch):
        raise SchemaError("mine")

    with pytest.raises(MillstreamError, match="mine"):
        list(MapBatches(fail).open()(blocks_of(1)))


@pytest.mark.parametrize("size", [0, -1])
def test_batch_sizes_without_sense_are_refused(size):
    with pytest.raises(ArgumentError, match="batch_size must be at least 1"):
        MapBatches(double, batch_size=size)


def test_coroutines_that_an_error_leaves_end_without_a_word(caplog):
    held = asyncio.Event()

    async def wait(value):
        if value == 0:
            raise ValueError("not this one")
        await held.wait()

    opened = UserFunction(wait).open("one")
    with pytest.raises(UserCodeError, match="not this one"):
        list(opened.calls((value, value) for value in range(20)))
    opened.close()
    for thread in threading.enumerate():
        if thread.name == "millstream-async":
            thread.join(10)
    gc.collect()
    assert caplog.records == []
