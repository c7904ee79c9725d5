"""Lance: values as they are or an error, versions that stay, one commit of what tasks return."""

from __future__ import annotations

import shutil

import lance
import numpy as np
import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values
from hypothesis import given, settings
from hypothesis import strategies as st
from io_sources import rows_of, table_of, tables_of, unit_rows

import millstream as ms
from millstream.blocks import block
from millstream.errors import (
    ArgumentError,
    MissingPackageError,
    ReadError,
    SchemaError,
    UserCodeError,
    WriteError,
)
from millstream.io.formats.lance import plan_lance
from millstream.io.formats.lance_sink import LanceDatasink, stored_schema
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.read_lakes import read_lance

#: Columns of types that Lance has not.
UNHELD = {"decimal32", "decimal64", "interval", "empty_struct"}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a.lance")


def write(ds, path, **how):
    ds.write_datasink(LanceDatasink(path, **how))


def blocks_of(*tables):
    """A dataset whose columns nobody knows before it runs."""
    return ms.range(len(tables), override_num_blocks=len(tables)).map_batches(
        lambda batch: tables[batch["id"][0]], batch_format="pyarrow"
    )


def find(path, **how):
    return table_of(plan_lance(path, **how))


# Values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - UNHELD))
def test_values_of_every_type_come_back(path, name):
    column = COLUMNS[name]
    table = pa.table({"a": column, "n": range(len(column))})
    write(ms.from_arrow(table), path)
    found = find(path).sort_by("n")
    assert found.schema.field("a").type == stored_schema(table.schema).field("a").type
    wanted = block.plain(table).column("a")
    assert all(map(same, values(found.column("a")), values(wanted)))
    if not pa.types.is_dictionary(column.type) and name != "list_of_codes":
        assert found.schema.field("a").type == wanted.type


@pytest.mark.parametrize("name", sorted(UNHELD))
def test_types_that_lance_has_not_are_refused_by_name(path, name):
    table = pa.table({"a": COLUMNS[name]})
    with pytest.raises(SchemaError, match=r"'a' of type .* cannot be written to Lance"):
        write(ms.from_arrow(table), path)
    with pytest.raises(SchemaError, match="'a' of type"):
        LanceDatasink(path, schema=table.schema)
    with pytest.raises(SchemaError, match="'a' of type"):
        write(blocks_of(table), path)


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_any_values_come_back_in_any_blocks(tmp_path_factory, data):
    path = str(tmp_path_factory.mktemp("lance") / "a")
    kinds = {
        pa.int64(): st.integers(-(2**63), 2**63 - 1),
        pa.float64(): st.floats(),
        pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
        pa.list_(pa.struct({"x": pa.int8()})): st.lists(
            st.none() | st.fixed_dictionaries({"x": st.none() | st.integers(-128, 127)})
        ),
        pa.map_(pa.string(), pa.binary()): st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])), st.binary()
        ).map(lambda found: list(found.items())),
        pa.bool_(): st.booleans(),
    }
    type = data.draw(st.sampled_from(list(kinds)))
    parts = data.draw(st.lists(st.lists(st.none() | kinds[type], min_size=1), min_size=1))
    tables = [
        pa.table({"a": pa.array(part, type), "b": [n] * len(part)}) for n, part in enumerate(parts)
    ]
    write(ms.from_arrow(tables), path, max_rows_per_file=data.draw(st.integers(1, 50)))
    found = find(path)
    assert found.schema.field("a").type == type
    for number, part in enumerate(parts):
        mine = found.filter(pa.compute.field("b") == number).column("a").to_pylist()
        assert all(map(same, mine, pa.array(part, type).to_pylist()))


