from __future__ import annotations

import io

import laspy
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import table_of, tables_of, unit_rows

from millstream.blocks import block, tensor
from millstream.errors import (
    ArgumentError,
    MillstreamError,
    MissingPackageError,
    ReadError,
    SchemaError,
)
from millstream.io.formats import las as reader
from millstream.io.formats import row_ranges
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.options import takes
from millstream.read_science import LasFiles, read_las


@takes(files=LasFiles)
def plan_las(paths, *, files, override_num_blocks=None, **how):
    return reader.plan_las(paths, files, blocks=override_num_blocks, **how)


def cloud(rows, point_format=3, version="1.2", **values):
    header = laspy.LasHeader(point_format=point_format, version=version)
    header.scales, header.offsets = [0.01, 0.001, 0.25], [100.0, -7.5, 0.0]
    made = laspy.LasData(header)
    rng = np.random.default_rng(0)
    for name in ("X", "Y", "Z"):
        made[name] = rng.integers(-(2**31), 2**31 - 1, rows, endpoint=True).astype("i4")
    made.intensity = (np.arange(rows) % 2**16).astype("u2")
    for name, array in values.items():
        made[name] = array
    return made


def saved(made, is_compressed=False) -> bytes:
    file = io.BytesIO()
    made.write(file, do_compress=is_compressed)
    return file.getvalue()


FORMATS = [(0, "1.2"), (1, "1.2"), (3, "1.2"), (6, "1.4"), (7, "1.4"), (8, "1.4")]


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(("point_format", "version"), FORMATS)
def test_points_have_the_values_that_laspy_gives(tmp_path, point_format, version, is_compressed):
    made = cloud(1_000, point_format, version, classification=np.arange(1_000) % 32)
    name = "a.laz" if is_compressed else "a.las"
    (tmp_path / name).write_bytes(saved(made, is_compressed))
    source = plan_las(tmp_path)
    found = table_of(source)
    assert found.schema == source.schema
    assert source.rows == found.num_rows == 1_000
    again = laspy.read(tmp_path / name)
    known = list(made.point_format.dimension_names)
    assert found.column_names == [*map(str.lower, known[:3]), *known[3:]]
    for column in found.column_names:
        np.testing.assert_array_equal(found.column(column).to_numpy(), np.asarray(again[column]))
    assert found.schema.field("x").type == pa.float64()
    assert found.schema.field("intensity").type == pa.uint16()
    np.testing.assert_array_equal(found.column("x").to_numpy(), np.asarray(made.X) * 0.01 + 100)


@settings(deadline=None, max_examples=25)
@given(stored=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=20))
def test_stored_numbers_come_back_if_they_are_named(tmp_path_factory, stored):
    made = cloud(len(stored), X=np.array(stored, "i4"))
    path = tmp_path_factory.mktemp("las") / "a.las"
    path.write_bytes(saved(made))
    found = table_of(plan_las(path, columns=["X", "x"]))
    assert found.column("X").to_pylist() == stored
    assert found.column("x").to_pylist() == [number * 0.01 + 100.0 for number in stored]


def test_what_a_file_adds_is_read_too(tmp_path):
    made = cloud(5)
    made.add_extra_dim(laspy.ExtraBytesParams("score", "f4"))
    made.add_extra_dim(laspy.ExtraBytesParams("height", "i2", scales=[0.5], offsets=[10.0]))
    made.add_extra_dim(laspy.ExtraBytesParams("normal", "3f8"))
    made.score = np.arange(5) / 4
    made.height = np.arange(5) * 0.5 + 10
    made.normal = np.arange(15.0).reshape(5, 3)
    (tmp_path / "a.las").write_bytes(saved(made))
    found = table_of(plan_las(tmp_path, columns=["score", "height", "normal"]))
    assert found.column("score").to_pylist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.schema.field("score").type == pa.float32()
    assert found.column("height").to_pylist() == [10, 10.5, 11, 11.5, 12]
    np.testing.assert_array_equal(tensor.to_numpy(found.column("normal")), made.normal)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_points_come_in_order_from_any_place_on(tmp_path, is_compressed, blocks):
    made = cloud(120_000)
    (tmp_path / "a.laz").write_bytes(saved(made, is_compressed))
    source = plan_las(tmp_path, override_num_blocks=blocks)
    assert len(source.units) == blocks
    found = table_of(source)
    np.testing.assert_array_equal(found.column("x").to_numpy(), np.asarray(made.x))


