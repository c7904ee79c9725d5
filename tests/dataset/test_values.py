"""Values through whole datasets: what goes in comes out, or an error names columns and types."""

import datetime
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millstream as ms
from millstream.blocks import tensor

LARGE = 2**53 + 1
UTC = datetime.UTC


def identity(batch):
    return batch


@pytest.mark.parametrize("format", ["numpy", "pandas", "pyarrow"])
@pytest.mark.parametrize("zero_copy", [True, False])
def test_integers_beside_nulls_stay_integers_at_any_depth(format, zero_copy):
    rows = [
        {"id": LARGE, "s": {"a": LARGE, "l": [LARGE, None]}, "l": [[LARGE, None], None]},
        {"id": None, "s": {"a": None, "l": None}, "l": None},
    ]
    ds = ms.from_arrow(pa.Table.from_pylist(rows))
    same = ds.map_batches(identity, batch_format=format, zero_copy_batch=zero_copy)
    assert same.take_all() == rows
    assert same.schema().types == ds.schema().types


def test_a_tensor_column_with_a_null_row_keeps_its_integers():
    table = pa.table({"t": tensor.from_ndarrays([np.array([LARGE, 2]), None])})
    for format in ("numpy", "pandas", "pyarrow"):
        for zero_copy in (True, False):
            ds = ms.from_arrow(table).map_batches(
                identity, batch_format=format, zero_copy_batch=zero_copy
            )
            first, second = ds.take_all()
            assert first["t"].tolist() == [LARGE, 2]
            assert second["t"] is None
            assert ds.schema().types == [table.schema.field("t").type]


def test_pandas_batches_have_nullable_integers():
    ds = ms.from_arrow(pa.table({"i": [LARGE, None], "u": pa.array([1, None], pa.uint8())}))
    frame = ds.take_batch(batch_format="pandas")
    assert frame.dtypes.astype(str).tolist() == ["Int64", "UInt8"]
    assert frame["i"].tolist()[0] == LARGE


def test_arithmetic_beside_nulls_is_the_same_in_every_block():
    blocks = [pa.table({"x": [LARGE, 3]}), pa.table({"x": [7, None]})]
    ds = ms.from_arrow(blocks).map_batches(lambda batch: {"x": batch["x"] + 2}, batch_size=2)
    assert [row["x"] for row in ds.take_all()] == [LARGE + 2, 5, 9, None]
    assert ds.materialize().schema().types == [pa.int64()]


def united(left, right):
    tables = [pa.table({"x": left}), pa.table({"x": right})]
    return ms.from_arrow(tables[:1]).union(ms.from_arrow(tables[1:]))


def made_in_one_task(left, right):
    tables = [pa.table({"x": left}), pa.table({"x": right})]
    blocks = ms.range(2, override_num_blocks=1)
    return blocks.map_batches(lambda batch: tables[int(batch["id"][0])], batch_size=1)


def made_in_two_tasks(left, right):
    tables = [pa.table({"x": left}), pa.table({"x": right})]
    blocks = ms.range(2, override_num_blocks=2)
    return blocks.map_batches(lambda batch: tables[int(batch["id"][0])], batch_size=1)


WAYS = [united, made_in_one_task, made_in_two_tasks]


def test_integers_that_are_no_exact_floats_do_not_meet_floats():
    for way in WAYS:
        ds = way([LARGE + 2, 5], [9.5])
        with pytest.raises(
            ms.MillstreamError, match=r"'x' .*int64.* double|'x' .* 9007199254740995"
        ):
            ds.take_all()
    for way in WAYS:
        ds = way([LARGE - 1, 5], [9.5])
        assert [row["x"] for row in ds.take_all()] == [LARGE - 1, 5, 9.5]
        assert [row["x"] for row in ds.materialize().iter_rows()] == [LARGE - 1, 5, 9.5]
        (batch,) = ds.iter_batches(batch_size=3)
        assert batch["x"].tolist() == [LARGE - 1, 5, 9.5]


def test_hashes_of_both_signs_of_64_bits_meet():
    for way in WAYS:
        ds = way(pa.array([5, None]), pa.array([2**64 - 1], pa.uint64()))
        assert [row["x"] for row in ds.take_all()] == [5, None, 2**64 - 1]