def test_categories_of_many_blocks_share_their_codes(path):
    parts = [pa.array([f"{n} {i}" for i in range(100)] + [None]) for n in range(4)]
    codes = pa.dictionary(pa.int8(), pa.string())
    whole = pa.chunked_array([part.dictionary_encode().cast(codes) for part in parts], codes)
    sink = LanceDatasink(path)
    tables = [pa.table({"a": chunk}) for chunk in whole.chunks]
    sink.on_write_start()
    written = sink.write(iter(tables), None)
    assert len(written.fragments) == 1
    write(ms.from_arrow(tables), path)
    found = find(path).column("a")
    assert found.type == pa.dictionary(pa.int32(), pa.string())
    assert sorted(map(str, found.to_pylist())) == sorted(map(str, whole.to_pylist()))


def test_slices_of_structs_within_structs_are_written(path):
    type = pa.struct({"s": pa.struct({"l": pa.int64()})})
    column = pa.array([{"s": {"l": 1}}, None, {"s": None}, {"s": {"l": None}}] * 10, type)
    table = pa.table({"a": column}).slice(7, 20)
    write(ms.from_arrow(table, override_num_blocks=1), path)
    assert find(path).column("a").to_pylist() == table.column("a").to_pylist()


def test_text_of_views_is_plain(path):
    table = pa.table({"a": COLUMNS["string_view"], "b": COLUMNS["string_view"]})
    lance.write_dataset(table, path)
    assert "view" not in str(find(path).schema)
    assert "view" not in str(plan_lance(path).schema)


def test_blobs_come_as_bytes_or_as_they_are_described(path):
    blob = {"lance-encoding:blob": "true"}
    schema = pa.schema([pa.field("b", pa.large_binary(), metadata=blob)])
    data = [b"x" * 100, None]
    table = pa.table({"b": data}, schema=schema)
    lance.write_dataset(table, path, data_storage_version="2.0")
    source = plan_lance(path)
    assert source.schema == pa.schema({"b": pa.large_binary()})
    assert find(path).column("b").to_pylist() == data
    told = find(path, scanner_options={"blob_handling": "blobs_descriptions"})
    assert told.column("b").to_pylist()[0]["size"] == 100


# Reading --------------------------------------------------------------------------------------


@pytest.fixture
def five(path):
    """Five fragments of ten rows."""
    table = pa.table({"a": range(50), "s": [{"x": n} for n in range(50)], "t": ["é"] * 50})
    lance.write_dataset(table, path, max_rows_per_file=10)
    return path


def test_a_fragment_is_a_unit(five):
    source = plan_lance(five)
    assert source.rows == 50
    assert unit_rows(source) == [10] * 5
    assert [len(unit.files) for unit in source.units] == [1] * 5
    assert len(set(source.files)) == 5
    assert table_of(source).column("a").to_pylist() == list(range(50))
    assert unit_rows(plan_lance(five, blocks=2)) == [20, 30]
    assert len(plan_lance(five, blocks=9).units) == 5


def test_columns_are_chosen_and_pushed_down(five):
    assert find(five, columns=["t", "a"]).column_names == ["t", "a"]
    assert find(five, columns=["s.x"]).column("s.x").to_pylist() == list(range(50))
    source = plan_lance(five, columns=["t", "a"]).with_columns(["a"])
    assert source.schema == pa.schema({"a": pa.int64()})
    assert table_of(source).column_names == ["a"]
    none = plan_lance(five, filter="a < 7").with_columns([])
    assert table_of(none).num_rows == 7
    assert block.is_rows_only(table_of(none).schema)
    with pytest.raises(SchemaError, match=r"columns=\['nope'\].*the columns are 'a', 's', 't'"):
        plan_lance(five, columns=["nope"])
    with pytest.raises(ArgumentError, match="columns"):
        plan_lance(five, columns=["a", "a"])


def test_rows_are_chosen_by_a_condition(five):
    source = plan_lance(five, filter="a >= 8 AND s.x < 12")
    assert source.rows is None
    assert table_of(source).column("a").to_pylist() == [8, 9, 10, 11]
    assert plan_lance(five, filter="a > 100").schema == plan_lance(five).schema
    nothing = find(five, filter="a > 100")
    assert (nothing.num_rows, nothing.schema) == (0, plan_lance(five).schema)


