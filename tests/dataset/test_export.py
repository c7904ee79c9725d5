"""Data from and to other libraries: the same values of the same types, or an error."""

from __future__ import annotations

import datetime
import gc
import threading
from collections import namedtuple
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.blocks.common_type import plain_type
from millstream.errors import ArgumentError, ReadError, SchemaError, UserCodeError
from millstream.in_memory import (
    from_arrow,
    from_huggingface,
    from_numpy,
    from_pandas,
    from_polars,
    from_torch,
)

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")
duckdb = pytest.importorskip("duckdb")


def column(ds, name="x"):
    return [row[name] for row in ds.take_all()]


# From Arrow ---------------------------------------------------------------------------------


def test_what_gives_arrow_data_is_taken(context):
    context.execution_options.preserve_order = True
    table = pa.table({"x": [1, None], "s": ["a", "b"]})
    given = [
        table,
        pl.DataFrame({"x": [1, None], "s": ["a", "b"]}),
        duckdb.sql("SELECT * FROM (VALUES (1::BIGINT, 'a'), (NULL, 'b')) AS t(x, s)"),
        pa.RecordBatchReader.from_batches(table.schema, table.to_batches()),
        ms.from_arrow(table),
    ]
    assert from_arrow(given).take_all() == table.to_pylist() * len(given)
    assert from_arrow(given[1]).take_all() == table.to_pylist()


@pytest.mark.parametrize("made", [5, pa.chunked_array([[1]]), pd.DataFrame({"x": [1]}), [{}]])
def test_what_gives_no_table_is_refused(made):
    with pytest.raises(ArgumentError, match=r"from_(arrow|pandas)"):
        from_arrow(made)


def test_views_become_plain_types_at_the_door():
    schema = pa.schema({"s": pa.string_view(), "b": pa.list_view(pa.binary_view())})
    table = pa.table({"s": ["a"], "b": [[b"x"]]}, schema=schema)
    types = from_arrow(table).schema().types
    assert types == [plain_type(type) for type in table.schema.types]
    assert types != table.schema.types


# From pandas --------------------------------------------------------------------------------


def test_columns_of_pandas_keep_their_types():
    frame = pd.DataFrame(
        {
            "i": pd.array([2**53 + 1, None], "Int64"),
            "u": np.array([1, 2**64 - 1], np.uint64),
            "b": pd.array([True, None], "boolean"),
            "c": pd.Categorical(["x", None], ["y", "x"]),
            "z": pd.to_datetime(["2024-01-01", None]).tz_localize("Europe/Paris"),
            "s": ["text", None],
            "f": [0.5, np.nan],
        }
    )
    table = pa.table(from_pandas(frame))
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    assert types["i"] == pa.int64()
    assert types["u"] == pa.uint64()
    assert types["b"] == pa.bool_()
    assert types["z"].tz == "Europe/Paris"
    assert pa.types.is_dictionary(types["c"])
    rows = table.to_pylist()
    assert rows[0]["i"] == 2**53 + 1
    assert rows[1] == dict.fromkeys(table.schema.names) | {"u": 2**64 - 1}
    assert rows[0]["c"] == "x"
    assert rows[0]["s"] == "text"


def test_objects_of_pandas_are_taken_by_their_values():
    values = [Decimal("1.5"), None]
    assert column(from_pandas(pd.DataFrame({"x": pd.Series(values, dtype=object)}))) == values
    wrong = pd.Series([datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 5)], dtype=object)
    with pytest.raises(SchemaError, match="column 'x'"):
        from_pandas(pd.DataFrame({"x": wrong}))