def test_categories_that_differ_by_batch_meet():
    def categories(batch):
        start = int(batch["id"].iloc[0])
        words = [f"{start}-{index}" for index in range(100)]
        return pd.DataFrame({"c": pd.Categorical(words)})

    ds = ms.range(3, override_num_blocks=1).map_batches(
        categories, batch_format="pandas", batch_size=1
    )
    assert len({row["c"] for row in ds.take_all()}) == 300
    assert len(ds.take_batch(300, batch_format="pandas")["c"].cat.categories) == 300
    narrow = [
        pa.table({"c": pa.array(words).cast(pa.dictionary(pa.int8(), pa.string()))})
        for words in np.array([str(index) for index in range(300)]).reshape(3, 100).tolist()
    ]
    kept = ms.from_arrow(narrow).map_batches(identity, batch_format="pandas", batch_size=300)
    assert [row["c"] for row in kept.take_all()] == [str(index) for index in range(300)]


def test_a_sparse_pandas_column_is_dense():
    frame = {"x": pd.arrays.SparseArray([0, 5, 0]), "y": pd.arrays.SparseArray([np.nan, 1.5, 2])}
    ds = ms.range(1).map_batches(lambda batch: pd.DataFrame(frame))
    assert ds.take_all() == [{"x": 0, "y": None}, {"x": 5, "y": 1.5}, {"x": 0, "y": 2.0}]


@pytest.mark.parametrize(
    "returned",
    [
        {"ok": [1, 2], "z": [1.5, 2j]},
        {"ok": [1, 2], "z": np.array([1.5, 2j])},
        {"ok": [1, 2], "z": [np.zeros(2), np.zeros(2, complex)]},
        pd.DataFrame({"z": [1.5, 2j]}),
    ],
)
def test_complex_numbers_are_an_error_that_names_column_and_row(returned):
    ds = ms.range(1).map_batches(lambda batch: returned)
    with pytest.raises(ms.MillstreamError, match=r"'z'.*row [01]"):
        ds.take_all()


def test_complex_numbers_in_rows_are_an_error_that_names_column_and_row():
    ds = ms.range(2).map(lambda row: {"z": [row["id"] * 1j]})
    with pytest.raises(ms.MillstreamError, match=r"'z'.*complex number in row 0"):
        ds.take_all()


def test_tensors_of_strings_are_lists_with_their_strings():
    words = np.array([["a", "bé"], ["", "c"]])
    ds = ms.range(2).map(lambda row: {"w": words, "n": words[row["id"]]})
    assert ds.take_all() == [{"w": words.tolist(), "n": words[i].tolist()} for i in range(2)]
    batches = ms.range(2).map_batches(lambda batch: {"w": words[None].repeat(len(batch["id"]), 0)})
    assert [row["w"] for row in batches.take_all()] == [words.tolist()] * 2
    same = batches.map_batches(identity, zero_copy_batch=False)
    assert [row["w"] for row in same.take_all()] == [words.tolist()] * 2


def test_tensors_of_different_rank_keep_their_shapes():
    shapes = [(2, 3), (2, 3, 3), (4,), (0, 2)]

    def make(row):
        return {"t": np.full(shapes[row["id"]], row["id"], np.uint8)}

    for blocks in (1, 4):
        ds = ms.range(4, override_num_blocks=blocks).map(make)
        assert [row["t"].shape for row in ds.take_all()] == shapes
        assert [row["t"].shape for row in ds.iter_rows()] == shapes
        (batch,) = ds.map_batches(identity).iter_batches(batch_size=4)
        assert [value.shape for value in batch["t"]] == shapes
        kept = ds.materialize()
        assert [row["t"].shape for row in kept.iter_rows()] == shapes


def test_the_schema_of_ragged_tensors_tells_no_shape():
    ds = ms.range(3, override_num_blocks=3).map(lambda row: {"t": np.zeros((row["id"] + 1, 2))})
    assert ds.schema().types == [tensor.VariableShapeTensorType(pa.float64(), 2)]
    one = ms.range(3, override_num_blocks=1).map(lambda row: {"t": np.zeros((4, 2))})
    assert one.schema().types == [pa.fixed_shape_tensor(pa.float64(), (4, 2))]