def test_versions_stay_what_they_are(five):
    dataset = lance.dataset(five)
    dataset.tags.create("first", 1)
    planned, tagged = plan_lance(five), plan_lance(five, version="first")
    dataset.delete("a < 45")
    dataset.tags.update("first", 2)
    assert table_of(planned).num_rows == table_of(tagged).num_rows == 50
    assert (plan_lance(five).rows, find(five).num_rows) == (5, 5)
    assert find(five, version=1).num_rows == 50
    assert find(five, version="first").num_rows == 5


def test_a_tag_of_a_branch_is_read_there(five):
    branch = lance.dataset(five).create_branch("other")
    branch.insert(lance.dataset(five).to_table().slice(0, 1))
    lance.dataset(five).tags.create("there", ("other", branch.version))
    assert find(five, version="there").num_rows == 51
    assert find(five).num_rows == 50


def test_columns_that_came_later_are_null_in_older_rows(path):
    lance.write_dataset(pa.table({"a": [1]}), path)
    lance.dataset(path).add_columns(pa.schema({"b": pa.string()}))
    lance.write_dataset(pa.table({"a": [2], "b": ["x"]}), path, mode="append")
    assert rows_of(plan_lance(path)) == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_several_datasets_follow_each_other(tmp_path):
    first, second, other = (str(tmp_path / name) for name in "abc")
    lance.write_dataset(pa.table({"a": [1]}), first)
    lance.write_dataset(pa.table({"a": [2]}), second)
    lance.write_dataset(pa.table({"b": ["x"]}), other)
    assert rows_of(plan_lance([first, second])) == [{"a": 1}, {"a": 2}]
    assert unit_rows(plan_lance([first, second, first], blocks=2)) == [1, 2]
    mixed = plan_lance([first, other])
    assert (mixed.schema, mixed.rows) == (None, 2)
    assert rows_of(mixed) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_a_dataset_without_rows_has_columns(path):
    lance.write_dataset(pa.table({"a": pa.array([], pa.int8())}), path)
    assert plan_lance(path).schema == pa.schema({"a": pa.int8()})
    assert read_lance(path).schema().names == ["a"]
    assert read_lance(path).count() == 0


def test_what_is_about_all_rows_is_asked_once(five):
    source = plan_lance(five, scanner_options={"limit": 13, "offset": 4})
    assert len(source.units) == 1
    assert table_of(source).column("a").to_pylist() == list(range(4, 17))
    fragments = lance.dataset(five).get_fragments()[1:3]
    some = plan_lance(five, scanner_options={"fragments": fragments})
    assert (some.rows, unit_rows(some)) == (20, [10, 10])
    both = plan_lance(five, scanner_options={"fragments": fragments, "limit": 2})
    assert table_of(both).column("a").to_pylist() == [10, 11]
    ids = find(five, scanner_options={"with_row_id": True, "batch_size": 3})
    assert ids.column_names == ["a", "s", "t", "_rowid"]


def test_the_nearest_vectors_of_all_fragments(path):
    vectors = np.arange(40, dtype=np.float32).reshape(20, 2)
    storage = pa.FixedSizeListArray.from_arrays(vectors.reshape(-1), 2)
    lance.write_dataset(pa.table({"v": storage, "n": range(20)}), path, max_rows_per_file=5)
    wanted = {"column": "v", "q": vectors[7], "k": 3}
    found = find(path, columns=["n"], scanner_options={"nearest": wanted})
    assert sorted(found.column("n").to_pylist()) == [6, 7, 8]
    assert "_distance" in found.column_names


def test_wide_rows_come_in_tables_of_bounded_size(path):
    rng = np.random.default_rng(0)
    data = [rng.bytes(1 << 20) for _ in range(80)]
    lance.write_dataset(pa.table({"a": data}), path)
    tables = list(tables_of(plan_lance(path)))
    assert sum(table.num_rows for table in tables) == 80
    assert max(map(block.nbytes, tables)) <= TABLE_BYTES + (1 << 20)