def test_an_index_becomes_columns_unless_it_only_counts():
    frame = pd.DataFrame({"x": [1, 2, 3]})
    assert from_pandas(frame).columns() == ["x"]
    assert from_pandas(frame[1:]).columns() == ["x"]
    assert from_pandas(frame.iloc[[2, 0, 1]]).columns() == ["x"]
    kept = from_pandas(frame.set_axis(["a", "b", "c"]))
    assert kept.take_all()[2] == {"x": 3, "__index_level_0__": "c"}
    named = from_pandas(frame.rename_axis("id"))
    assert named.take_all()[1] == {"x": 2, "id": 1}
    levels = pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("c", 3)], names=["k", None])
    assert from_pandas(frame.set_index(levels)).columns() == ["x", "k", "__index_level_1__"]


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({1: [1]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"a": [1]}, index=pd.Index([5], name="a")),
        pd.DataFrame({"a": [1]}, index=pd.Index([5], name=7)),
        pd.DataFrame({"a": [1 + 2j]}),
    ],
)
def test_frames_that_are_no_tables_name_the_column(frame):
    with pytest.raises(SchemaError, match=r"'a'|1|7") as caught:
        from_pandas(frame)
    assert "function returned" not in str(caught.value)


def test_frames_of_several_types_are_widened_or_an_error(context):
    context.execution_options.preserve_order = True
    ds = from_pandas([pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [0.5]})])
    assert column(ds) == [1.0, 0.5]
    with pytest.raises(SchemaError, match="'x'"):
        from_pandas([pd.DataFrame({"x": [2**53 + 1]}), pd.DataFrame({"x": [0.5]})])


def test_what_becomes_of_a_frame_or_an_array_later_does_not_show():
    array = np.arange(4)
    frame = pd.DataFrame({"x": array}, copy=False)
    from_frame, from_array = from_pandas(frame), from_numpy(array)
    array[:] = 9
    assert column(from_frame) == [0, 1, 2, 3]
    assert column(from_array, "data") == [0, 1, 2, 3]


def test_no_frames_and_empty_frames_have_no_rows():
    assert from_pandas([]).count() == 0
    assert from_pandas(pd.DataFrame({"x": np.array([], np.int8)})).schema().types == [pa.int8()]
    assert from_pandas(pd.DataFrame(index=range(3))).count() == 3
    with pytest.raises(ArgumentError, match="from_pandas"):
        from_pandas({"x": [1]})
    with pytest.raises(ArgumentError, match="override_num_blocks"):
        from_pandas(pd.DataFrame({"x": [1]}), override_num_blocks=0)


numbers = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.none()).map(lambda v: pd.array(v, "Int64")),
    st.lists(st.integers(0, 2**64 - 1)).map(lambda v: np.array(v, np.uint64)),
    st.lists(st.booleans() | st.none()).map(lambda v: pd.array(v, "boolean")),
    st.lists(st.text("aß\0") | st.none()).map(lambda v: pd.Series(v, dtype="str")),
    st.lists(st.text("ab", max_size=2) | st.none()).map(pd.Categorical),
    st.lists(st.floats(allow_nan=False, width=32)).map(lambda v: np.array(v, np.float32)),
)


@given(numbers)
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_frames_go_through_and_back(values):
    frame = pd.DataFrame({"x": values})
    back = from_pandas(frame, override_num_blocks=1).to_pandas()
    if not len(frame):
        assert len(back) == 0
    elif frame["x"].dtype in ("Int64", "boolean") and not frame["x"].isna().any():
        # Without nulls they are NumPy's, as in batches.
        assert back["x"].tolist() == frame["x"].tolist()
    elif isinstance(frame["x"].dtype, pd.CategoricalDtype):
        pd.testing.assert_series_equal(back["x"].astype(object), frame["x"].astype(object))
    else:
        pd.testing.assert_frame_equal(back, frame)


# From NumPy ---------------------------------------------------------------------------------


def test_arrays_become_values_or_tensors(context):
    context.execution_options.preserve_order = True
    assert column(from_numpy(np.array([1, 2], np.int8)), "data") == [1, 2]
    ds = from_numpy([np.zeros((2, 3), np.uint8), np.ones((1, 3), np.uint8)])
    assert ds.schema().types == [pa.fixed_shape_tensor(pa.uint8(), (3,))]
    assert [row.tolist() for row in column(ds, "data")] == [[0] * 3, [0] * 3, [1] * 3]
    assert column(from_numpy(np.array(["a", None], object)), "data") == ["a", None]


