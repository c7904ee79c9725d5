"""Tensors in the files of Ray Data 2.60 (`ray_files/make.py`) come back as tensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from io_sources import plan_parquet, table_of

import millstream as ms
from millstream.errors import SchemaError
from millstream.io.formats.parquet.ray_tensors import with_own_columns

FILES = Path(__file__).parent / "ray_files"
NUMBERS = np.arange(18)
FIXED = {
    "floats": NUMBERS.reshape(3, 2, 3).astype(np.float32),
    "halves": NUMBERS.reshape(3, 2, 3).astype(np.float16),
    "flags": NUMBERS.reshape(3, 2, 3) % 2 == 0,
    "bytes": NUMBERS[:12].reshape(3, 4).astype(np.uint8),
}
RAGGED = {
    "planes": [np.ones((1, 2)), np.zeros((2, 2)), np.full((3, 1), 7.0)],
    "lines": [np.arange(1), np.arange(2), np.arange(3)],
    "flags": [np.ones((1, 2), bool), np.zeros((2, 2), bool), np.ones((3, 3), bool)],
}


def batch_of(name: str) -> dict[str, np.ndarray]:
    ds = ms.read_parquet(FILES / f"{name}.parquet")
    (batch,) = ds.iter_batches(batch_size=None)
    return batch


def check_fixed(name: str) -> None:
    batch = batch_of(name)
    assert set(batch) == set(FIXED)
    for column, expected in FIXED.items():
        assert batch[column].dtype == expected.dtype
        np.testing.assert_array_equal(batch[column], expected)


def check_ragged() -> None:
    batch = batch_of("ragged")
    for column, expected in RAGGED.items():
        for row, array in zip(batch[column], expected, strict=True):
            assert row.dtype == array.dtype
            np.testing.assert_array_equal(row, array)


def check_all() -> None:
    for name in ("fixed_v1", "fixed_v2", "fixed_native"):
        check_fixed(name)
    check_ragged()
    assert [row.shape for row in batch_of("empty")["x"]] == [(2, 0)] * 3
    texts = ms.read_parquet(FILES / "texts.parquet").take_all()
    assert [row["x"] for row in texts] == [["a", "b"], ["äö", ""], ["e", "long"]]
    with pytest.raises(SchemaError, match="pickled"):
        ms.read_parquet(FILES / "pickled.parquet")
    rows = ms.read_parquet(FILES / "pickled.parquet", columns=["y"]).take_all()
    assert [row["y"] for row in rows] == [0, 1, 2]


@pytest.fixture(autouse=True)
def local(monkeypatch):
    context = ms.DataContext(backend="local", enable_progress_bars=False)
    monkeypatch.setattr(ms.DataContext, "_current", context)


@pytest.mark.parametrize("name", ["fixed_v1", "fixed_v2", "fixed_native"])
def test_tensors_of_one_shape_come_back(name):
    check_fixed(name)


def test_tensors_of_many_shapes_come_back():
    check_ragged()


def test_tensors_without_elements_and_tensors_of_text_come_back():
    check_all()


def test_plan_and_rows_have_the_same_types():
    for path in FILES.glob("*.parquet"):
        if path.stem == "pickled":
            continue
        source = plan_parquet(path)
        assert table_of(source).schema.equals(source.schema), path


def test_pickled_objects_are_refused_with_column_and_file():
    with pytest.raises(SchemaError, match=r"'x'.*pickled.*columns=\['y'\]") as caught:
        plan_parquet(FILES / "pickled.parquet")
    assert caught.value.file == str(FILES / "pickled.parquet")


def test_files_are_read_alike_where_ray_data_is_imported():
    script = f"""
import sys
sys.path[:0] = {[str(Path(__file__).parent)]!r}
import ray.data
import millstream as ms
ms.DataContext._current = ms.DataContext(backend="local", enable_progress_bars=False)
import test_ray_files
test_ray_files.check_all()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def described(name: str, parameters: bytes, values: pa.Array) -> pa.Table:
    """A table as it is read where the type is not registered."""
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": parameters}
    return pa.table([values], schema=pa.schema([pa.field("x", values.type, metadata=metadata)]))


def test_null_tensors_stay_null():
    fixed = described(
        "ray.data.arrow_tensor_v2",
        b"[2, 1]",
        pa.array([[1, 2], None, [3, 4]], pa.large_list(pa.int64())),
    )
    column = with_own_columns(fixed).column("x")
    assert [row if row is None else row.tolist() for row in to_rows(column)] == [
        [[1], [2]],
        None,
        [[3], [4]],
    ]
    storage = pa.struct({"data": pa.large_list(pa.int64()), "shape": pa.list_(pa.int64())})
    rows = [{"data": [1, 2], "shape": [1, 2]}, None, {"data": [3], "shape": [1, 1]}]
    name = "ray.data.arrow_variable_shaped_tensor"
    column = with_own_columns(described(name, b"2", pa.array(rows, storage))).column("x")
    assert [row if row is None else row.tolist() for row in to_rows(column)] == [
        [[1, 2]],
        None,
        [[3]],
    ]


def to_rows(column):
    from millstream.blocks import tensor

    return tensor.to_numpy(column)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (b"\x80\x05K\x02K\x03\x86\x94.", "pickled"),
        (b"", "pickled"),
        (b'{"a": 1}', "shape"),
        (b"[2, 3]", "as its type says"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_unpickled(tmp_path, parameters, message):
    table = described("ray.data.arrow_tensor", parameters, pa.array([[1, 2]], pa.list_(pa.int64())))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(SchemaError, match=message) as caught:
        table_of(plan_parquet(tmp_path))
    assert caught.value.file == str(tmp_path / "a.parquet")