def test_what_is_not_there_or_broken_is_an_error_that_names_it(tmp_path, five):
    missing = str(tmp_path / "nope.lance")
    for how in (
        {"uri": missing},
        {"uri": str(tmp_path)},
        {"uri": five, "version": 9},
        {"uri": five, "version": "nope"},
    ):
        with pytest.raises(ReadError, match="cannot read this Lance dataset") as caught:
            plan_lance(**how)
        assert caught.value.file == how["uri"]
    source = plan_lance(five)
    for at, damage in ((0, lambda data: b""), (1, lambda data: data[: len(data) // 2])):
        file = source.units[at].files[0]
        with open(file, "rb") as stream:
            data = stream.read()
        with open(file, "wb") as stream:
            stream.write(damage(data))
        with pytest.raises(ReadError) as caught:
            list(source.units[at].read())
        assert caught.value.file == five
    shutil.rmtree(five)
    with pytest.raises(ReadError, match="was not found"):
        list(source.units[2].read())


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"uri": []}, "uri"),
        ({"uri": 5}, "uri"),
        ({"uri": ""}, "uri"),
        ({"version": 0}, "version=0"),
        ({"version": True}, "version=True"),
        ({"columns": 5}, "columns=5"),
        ({"filter": ""}, "filter=''"),
        ({"filter": "nope > 1"}, "refuses filter='nope > 1'"),
        ({"filter": "a >"}, "refuses filter='a >'"),
        ({"storage_options": [1]}, "storage_options"),
        ({"scanner_options": {"nope": 1}}, "'nope' must be one of"),
        ({"scanner_options": {"columns": ["a"]}}, "use columns="),
        ({"scanner_options": {"filter": "a"}}, "use filter="),
        ({"scanner_options": {"scan_in_order": False}}, "same order"),
        ({"scanner_options": {"limit": -1}}, "limit"),
        ({"scanner_options": {"fragments": [5]}}, "fragments of this dataset"),
        ({"blocks": 0}, "override_num_blocks=0"),
    ],
)
def test_arguments_that_make_no_sense(five, how, told):
    with pytest.raises(ArgumentError, match=told):
        plan_lance(**{"uri": five, **how})
    with pytest.raises(ArgumentError, match="needs one dataset"):
        plan_lance([five, five], scanner_options={"fragments": []})


def test_without_the_package(monkeypatch, five):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[lance\]"):
        read_lance(five)
    with pytest.raises(MissingPackageError, match="write_lance needs pylance"):
        LanceDatasink(five)


def test_a_run_gives_the_rows(five):
    ds = read_lance(five, columns=["a"])
    assert ds.count() == 50
    assert sorted(row["a"] for row in ds.take_all()) == list(range(50))
    assert len(ds.input_files()) == 5
    assert read_lance(five).select_columns(["t"]).take(1) == [{"t": "é"}]
    with pytest.raises(TypeError, match="unexpected"):
        read_lance(five, nope=1)


# Writing --------------------------------------------------------------------------------------


def test_what_is_written_is_one_version(path):
    write(ms.range(100, override_num_blocks=7), path, max_rows_per_file=9)
    dataset = lance.dataset(path)
    assert len(dataset.versions()) == 1
    assert sorted(dataset.to_table()["id"].to_pylist()) == list(range(100))
    assert max(each.count_rows() for each in dataset.get_fragments()) <= 9
    dataset.validate()


def test_rows_are_bundled_for_larger_fragments(path):
    write(ms.range(100, override_num_blocks=10), path, min_rows_per_file=50)
    assert len(lance.dataset(path).get_fragments()) == 2


def test_a_task_that_is_repeated_does_not_double_its_rows(path):
    sink = LanceDatasink(path)
    sink.on_write_start(None)
    tables = [pa.table({"a": [1, 2]})]
    sink.write(iter(tables), None)
    again = sink.write(iter(tables), None)
    sink.on_write_complete(ms.WriteResult(2, 16, [again]))
    assert find(path).column("a").to_pylist() == [1, 2]


