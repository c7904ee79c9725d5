"""Blocks: unions, hidden rows, sizes and copies."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from millstream.blocks import block, tensor
from millstream.blocks.batch import from_batch, to_batch
from millstream.blocks.builder import BlockBuilder
from millstream.errors import SchemaError


def test_rows_without_columns_survive_transport_slices_and_concatenation():
    sealed = block.seal(pa.table({"a": [1, 2, 3]}).select([]))
    sent = pickle.loads(pickle.dumps(sealed))
    both = block.concat([sent, sealed.slice(1)])
    assert both.num_rows == 5
    assert block.unseal(both).column_names == []
    assert block.unseal(both).num_rows == 5
    assert block.visible_schema(both.schema).names == []
    assert both.nbytes == 0


def test_hidden_column_goes_when_a_real_one_comes():
    sealed = block.rows_only(2)
    widened = block.seal(sealed.append_column("a", pa.array([1, 2])))
    assert widened.column_names == ["a"]
    mixed = block.concat([sealed, pa.table({"a": [1]})])
    assert mixed.to_pydict() == {"a": [None, None, 1]}


def test_a_plain_table_is_its_own_block():
    table = pa.table({"a": [1]})
    assert block.seal(table) is table
    assert block.unseal(table) is table


def test_concat_fills_missing_columns_with_null():
    joined = block.concat([pa.table({"a": [1]}), pa.table({"b": ["x"]})])
    assert joined.to_pydict() == {"a": [1, None], "b": [None, "x"]}


@pytest.mark.parametrize(
    ("left", "right", "common"),
    [
        (pa.int64(), pa.float64(), pa.float64()),
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.null(), pa.string(), pa.string()),
        (pa.string(), pa.null(), pa.string()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.decimal128(3, 1), pa.decimal128(6, 4), pa.decimal128(6, 4)),
        (pa.list_(pa.null()), pa.list_(pa.int64()), pa.list_(pa.int64())),
        (pa.timestamp("s", "UTC"), pa.timestamp("us", "Asia/Tokyo"), pa.timestamp("us", "UTC")),
        (
            pa.fixed_shape_tensor(pa.uint8(), (2, 2)),
            pa.fixed_shape_tensor(pa.uint8(), (3, 2)),
            tensor.VariableShapeTensorType(pa.uint8(), 2),
        ),
        (
            pa.fixed_shape_tensor(pa.uint8(), (2,)),
            pa.fixed_shape_tensor(pa.float32(), (2,)),
            pa.fixed_shape_tensor(pa.float32(), (2,)),
        ),
        (
            pa.fixed_shape_tensor(pa.uint8(), (2,)),
            pa.fixed_shape_tensor(pa.uint8(), (2, 2)),
            tensor.AnyShapeTensorType(pa.uint8()),
        ),
    ],
)
def test_schemas_unify_to_a_type_that_holds_both(left, right, common):
    unified = block.unify_schemas([pa.schema({"a": left}), pa.schema({"a": right})])
    assert unified.field("a").type == common


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (pa.int64(), pa.string()),
        (pa.fixed_shape_tensor(pa.uint8(), (2,)), pa.fixed_shape_tensor(pa.bool_(), (2,))),
        (pa.fixed_shape_tensor(pa.uint8(), (2,)), pa.int64()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
    ],
)
def test_types_without_a_common_one_are_an_error_that_names_the_column(left, right):
    with pytest.raises(SchemaError, match=r"column 'a' is .* in some blocks and .* in others"):
        block.unify_schemas([pa.schema({"a": left}), pa.schema({"a": right})])


def test_columns_that_are_never_null_in_their_own_block_may_be_in_others():
    never = pa.schema([pa.field("a", pa.int32(), nullable=False)])
    both = pa.schema([pa.field("a", pa.int64(), False), pa.field("b", pa.string(), False)])
    one = pa.table([pa.array([1], pa.int32())], schema=never)
    other = pa.table([pa.array([2]), pa.array(["x"])], schema=both)
    for first, second in ((one, other), (other, one)):
        rows = [{"b": None, **row} for row in [*first.to_pylist(), *second.to_pylist()]]
        assert block.concat([first, second]).to_pylist() == rows


def test_tensors_of_different_shapes_concatenate_as_ragged():
    small = pa.table({"image": tensor.from_ndarray(np.ones((2, 2, 2), np.uint8))})
    large = pa.table({"image": tensor.from_ndarray(np.full((1, 3, 3), 7, np.uint8))})
    none = pa.table({"other": [1]})
    rows = tensor.to_numpy(block.concat([small, large, none])["image"])
    assert [None if row is None else row.shape for row in rows] == [(2, 2), (2, 2), (3, 3), None]
    assert rows[2].sum() == 63


def test_concat_of_equal_schemas_copies_nothing():
    values = np.arange(1000)
    table = pa.table({"a": pa.array(values)})
    joined = block.concat([table, table])
    assert joined["a"].chunk(1).buffers()[1].address == values.ctypes.data


def test_require_columns_names_the_unknown_and_the_known():
    with pytest.raises(SchemaError, match=r"no column 'nope'; the columns are 'a', 'b'"):
        block.require_columns(pa.schema({"a": pa.int64(), "b": pa.int64()}), ["a", "nope"])


def test_size_of_a_slice_is_that_of_its_rows():
    table = pa.table({"a": np.arange(1000), "s": ["xyz"] * 1000})
    assert block.nbytes(table.slice(10, 10)) < 200


@pytest.mark.parametrize(
    "column",
    [
        pa.array(np.arange(100_000)),
        pa.array(["text"] * 100_000),
        pa.array([b"binary"] * 100_000, pa.large_binary()),
        pa.array([[1, 2], None] * 50_000),
        pa.array([True, None] * 50_000),
        pa.array([{"a": 1, "b": "x"}] * 100_000),
        pa.array(["x", "y"] * 50_000).dictionary_encode(),
        tensor.from_ndarray(np.zeros((100_000, 2, 2), np.float32)),
        tensor.from_ndarrays([np.zeros((i % 3, 2), np.uint8) for i in range(30_000)]),
    ],
    ids=lambda column: str(column.type)[:30],
)
def test_a_slice_lets_go_of_its_parent(column):
    part = pa.table({"c": column}).slice(7, 20)
    small = block.compact(part, block.nbytes(part))
    assert small.equals(part)
    assert small.schema.equals(part.schema)
    assert len(pickle.dumps(small)) < 5_000


def test_a_block_that_fills_its_buffers_is_not_copied():
    table = pa.table({"a": np.arange(100_000)})
    assert block.compact(table, block.nbytes(table)) is table


def test_many_small_chunks_become_one():
    table = pa.table({"a": np.arange(10_000)})
    pieces = pa.concat_tables([table.slice(start, 100) for start in range(0, 10_000, 100)])
    compacted = block.compact(pieces, block.nbytes(pieces))
    assert compacted["a"].num_chunks == 1
    assert compacted.equals(table)


def test_view_columns_get_offsets():
    table = pa.table({"s": pa.array(["a" * 50] * 10, pa.string_view()), "i": [1] * 10})
    plain = block.plain(table)
    assert plain.schema.field("s").type == pa.large_string()
    assert block.nbytes(plain.slice(0, 1)) < 100


def test_columns_beyond_32_bit_offsets_are_put_together_with_64(monkeypatch):
    monkeypatch.setattr(block, "OFFSET_MAX", 50)
    table = pa.table({"text": ["x" * 9] * 8, "lists": [["y" * 9]] * 8, "n": [1] * 8})
    wide = block.gatherable(table)
    assert wide.schema.types == [
        pa.large_string(),
        pa.large_list(pa.large_string()),
        pa.int64(),
    ]
    assert wide.to_pylist() == table.to_pylist()
    few = table.slice(0, 1)
    assert block.gatherable(few).schema.equals(table.schema)


LONG = [f"{index:04} is longer than the twelve bytes of a view" for index in range(2000)]
SLICED = {
    "numbers": pa.array(range(2000)),
    "text": pa.array(LONG),
    "view": pa.array(LONG, pa.string_view()),
    "lists": pa.array([[word] for word in LONG]),
    "list_view": pa.array([[word] for word in LONG], pa.list_view(pa.string())),
    "struct": pa.array([{"w": word, "n": [1]} for word in LONG]),
    "map": pa.array([[(word, 1)] for word in LONG], pa.map_(pa.string(), pa.int64())),
    "codes": pa.array(LONG).dictionary_encode(),
    "tensor": tensor.from_ndarray(np.zeros((2000, 50))),
    "ragged": tensor.from_ndarrays([np.zeros(20 + index % 2) for index in range(2000)]),
}


@pytest.mark.parametrize("name", SLICED)
def test_what_leaves_a_worker_carries_no_parent(name):
    table = pa.table({"c": SLICED[name]})
    made = {
        "table": table.slice(5, 10),
        "record_batch": table.to_batches()[0].slice(5, 10),
        "array": {"c": SLICED[name].slice(5, 10)},
        "chunked_array": {"c": pa.chunked_array([SLICED[name]]).slice(5, 10)},
    }
    if name not in ("view", "list_view", "map"):
        array = to_batch(table, "numpy")["c"]
        made["numpy"] = {"c": array[5:15]}
    for form, batch in made.items():
        builder = BlockBuilder(1 << 20)
        for _ in builder.add(from_batch(batch)):
            raise AssertionError("ten rows are no full block")
        sent, size = builder.finish()
        assert sent.num_rows == 10
        assert sent.slice(0, 1)["c"].to_pylist() == table.slice(5, 1)["c"].to_pylist()
        stored = len(pickle.dumps(sent, protocol=5))
        assert stored < 16_000, f"{form} takes {stored} bytes for 10 rows"
        assert size <= stored


def wide_columns():
    numbers = [np.arange(10, dtype=kind) for kind in ("i1", "i8", "u2", "f2", "f4", "f8")]
    columns = {"numbers": numbers, "with nulls": [*numbers, [None, *range(9)]]}
    columns["with text"] = [*numbers, [f"row {n}" for n in range(10)]]
    columns["with truth"] = [*numbers, [True] * 10]
    columns["of one array"] = [numbers[1]] * 2
    return columns


@pytest.mark.parametrize("kind", wide_columns())
@pytest.mark.parametrize("cut", [slice(None), slice(2, 7), slice(0, 0)])
def test_the_size_of_a_wide_block_is_that_of_its_rows(kind, cut):
    columns = wide_columns()[kind]
    table = pa.table({f"c{n}": columns[n % len(columns)] for n in range(200)})[cut]
    assert block.nbytes(table) == table.nbytes
    assert block.nbytes(block.copy(table)) == block.copy(table).nbytes
    chunked = pa.concat_tables([table, table])
    assert block.nbytes(chunked) == chunked.nbytes