@pytest.mark.parametrize("made", [np.array(5), [[1, 2]], 5, "text"])
def test_what_is_no_array_of_rows_is_refused(made):
    with pytest.raises(ArgumentError, match="from_numpy"):
        from_numpy(made)


def test_arrays_without_a_type_are_an_error():
    with pytest.raises(SchemaError, match="complex"):
        from_numpy(np.array([1j]))


# From Polars --------------------------------------------------------------------------------


def test_polars_keeps_values_and_types():
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, None], dtype=pl.UInt64),
            "s": ["a", None],
            "c": pl.Series(["x", None], dtype=pl.Categorical),
            "e": pl.Series(["x", None], dtype=pl.Enum(["x", "y"])),
            "l": [[1, None], None],
            "z": pl.Series([datetime.datetime(2024, 1, 1), None]).dt.replace_time_zone("UTC"),
            "d": pl.Series([Decimal("1.50"), None], dtype=pl.Decimal(10, 2)),
            "st": [{"a": "x"}, None],
            "ar": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
            "b": [b"x", None],
        }
    )
    table = pa.table(from_polars([frame, frame], override_num_blocks=1))
    assert table.schema.field("i").type == pa.uint64()
    assert table.schema.field("s").type == pa.large_string()
    assert "view" not in str(table.schema)
    assert table.to_pylist() == frame.to_dicts() * 2
    back = pl.DataFrame(from_polars(frame))
    assert back.to_dicts() == frame.to_dicts()


def test_only_frames_of_polars_are_taken():
    with pytest.raises(ArgumentError, match=r"collect\(\)"):
        from_polars(pl.LazyFrame({"x": [1]}))
    with pytest.raises(ArgumentError, match="from_polars"):
        from_polars(pa.table({"x": [1]}))


# From torch ---------------------------------------------------------------------------------


class Numbered:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item


class Streamed:
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        yield from self.items


@pytest.mark.parametrize("kind", [Numbered, Streamed])
def test_items_of_a_dataset_are_rows(kind):
    ds = from_torch(kind(list(range(100))))
    assert sorted(column(ds, "item")) == list(range(100))
    assert from_torch(kind([])).take_all() == []


def test_items_by_number_are_read_by_several_tasks():
    ds = from_torch(Numbered(list(range(10))), override_num_blocks=3)
    assert ds.materialize().num_blocks() == 3
    assert ds.count() == 10


def test_arrays_tuples_and_dicts_become_columns(context):
    context.execution_options.preserve_order = True
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)
    plain = from_torch(Numbered([image, image]), override_num_blocks=1)
    assert plain.schema().types == [pa.fixed_shape_tensor(pa.uint8(), (2, 3))]
    pairs = from_torch(Numbered([(image, 1), (image, 2)])).take_all()
    assert [row["item_1"] for row in pairs] == [1, 2]
    assert (pairs[0]["item_0"] == image).all()
    pair = namedtuple("pair", ["x", "y"])
    assert from_torch(Numbered([pair(1, "a")])).take_all() == [{"x": 1, "y": "a"}]
    assert from_torch(Streamed([{"x": 1}, {"x": 2}])).take_all() == [{"x": 1}, {"x": 2}]
    assert from_torch(Streamed([[1, 2]])).take_all() == [{"item": [1, 2]}]


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ([1, 2, ValueError("bad file")], "item 2 of Numbered raised ValueError: bad file"),
        ([1, (1, 2)], "item 1 is a tuple of 2"),
        ([object()], "up to 0"),
        ([1, "a"], "item"),
    ],
)
def test_items_that_are_no_rows_are_errors_with_their_number(items, told):
    with pytest.raises(ReadError, match=told):
        from_torch(Numbered(items), override_num_blocks=1).take_all()


def test_an_item_that_is_not_there_does_not_end_the_rows():
    class Short(Numbered):
        def __getitem__(self, index):
            raise StopIteration if index == 1 else IndexError

    for start in (0, 1):
        with pytest.raises(ReadError, match="item"):
            from_torch(Short([0, 1][start:]), override_num_blocks=1).take_all()