def test_modes(path):
    write(ms.range(2), path)
    with pytest.raises(WriteError, match="pass mode='append' or mode='overwrite'") as caught:
        write(ms.range(3), path)
    assert caught.value.file == path
    write(ms.range(3), path, mode="append")
    assert find(path).num_rows == 5
    write(ms.from_items([{"other": "x"}]), path, mode="overwrite")
    assert rows_of(plan_lance(path)) == [{"other": "x"}]
    assert find(path, version=2).num_rows == 5
    write(ms.from_items([]), path, mode="append")
    assert lance.dataset(path).version == 3


def test_append_makes_what_is_not_there(path):
    write(ms.range(2), path, mode="append")
    assert find(path).num_rows == 2


def test_a_dataset_may_be_written_over_itself(path):
    write(ms.range(10), path)
    write(read_lance(path).map_batches(lambda b: {"id": b["id"] * 2}), path, mode="overwrite")
    assert sorted(find(path)["id"].to_pylist()) == list(range(0, 20, 2))


def test_no_rows_are_a_dataset_if_columns_are_known(path):
    write(ms.range(0), path)
    assert plan_lance(path).rows == 0
    assert lance.dataset(path).schema.names == ["id"]
    empty = ms.from_items([])
    with pytest.raises(SchemaError, match="pass schema="):
        write(empty, path, mode="overwrite")
    write(empty, path, mode="overwrite", schema=pa.schema({"x": pa.int8()}))
    assert lance.dataset(path).schema == pa.schema({"x": pa.int8()})
    with pytest.raises(SchemaError, match="at least one column"):
        write(ms.range(3).select_columns([]), path, mode="overwrite")


def test_blocks_take_the_types_of_what_is_there(path):
    write(ms.from_arrow(pa.table({"a": pa.array([1], pa.int64()), "b": ["x"]})), path)
    write(blocks_of(pa.table({"a": pa.array([2], pa.int8())})), path, mode="append")
    assert rows_of(plan_lance(path)) == [{"a": 1, "b": "x"}, {"a": 2, "b": None}]


