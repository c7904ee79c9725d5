"""Files as datasets see them: where they are, how they are named, and in which order they come."""

from __future__ import annotations

import pickle

import av
import fsspec
import numpy as np
import object_store
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import millstream as ms
from millstream.context import DataContext

SHUFFLES = {
    "read_parquet": (ms.read_parquet, lambda row: row["id"]),
    "read_binary_files": (ms.read_binary_files, lambda row: row["bytes"]),
}


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def backend(request, context, monkeypatch):
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
        made = DataContext(backend="ray", enable_progress_bars=False)
        monkeypatch.setattr(DataContext, "_current", made)
    return request.param


@pytest.fixture(scope="session")
def s3():
    with object_store.running() as options:
        yield lambda path: f"s3://key:secret@bucket/{path}?{options}"


def many_files(folder, count=12):
    for number in range(count):
        pq.write_table(pa.table({"id": [number]}), folder / f"{number:02}.parquet")
    return folder


def ids(ds) -> list[int]:
    return [row["id"] for row in ds.take_all()]


@pytest.mark.parametrize("reader", SHUFFLES)
def test_shuffled_files_have_another_order_in_each_run(tmp_path, backend, reader):
    read, key = SHUFFLES[reader]
    ds = read(many_files(tmp_path), shuffle="files")
    copy = pickle.loads(pickle.dumps(ds))
    epochs = [[key(row) for row in each.iter_rows()] for each in (ds, ds, copy, copy)]
    assert len(set(map(tuple, epochs))) == 4
    assert all(sorted(epoch) == sorted(epochs[0]) for epoch in epochs)
    files = [str(path) for path in sorted(tmp_path.iterdir())]
    assert ds.input_files() == files
    assert ds.count() == 12


@pytest.mark.parametrize("reader", SHUFFLES)
def test_files_shuffled_by_a_seed_have_the_same_order_in_each_run(tmp_path, reader):
    read, key = SHUFFLES[reader]
    ds = read(many_files(tmp_path), shuffle=ms.FileShuffleConfig(seed=5))
    copy = pickle.loads(pickle.dumps(ds))
    first, *others = [[key(row) for row in each.take_all()] for each in (ds, ds, copy)]
    assert others == [first] * 2
    assert first != sorted(first)


def test_shuffled_files_keep_columns_filters_and_the_number_of_blocks(tmp_path):
    ds = ms.read_parquet(many_files(tmp_path), shuffle="files", override_num_blocks=3)
    assert sorted(ids(ds.select_columns("id"))) == list(range(12))
    assert len({tuple(ids(ds.select_columns("id"))) for _ in range(3)}) == 3
    assert ds.materialize().num_blocks() == 3
    assert ids(ds.materialize().limit(5)) != ids(ds.materialize().limit(5))


def test_rows_of_one_shuffled_dataset_meet_in_a_zip(tmp_path):
    ds = ms.read_parquet(many_files(tmp_path), shuffle="files")
    for row in ds.zip(ds.map(lambda row: {"other": row["id"]})).take_all():
        assert row["id"] == row["other"]


def test_a_folder_with_a_space_is_written_and_read_by_its_address(tmp_path, backend):
    for address in (f"file://{tmp_path}/my dir", (tmp_path / "ünï %41").as_uri()):
        ms.range(10).write_parquet(address)
        assert ids(ms.read_parquet(address)) == list(range(10))
    assert {path.name for path in tmp_path.iterdir()} == {"my dir", "ünï %41"}
    assert ids(ms.read_parquet(tmp_path / "my dir")) == list(range(10))


def test_an_object_store_is_reached_by_an_address_with_options(s3, backend):
    # A key is taken as it is, whatever its characters.
    folder = f"{backend}/my data/%20"
    ms.range(10).write_parquet(s3(folder))
    ds = ms.read_parquet(s3(folder))
    assert ids(ds) == list(range(10))
    assert all(path.startswith(f"bucket/{folder}/") for path in ds.input_files())
    for pattern in (f"{backend}/*/*/*.parquet", f"{backend}/**/*.parquet", f"{backend}/my*"):
        assert ms.read_parquet(s3(pattern)).count() == 10
    ms.range(3).write_parquet(s3(folder), mode="overwrite")
    assert ids(ms.read_parquet([s3(folder), s3(folder)])) == [*range(3), *range(3)]


def test_all_readers_take_patterns(tmp_path):
    many_files(tmp_path, 2)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "sub").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "sub" / "b.webp")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        container.mux(stream.encode(av.VideoFrame(16, 16, "yuv420p")))
        container.mux(stream.encode())
    assert ids(ms.read_parquet(f"{tmp_path}/*.parquet")) == [0, 1]
    assert ms.read_images(f"{tmp_path}/**/*.[pw]*").count() == 4 - 2
    assert ms.read_video(f"{tmp_path}/?.mp4").count() == 1
    assert ms.read_binary_files([f"{tmp_path}/*.p*", f"{tmp_path}/a.mp4"]).count() == 4


@pytest.fixture
def memory():
    filesystem = fsspec.filesystem("memory")
    filesystem.pipe("/folder/a", b"1")
    yield filesystem
    for path in filesystem.ls("/", detail=False):
        filesystem.rm(path, recursive=True)


def test_files_in_memory_are_read_and_written_where_all_is_one_process(memory):
    assert [row["bytes"] for row in ms.read_binary_files("memory://folder").take_all()] == [b"1"]
    ms.range(5).write_parquet("memory://out")
    assert ids(ms.read_parquet("memory://out/*.parquet")) == list(range(5))


@pytest.mark.ray
def test_on_ray_files_in_memory_are_refused_with_what_to_do(memory, ray_cluster, monkeypatch):
    made = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)
    ds = ms.read_binary_files("memory://folder")
    for run in (
        ds.take_all,
        ds.union(ms.range(1)).take_all,
        lambda: ms.range(5).write_parquet("memory://out"),
        lambda: ms.range(5).write_parquet("/out", filesystem=memory),
    ):
        with pytest.raises(ms.ArgumentError, match=r"memory of this process.*local"):
            run()
    assert not memory.exists("/out")
    # What is known without a worker is still told.
    assert ds.count() == 1


def test_grey_images_beside_colour_ones_keep_their_shapes(tmp_path, backend):
    grey, colour = np.full((2, 3), 7, np.uint8), np.full((2, 3, 3), 9, np.uint8)
    for number, pixels in enumerate((grey, colour, grey, colour)):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    rows = ms.read_images(tmp_path, include_paths=True).map(lambda row: row).take_all()
    assert [row["image"].shape for row in rows] == [(2, 3), (2, 3, 3)] * 2
    assert np.array_equal(rows[0]["image"], grey)
    assert np.array_equal(rows[3]["image"], colour)