def test_what_is_no_dataset_is_refused():
    with pytest.raises(ArgumentError, match="from_torch"):
        from_torch(5)


# From Hugging Face --------------------------------------------------------------------------


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return pytest.importorskip("datasets")


def test_a_dataset_of_hugging_face_gives_its_rows(datasets, context):
    context.execution_options.preserve_order = True
    rows = [{"x": n, "s": str(n)} for n in range(10)]
    made = datasets.Dataset.from_list(rows)
    assert from_huggingface(made).take_all() == rows
    assert from_huggingface(made.select([7, 2])).take_all() == [rows[7], rows[2]]
    assert from_huggingface(made, override_num_blocks=3).take_all() == rows
    assert from_huggingface(made.with_format("numpy")).take_all() == rows
    streamed = made.to_iterable_dataset(num_shards=2)
    assert from_huggingface(streamed).take_all() == rows


def test_images_kept_as_paths_are_read(datasets, tmp_path, context):
    pil = pytest.importorskip("PIL.Image")
    context.execution_options.preserve_order = True
    path = tmp_path / "a.png"
    pil.new("RGB", (2, 2)).save(path)
    features = datasets.Features(
        {"image": datasets.Image(), "all": datasets.List(datasets.Image())}
    )
    rows = {"image": [str(path), None], "all": [[str(path)], []]}
    made = datasets.Dataset.from_dict(rows, features=features)
    for dataset in (made, made.to_iterable_dataset()):
        found = from_huggingface(dataset).take_all()
        assert found[0]["image"]["bytes"] == path.read_bytes()
        assert found[0]["all"][0]["bytes"] == path.read_bytes()
        assert found[1] == {"image": None, "all": []}
    path.unlink()
    with pytest.raises(ReadError, match=r"a\.png"):
        from_huggingface(made).take_all()


def test_arrays_of_hugging_face_are_lists(datasets):
    features = datasets.Features({"x": datasets.Array2D((2, 2), "int64")})
    made = datasets.Dataset.from_dict({"x": [[[1, 2], [3, 2**53 + 1]], None]}, features=features)
    assert column(from_huggingface(made, override_num_blocks=1)) == [[[1, 2], [3, 2**53 + 1]], None]


def test_what_is_no_split_of_hugging_face_is_refused(datasets):
    made = datasets.Dataset.from_dict({"x": [1]})
    with pytest.raises(ArgumentError, match="'train'"):
        from_huggingface(datasets.DatasetDict(train=made))
    with pytest.raises(ArgumentError, match="transform"):
        from_huggingface(made.with_transform(lambda batch: batch))
    with pytest.raises(ArgumentError, match="from_huggingface"):
        from_huggingface([1])


# To other libraries -------------------------------------------------------------------------


def test_a_dataset_is_taken_as_an_arrow_stream():
    ds = ms.range(1000, override_num_blocks=5)
    assert pa.table(ds).column("id").to_pylist() != []
    assert sorted(pl.DataFrame(ds)["id"].to_list()) == list(range(1000))
    assert duckdb.sql("SELECT sum(id) FROM ds").fetchall() == [(499500,)]
    reader = pa.RecordBatchReader.from_stream(ds)
    assert duckdb.from_arrow(reader).count("*").fetchall() == [(1000,)]


def test_the_run_ends_when_the_stream_is_released():
    before = threading.active_count()
    ds = ms.range(10_000_000, override_num_blocks=100).map_batches(lambda batch: batch)
    reader = pa.RecordBatchReader.from_stream(ds)
    assert reader.read_next_batch().num_rows
    del reader
    gc.collect()
    assert ds.report().outcome == "stopped"
    unread = ds.__arrow_c_stream__()
    del unread
    gc.collect()
    assert ds.report().outcome == "stopped"
    assert threading.active_count() <= before + 1


def test_a_stream_holds_a_part_of_the_rows_only(context):
    context.execution_options.resource_limits = ms.ExecutionResources(
        cpu=2, object_store_memory=16 << 20
    )
    ds = ms.range(64, override_num_blocks=64).map_batches(
        lambda batch: {"x": np.zeros((len(batch["id"]), 1 << 20), np.uint8)}
    )
    rows = 0
    for batch in pa.RecordBatchReader.from_stream(ds):
        rows += batch.num_rows
        assert pa.total_allocated_bytes() < 64 << 20
    assert rows == 64