@pytest.mark.parametrize(
    ("later", "told"),
    [
        ({"a": [1.7]}, "'a'"),
        ({"a": [True]}, "'a' is bool, but int64"),
        ({"a": ["7"]}, "'a' is string, but int64"),
        ({"a": pa.array([2**64 - 1], pa.uint64())}, "'a'"),
        ({"a": [1], "c": [1]}, "'c' is none of the columns"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_nothing_is_cast_to_another_value(path, later, told, known):
    write(ms.from_arrow(pa.table({"a": [1]})), path)
    table = pa.table(later)
    ds = ms.from_arrow(table) if known else blocks_of(table)
    with pytest.raises(SchemaError, match=told):
        write(ds, path, mode="append")
    assert find(path).num_rows == 1


def test_a_schema_of_the_user_decides(path):
    tables = [pa.table({"a": [1]}), pa.table({"a": [0.5]}), pa.table({"a": pa.nulls(1)})]
    with pytest.raises(SchemaError, match=r"pass schema=.*'a': double"):
        write(blocks_of(*tables), path)
    with pytest.raises(ReadError):
        plan_lance(path)
    write(blocks_of(*tables), path, schema=pa.schema({"a": pa.float64()}))
    assert sorted(map(str, find(path)["a"].to_pylist())) == ["0.5", "1.0", "None"]
    with pytest.raises(SchemaError, match="'a'"):
        write(blocks_of(*tables), path, schema=pa.schema({"a": pa.int64()}), mode="overwrite")
    strict = pa.schema([pa.field("a", pa.float64(), nullable=False)])
    with pytest.raises(SchemaError, match="'a' has nulls"):
        write(blocks_of(*tables), path, schema=strict, mode="overwrite")


@pytest.mark.parametrize("name", ["", "a.b", "`a`", "_rowid", "_rowaddr"])
def test_names_that_lance_has_not_are_refused(path, name):
    with pytest.raises(SchemaError, match="rename it"):
        write(ms.from_arrow(pa.table({name: [1]})), path)


def test_formats_that_lose_nulls_are_refused(path):
    for version in ("legacy", "0.1"):
        with pytest.raises(ArgumentError, match="zeros"):
            LanceDatasink(path, data_storage_version=version)
    lance.write_dataset(pa.table({"a": [1]}), path, data_storage_version="legacy")
    with pytest.raises(WriteError, match="nulls become zeros"):
        write(ms.from_items([{"a": None}]), path, mode="append")


@pytest.mark.parametrize("version", ["2.0", "2.1", "2.2"])
def test_versions_of_files(path, version):
    write(ms.range(3), path, data_storage_version=version)
    assert lance.dataset(path).data_storage_version == version
    with pytest.raises(WriteError, match="Lance cannot write these rows"):
        write(ms.range(3), path + "2", data_storage_version="9.9")


def test_a_run_that_fails_leaves_the_dataset_as_it_was(path):
    def fail(batch):
        if batch["id"][0] == 5:
            raise ValueError("no")
        return batch

    bad = ms.range(10, override_num_blocks=10).map_batches(fail)
    for mode in ("create", "append", "overwrite"):
        with pytest.raises(UserCodeError, match="no"):
            write(bad, path, mode=mode)
        with pytest.raises(ReadError):
            plan_lance(path)
    write(ms.range(3), path)
    for mode in ("append", "overwrite"):
        with pytest.raises(UserCodeError, match="no"):
            write(bad, path, mode=mode)
        assert find(path).num_rows == 3


def test_what_others_did_meanwhile_stays(path):
    sink = LanceDatasink(path)
    sink.on_write_start(None)
    written = sink.write(iter([pa.table({"a": [1]})]), None)
    lance.write_dataset(pa.table({"b": [1]}), path)
    with pytest.raises(WriteError, match="meanwhile"):
        sink.on_write_complete(ms.WriteResult(1, 8, [written]))
    adding = LanceDatasink(path, mode="append")
    adding.on_write_start(None)
    written = adding.write(iter([pa.table({"b": [2]})]), None)
    lance.write_dataset(pa.table({"b": [3]}), path, mode="append")
    adding.on_write_complete(ms.WriteResult(1, 8, [written]))
    assert sorted(find(path)["b"].to_pylist()) == [1, 2, 3]
    late = LanceDatasink(path, mode="append")
    late.on_write_start(None)
    written = late.write(iter([pa.table({"b": [4]})]), None)
    lance.write_dataset(pa.table({"c": [1]}), path, mode="overwrite")
    with pytest.raises(WriteError, match="cannot commit"):
        late.on_write_complete(ms.WriteResult(1, 8, [written]))
    assert find(path).column_names == ["c"]


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"path": 5}, "path=5"),
        ({"mode": "nope"}, "mode='nope' must be one of 'create', 'append', 'overwrite'"),
        ({"schema": {"a": "int64"}}, "schema"),
        ({"min_rows_per_file": 0}, "min_rows_per_file=0"),
        ({"max_rows_per_file": 0}, "max_rows_per_file=0"),
        ({"max_rows_per_file": None}, "max_rows_per_file=None"),
        ({"min_rows_per_file": 5, "max_rows_per_file": 4}, "above max_rows_per_file=4"),
        ({"data_storage_version": 2}, "data_storage_version=2"),
        ({"storage_options": 5}, "storage_options=5"),
    ],
)
def test_arguments_of_the_writer_that_make_no_sense(path, how, told):
    with pytest.raises(ArgumentError, match=told):
        LanceDatasink(**{"path": path, **how})


def test_a_path_is_that_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(ms.range(3), "here.lance")
    assert (tmp_path / "here.lance").is_dir()
    assert read_lance("here.lance").count() == 3
    assert read_lance(f"file://{tmp_path}/here.lance").count() == 3