def test_zip_takes_blocks_of_different_types():
    left = ms.from_arrow([pa.table({"x": [1]}), pa.table({"x": [LARGE]})])
    right = ms.from_arrow([pa.table({"y": [None]}), pa.table({"y": ["a"]})])
    mixed = ms.range(2, override_num_blocks=2).map(
        lambda row: {"z": [None, {"a": LARGE}][row["id"]]}
    )
    assert left.zip(right, mixed).take_all() == [
        {"x": 1, "y": None, "z": None},
        {"x": LARGE, "y": "a", "z": {"a": LARGE}},
    ]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["a"], [b"a"]),
        ([datetime.date(2024, 1, 1)], [datetime.datetime(2024, 1, 1)]),
        ([datetime.datetime(2024, 1, 1)], [datetime.datetime(2024, 1, 1, tzinfo=UTC)]),
        ([True], [1]),
        ([[1]], [1]),
    ],
)
def test_types_that_do_not_go_together_are_an_error_that_names_both(left, right):
    types = [str(pa.array(values).type) for values in (left, right)]
    for way in WAYS:
        with pytest.raises(ms.SchemaError) as caught:
            way(left, right).take_all()
        assert all(told in str(caught.value) for told in ("'x'", *types))


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 9), "a date .* a datetime"),
        (
            datetime.datetime(2024, 1, 1),
            datetime.datetime(2024, 1, 1, tzinfo=UTC),
            "a datetime without a zone .* a datetime with a zone",
        ),
        ("a", b"a", "text .* bytes"),
        (True, 1, "a bool .* an integer"),
        ({"d": datetime.date(2024, 1, 1)}, {"d": datetime.datetime(2024, 1, 1)}, "a date"),
        ([datetime.date(2024, 1, 1)], [datetime.datetime(2024, 1, 1)], "a date"),
        (LARGE, 0.5, f"{LARGE} in row 0, which is no exact float64"),
    ],
)
def test_python_values_that_do_not_go_together_name_row_and_column(first, second, told):
    rows = [{"id": 0, "v": first}, {"id": 1, "v": second}]
    for order in (rows, rows[::-1]):
        made = ms.range(2, override_num_blocks=1).map(lambda row, rows=order: rows[row["id"]])
        with pytest.raises(ms.MillstreamError, match=r"'v'.* in row [01]"):
            made.take_all()
        with pytest.raises(ms.MillstreamError, match=r"'v'.* in row [01]"):
            ms.from_items(order).take_all()
    with pytest.raises(ms.MillstreamError, match=told):
        ms.from_items(rows)


def test_batches_for_a_loop_are_views_or_copies():
    ds = ms.from_arrow(pa.table({"x": [1, 2], "l": [[1], [2]]}))
    for zero_copy in (True, False):
        (batch,) = ds.iter_batches(zero_copy_batch=zero_copy)
        assert batch["x"].flags.writeable is not zero_copy
        assert batch["l"][0].flags.writeable is not zero_copy
    (batch,) = ds.iter_batches()
    assert not batch["x"].flags.writeable
    with pytest.raises(ms.ArgumentError, match="zero_copy_batch"):
        ds.iter_batches(zero_copy_batch=1)


@pytest.mark.parametrize("column", ["x", "nulls"])
def test_writing_into_a_view_names_the_option_that_gives_copies(column):
    def write(batch):
        batch[column][0] = 7
        batch[column] += 1
        return batch

    ds = ms.from_arrow(pa.table({"x": [1, 2], "nulls": [1, None]}))
    with pytest.raises(ms.UserCodeError, match=r"read-only view.*zero_copy_batch=False"):
        ds.map_batches(write).take_all()
    made = ds.map_batches(write, zero_copy_batch=False).take_all()
    assert made[0][column] == 8


def test_libraries_that_warn_of_read_only_arrays_do_not_reach_the_user():
    told = "The given NumPy array is not writable, and PyTorch does not support non-writable"

    def warn(batch):
        warnings.warn(told, UserWarning, stacklevel=1)
        return batch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for batch in ms.range(2).map_batches(warn).iter_batches():
            warn(batch)
        warnings.warn("another one", UserWarning, stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["another one"]


def test_views_become_plain_types_at_every_door(tmp_path):
    views = pa.table(
        {
            "s": pa.array(["longer than the twelve bytes", None], pa.string_view()),
            "b": pa.array([b"longer than the twelve bytes", None], pa.binary_view()),
            "l": pa.array([["longer than the twelve bytes"], None], pa.list_view(pa.string_view())),
        }
    )
    plain = [pa.large_string(), pa.large_binary(), pa.large_list(pa.large_string())]
    seen = []

    def see(batch):
        seen.append(batch.schema.types)
        return batch

    pq.write_table(views.select(["s", "b"]), tmp_path / "views.parquet")
    sources = {
        "arrow": ms.from_arrow(views),
        "function": ms.range(1).map_batches(lambda batch: views),
        "file": ms.read_parquet(tmp_path / "views.parquet"),
    }
    for name, ds in sources.items():
        count = 2 if name == "file" else 3
        kept = ds.map_batches(see, batch_format="pyarrow")
        assert ds.schema().types == plain[:count]
        assert kept.filter(lambda row: row["s"] is not None).count() == 1
        assert seen.pop() == plain[:count]
        kept.write_parquet(tmp_path / name)
        for path in (tmp_path / name).glob("*.parquet"):
            assert pq.read_schema(path).types[:2] == plain[:2]
        assert seen
        seen.clear()