def test_an_error_of_the_run_comes_out_of_the_stream(context):
    context.execution_options.preserve_order = True

    def boom(batch):
        if batch["id"][0] == 3:
            raise ValueError("no")
        return batch

    ds = ms.range(5, override_num_blocks=5).map_batches(boom)
    # They have errors of their own, unless it comes before the first block.
    with pytest.raises((pa.ArrowInvalid, UserCodeError), match="ValueError: no"):
        pa.table(ds)
    with pytest.raises((pl.exceptions.ComputeError, UserCodeError), match="ValueError: no"):
        pl.DataFrame(ds)


def blocks(context, *made):
    context.execution_options.preserve_order = True
    return ms.range(len(made), override_num_blocks=len(made)).map_batches(
        lambda batch: made[batch["id"][0]]
    )


def test_blocks_that_fit_the_schema_of_the_first_are_widened(context):
    wide = pa.table({"x": [0.5], "s": pa.array(["a"], pa.string())})
    narrow = pa.table({"s": pa.array(["b"], pa.large_string()), "x": pa.array([2], pa.int8())})
    lacking = pa.table({"s": pa.array([None], pa.null())})
    table = pa.table(blocks(context, wide, narrow, lacking))
    assert table.schema == pa.schema({"x": pa.float64(), "s": pa.string()})
    assert table.to_pydict() == {"x": [0.5, 2.0, None], "s": ["a", "b", None]}


@pytest.mark.parametrize(
    "later",
    [{"x": [2.0]}, {"x": ["2"]}, {"x": [1], "y": [1]}, {"x": np.array([2**63], np.uint64)}],
)
def test_blocks_that_do_not_fit_are_an_error(context, later):
    with pytest.raises(pa.ArrowInvalid, match=r"the column '[xy]' is (int64|absent) in the stream"):
        pa.table(blocks(context, pa.table({"x": [1]}), pa.table(later)))


def test_streams_without_rows_or_columns():
    assert pa.table(ms.range(0)).schema == pa.schema({"id": pa.int64()})
    assert pa.table(ms.from_items([])).num_rows == 0
    with pytest.raises(pa.ArrowInvalid, match="without columns"):
        pa.table(ms.range(3).select_columns([]))


def test_a_schema_that_is_asked_for_is_given_if_values_stay():
    ds = ms.range(3)
    assert pa.table(ds, schema=pa.schema({"id": pa.int16()})).schema.types == [pa.int16()]
    large = ms.from_items([{"id": 2**40}])
    with pytest.raises(pa.ArrowInvalid):
        pa.table(large, schema=pa.schema({"id": pa.int16()}))


def test_tensors_and_categories_go_through_a_stream():
    rows = {"t": np.ones((2, 2, 2), np.uint8), "c": pd.Categorical(["x", "y"])}
    ds = ms.from_items([0, 1], override_num_blocks=1).map_batches(lambda _: rows)
    table = pa.table(ds)
    assert table.schema.field("t").type == pa.fixed_shape_tensor(pa.uint8(), (2, 2))
    assert table["c"].to_pylist() == ["x", "y"]


def test_to_pandas_gives_all_rows():
    frame = ms.from_items([{"i": 2**53 + 1, "t": "a"}, {"i": None, "t": "b"}]).to_pandas()
    assert frame["i"].dtype == "Int64"
    assert set(frame["i"].dropna()) == {2**53 + 1}
    frame.loc[0, "t"] = "mine"
    assert ms.range(3).to_pandas(limit=3).shape == (3, 1)
    with pytest.raises(ArgumentError, match="limit=2"):
        ms.range(3).to_pandas(limit=2)
    with pytest.raises(ArgumentError, match="limit"):
        ms.range(3).to_pandas(limit=-1)
    assert ms.range(0).to_pandas().dtypes.to_dict() == {"id": np.dtype(np.int64)}