def test_a_large_file_becomes_units_that_part_no_chunk(tmp_path, monkeypatch):
    data = saved(cloud(120_000), True)
    (tmp_path / "a.laz").write_bytes(data)
    monkeypatch.setattr(row_ranges, "UNIT_BYTES", len(data) // 3 + 1)
    assert unit_rows(plan_las(tmp_path)) == [50_000, 50_000, 20_000]


def test_tables_are_of_bounded_size(tmp_path):
    (tmp_path / "a.las").write_bytes(saved(cloud(600_000)))
    tables = list(tables_of(plan_las(tmp_path)))
    assert len(tables) > 1
    assert all(block.nbytes(table) <= TABLE_BYTES for table in tables)


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_file_that_is_cut_off_is_an_error(tmp_path, is_compressed):
    made = cloud(50)
    data = saved(made, is_compressed)
    path = tmp_path / "a.laz"
    for size in [*range(0, len(data), 7), len(data) - 1]:
        path.write_bytes(data[:size])
        for blocks in (None, 2):
            with pytest.raises(ReadError) as caught:
                table_of(plan_las(path, override_num_blocks=blocks))
            assert caught.value.file == str(path)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"LASF", b"LASF" + bytes(300)])
def test_no_las_at_all(tmp_path, data):
    (tmp_path / "a.las").write_bytes(data)
    with pytest.raises(ReadError, match="cannot read this LAS file") as caught:
        plan_las(tmp_path)
    assert caught.value.file == str(tmp_path / "a.las")


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_file_without_points_has_columns(tmp_path, is_compressed):
    (tmp_path / "a.las").write_bytes(saved(cloud(0), is_compressed))
    source = plan_las(tmp_path)
    assert source.rows == 0
    assert table_of(source).schema == source.schema


def test_values_that_points_have_not_are_named(tmp_path):
    (tmp_path / "a.las").write_bytes(saved(cloud(1, point_format=0)))
    with pytest.raises(SchemaError, match=r"no 'red', 'n'; they have 'x', 'y', 'z', ") as caught:
        plan_las(tmp_path, columns=["red", "x", "n"])
    assert caught.value.file == str(tmp_path / "a.las")


@pytest.mark.parametrize("columns", [[], 5, ["x", "x"], [1]])
def test_columns_that_make_no_sense_are_refused_at_the_call(tmp_path, columns):
    (tmp_path / "a.las").write_bytes(saved(cloud(1)))
    with pytest.raises(ArgumentError, match="columns="):
        read_las(tmp_path, columns=columns)


def test_packages_that_are_not_there_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.laz").write_bytes(saved(cloud(1), True))
    monkeypatch.setattr(laspy.LazBackend, "is_available", lambda self: False)
    with pytest.raises(MissingPackageError, match=r"lazrs: pip install 'millstream\[las\]'"):
        plan_las(tmp_path)
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'millstream\[las\]'"):
        plan_las(tmp_path)


def test_a_damaged_header_is_an_error_or_harmless(tmp_path):
    data = saved(cloud(3))
    path = tmp_path / "a.las"
    for place in range(0, 227, 2):
        path.write_bytes(data[:place] + bytes([data[place] ^ 255]) + data[place + 1 :])
        try:
            table_of(plan_las(path)).validate(full=True)
        except MillstreamError as error:
            assert error.file == str(path)  # noqa: PT017


def test_a_run_gives_the_rows_of_each_file(tmp_path):
    for number in range(3):
        made = cloud(4, intensity=np.arange(4) + 10 * number)
        (tmp_path / f"{number}.las").write_bytes(saved(made))
    ds = read_las(tmp_path, columns="intensity", include_paths=True)
    assert ds.count() == 12
    rows = ds.take_all()
    assert [row["intensity"] for row in rows][:6] == [0, 1, 2, 3, 10, 11]
    assert rows[4]["path"] == str(tmp_path / "1.las")
