"""Each kind of bad input has its own error, which names what is wrong and what to do about it.

One test for each case: the error's type, what its message names, its cause, that it comes at once,
and that nothing is left running.
"""

from __future__ import annotations

import gc
import os
import threading
import time
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import millstream as ms
from millstream.context import DataContext

WITHIN_S = 5.0
#: Where processes have to start first, perhaps again and again, on a busy machine.
START_S = 60.0


@pytest.fixture(autouse=True)
def local(monkeypatch):
    context = DataContext(backend="local", enable_progress_bars=False)
    context.execution_options.resource_limits = ms.ExecutionResources(cpu=4, gpu=1)
    monkeypatch.setattr(DataContext, "_current", context)


@contextmanager
def refused(kind, *texts, cause=None, within_s=WITHIN_S):
    """Expects an error of exactly this kind, at once, with these texts; nothing is left running."""
    started = time.monotonic()
    with pytest.raises(ms.MillstreamError) as caught:
        yield caught
    assert time.monotonic() - started < within_s
    error = caught.value
    assert type(error) is kind
    for text in texts:
        assert text in str(error), str(error)
    if cause is not None:
        assert isinstance(error.__cause__, cause)
    deadline = time.monotonic() + WITHIN_S
    while left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert left() == []


def left():
    # What a test before this one has dropped may have threads too.
    gc.collect()
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("millstream-")]


class Model:
    def __init__(self, path=None):
        if path == "missing":
            raise FileNotFoundError(f"no weights at {path}")

    def __call__(self, batch):
        return batch


def divide(batch):
    return {"id": 1 // 0}


# User functions -----------------------------------------------------------------------------


def test_a_function_that_raises():
    with refused(ms.UserCodeError, "MapBatches(divide)", "ZeroDivisionError") as caught:
        ms.range(100).map_batches(divide).map_batches(Model).take()
    assert "test_bad_input.py" in str(caught.value), "the user's traceback"
    assert "usercode.py" not in str(caught.value), "without our frames"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_generator_that_raises_half_way():
    def half(batch):
        yield batch
        raise RuntimeError("half way")

    with refused(ms.UserCodeError, "MapBatches(half)", "half way", cause=RuntimeError):
        ms.range(10).map_batches(half).take_all()


def test_an_async_function_that_raises():
    async def later(batch):
        raise RuntimeError("later")

    with refused(ms.UserCodeError, "MapBatches(later)", "later", cause=RuntimeError):
        ms.range(10).map_batches(later).take_all()


def test_a_constructor_that_raises():
    ds = ms.range(10).map_batches(Model, fn_constructor_args=["missing"])
    with refused(ms.UserCodeError, "Model", "no weights at missing", cause=FileNotFoundError):
        ds.take()


@pytest.mark.parametrize(
    ("result", "named"), [(None, "None"), (3, "int"), ("text", "str"), ([1, 2], "list")]
)
def test_a_function_that_returns_no_batch(result, named):
    ds = ms.range(10).map_batches(lambda batch: result)
    with refused(ms.UserCodeError, "MapBatches(<lambda>)", named, "return a dict"):
        ds.take()


@pytest.mark.parametrize("operator", ["map", "flat_map"])
def test_a_function_that_returns_no_row(operator):
    ds = getattr(ms.range(10), operator)(lambda row: [3] if operator == "flat_map" else 3)
    with refused(ms.UserCodeError, "int", "return a dict"):
        ds.take()


def test_a_function_whose_columns_differ_in_length():
    ds = ms.range(10).map_batches(lambda batch: {"a": [1, 2], "b": [1]})
    with refused(ms.UserCodeError, "'a'", "'b'"):
        ds.take()


def test_a_function_that_asks_for_a_column_that_is_not_there():
    with refused(ms.UserCodeError, "KeyError", "nope", cause=KeyError):
        ms.range(10).map_batches(lambda batch: batch["nope"]).take()


# Files --------------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    with refused(ms.ReadError, "no such file", str(tmp_path / "nope.parquet")):
        ms.read_parquet(tmp_path / "nope.parquet")


def test_an_empty_folder(tmp_path):
    with refused(ms.ReadError, str(tmp_path), "no files"):
        ms.read_images(tmp_path)


def test_a_folder_without_files_of_the_format(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with refused(ms.ReadError, str(tmp_path)):
        ms.read_parquet(tmp_path)


@pytest.mark.parametrize(
    ("read", "name"),
    [(ms.read_parquet, "a.parquet"), (ms.read_images, "a.png"), (ms.read_video, "a.mp4")],
)
@pytest.mark.parametrize("content", [b"", b"this is something else altogether" * 100])
def test_a_corrupt_file(tmp_path, read, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with refused(ms.ReadError, str(path)):
        read(path).take_all()


def test_a_file_that_goes_away_before_it_is_read(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    ds = ms.read_parquet(path)
    path.unlink()
    with refused(ms.ReadError, str(path), "ReadParquet"):
        ds.take()


def test_a_file_system_that_does_not_exist():
    with refused(ms.ArgumentError, "nope://bucket/a.parquet"):
        ms.read_parquet("nope://bucket/a.parquet")


# Columns ------------------------------------------------------------------------------------


@pytest.fixture
def parquet(tmp_path):
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_an_unknown_column_of_a_file(parquet):
    with refused(ms.SchemaError, "'nope'", "'a', 'b'"):
        ms.read_parquet(parquet, columns=["a", "nope"])


@pytest.mark.parametrize(
    "choose",
    [
        lambda ds: ds.select_columns(["a", "nope"]),
        lambda ds: ds.drop_columns("nope"),
        lambda ds: ds.rename_columns({"nope": "c"}),
    ],
)
def test_an_unknown_column_of_a_dataset(parquet, choose):
    with refused(ms.SchemaError, "'nope'", "'a', 'b'"):
        choose(ms.read_parquet(parquet))
    with refused(ms.SchemaError, "'nope'", "'a', 'b'"):
        choose(ms.read_parquet(parquet).map(lambda row: row)).take()


def test_a_new_name_that_another_column_has(parquet):
    with refused(ms.ArgumentError, "'b'"):
        ms.read_parquet(parquet).rename_columns({"a": "b"})


def test_values_of_one_column_that_no_type_holds():
    with refused(ms.SchemaError, "'a'"):
        ms.from_items([{"a": 1}, {"a": "text"}])


def test_columns_of_one_name():
    with refused(ms.SchemaError, "'a'", "twice"):
        ms.from_arrow(pa.table([[1], [2]], names=["a", "a"]))


def test_a_partition_column_that_does_not_exist(tmp_path):
    with refused(ms.SchemaError, "'nope'", "'id'"):
        ms.range(3).write_parquet(tmp_path / "out", partition_cols=["nope"])
    assert not (tmp_path / "out").exists()


# Resources ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "asked", "there"),
    [
        ({"num_cpus": 1000}, "1000 CPU", "4 CPU"),
        ({"num_gpus": 2, "batch_size": 8}, "2 GPU", "1 GPU"),
        ({"resources": {"tpu": 1}}, "1 tpu", "4 CPU"),
        ({"memory": 1 << 50}, "1048576.0 GiB of heap", "4 CPU"),
        ({"memory": 1 << 70}, "17179869183.9 GiB of heap", "4 CPU"),
    ],
)
def test_resources_that_no_node_has(options, asked, there):
    ds = ms.range(10).map_batches(divide, **options)
    with refused(ms.ResourcesError, "MapBatches(divide)", asked, there):
        ds.take()


def test_a_pool_whose_least_size_does_not_fit():
    ds = ms.range(10).map_batches(Model, num_gpus=1, batch_size=8, concurrency=3)
    with refused(ms.ResourcesError, "MapBatches(Model)", "3 GPU", "1 GPU"):
        ds.take()


def test_pools_that_do_not_fit_together():
    ds = ms.range(10).map_batches(Model, num_gpus=1, batch_size=8, concurrency=1)
    with refused(ms.ResourcesError, "MapBatches(Model)", "2 GPU", "1 GPU"):
        ds.map_batches(Model, num_gpus=1, batch_size=8, concurrency=1).take()


def test_a_store_that_is_too_small_where_that_is_to_be_refused():
    context = DataContext.get_current()
    context.target_max_block_size = 1 << 40
    context.execution_options.strict_memory = True
    ds = ms.range(10).map_batches(divide, num_cpus=0.5)
    with refused(ms.ResourcesError, "need a block of 1024.0 GiB each", "strict_memory"):
        ds.take()


# Targets ------------------------------------------------------------------------------------


def test_a_target_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("text")
    with refused(ms.WriteError, str(tmp_path / "out")):
        ms.range(3).write_parquet(tmp_path / "out")


def test_a_target_that_cannot_be_written():
    with refused(ms.WriteError, "/proc/nope"):
        ms.range(3).write_parquet("/proc/nope")


def test_a_mode_that_does_not_exist(tmp_path):
    with refused(ms.ArgumentError, "'replace'", "overwrite"):
        ms.range(3).write_parquet(tmp_path / "out", mode="replace")


# Arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "8"])
def test_batch_sizes_that_make_no_sense(batch_size):
    for call in (
        lambda: ms.range(3).map_batches(divide, batch_size=batch_size),
        lambda: ms.range(3).iter_batches(batch_size=batch_size),
        lambda: ms.range(3).take_batch(batch_size),
    ):
        with refused(ms.ArgumentError, f"batch_size={batch_size!r}"):
            call()


def test_gpus_without_a_batch_size():
    with refused(ms.ArgumentError, "batch_size", "num_gpus=1"):
        ms.range(3).map_batches(Model, num_gpus=1)


@pytest.mark.parametrize("concurrency", [0, -1, (4, 2), (0, 1)])
def test_concurrencies_that_make_no_sense(concurrency):
    with refused(ms.ArgumentError, f"concurrency={concurrency!r}"):
        ms.range(3).map_batches(Model, concurrency=concurrency)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda ds: ds.take(-1), "limit=-1"),
        (lambda ds: ds.take("3"), "limit='3'"),
        (lambda ds: ds.take_all(-1), "limit=-1"),
        (lambda ds: ds.map_batches(divide, batch_format="torch"), "batch_format='torch'"),
        (lambda ds: ds.iter_batches(batch_format="torch"), "batch_format='torch'"),
        (lambda ds: ds.iter_batches(prefetch_batches=-1), "prefetch_batches=-1"),
        (lambda ds: ds.iter_batches(local_shuffle_buffer_size=0), "local_shuffle_buffer_size=0"),
        (lambda ds: ds.map_batches(divide, zero_copy_batch="no"), "zero_copy_batch='no'"),
        (lambda ds: ds.map(3), "fn=3"),
        (lambda ds: ds.filter(dict), "fn=dict"),
        (lambda ds: ds.map(divide, num_cpus=-1), "num_cpus=-1"),
        (lambda ds: ds.map(divide, num_cpu=1), "'num_cpu'"),
        (lambda ds: ds.map(divide, fn_constructor_args=[1]), "fn_constructor_args=[1]"),
        (lambda ds: ds.select_columns(["id", "id"]), "cols=['id', 'id']"),
        (lambda ds: ds.rename_columns({}), "names={}"),
        (lambda ds: ds.write_parquet("out", concurrency=0), "concurrency=0"),
        (lambda ds: ds.write_parquet("out", min_rows_per_file=0), "min_rows_per_file"),
        (lambda _: ms.range(-1), "-1"),
        (lambda _: ms.range(1.5), "1.5"),
        (lambda _: ms.range(3, override_num_blocks=0), "override_num_blocks"),
        (lambda _: ms.range(3, concurrency=0), "concurrency=0"),
        (lambda _: ms.from_items("text"), "from_items"),
        (lambda _: ms.from_arrow([1]), "from_arrow"),
        (lambda _: ms.read_parquet([]), "paths"),
    ],
)
def test_arguments_that_make_no_sense(call, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(ms.ArgumentError, named):
        call(ms.range(3))
    assert os.listdir(tmp_path) == []


# On Ray -------------------------------------------------------------------------------------


@pytest.fixture
def on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)


@pytest.mark.ray
@pytest.mark.usefixtures("on_ray")
class TestOnRay:
    def test_a_function_that_cannot_be_pickled(self):
        lock = threading.Lock()

        def locked(batch):
            with lock:
                return batch

        with refused(ms.SerializationError, "MapBatches(locked)", "lock"):
            ms.range(10).map_batches(locked).take()

    def test_constructor_arguments_that_cannot_be_pickled(self):
        ds = ms.range(10).map_batches(Model, fn_constructor_args=[threading.Lock()])
        with refused(ms.SerializationError, "MapBatches(Model)", "lock"):
            ds.take()

    def test_a_function_that_raises(self):
        def divides(batch):
            return {"id": 1 // 0}

        with refused(
            ms.UserCodeError, "MapBatches(divides)", cause=ZeroDivisionError, within_s=START_S
        ):
            ms.range(10).map_batches(divides).take()

    def test_resources_that_no_node_has(self):
        with refused(ms.ResourcesError, "MapBatches(divide)", "1000 CPU"):
            ms.range(10).map_batches(divide, num_cpus=1000).take()

    def test_a_corrupt_file(self, tmp_path):
        (tmp_path / "a.png").write_bytes(b"this is something else altogether")
        with refused(ms.ReadError, str(tmp_path / "a.png"), within_s=START_S):
            ms.read_images(tmp_path).take()

    def test_limits_that_the_cluster_does_not_take(self):
        DataContext.get_current().execution_options.resource_limits.cpu = 1
        with refused(ms.ArgumentError, "resource_limits", "local backend"):
            ms.range(10).take()

    def test_a_worker_that_dies_at_each_try(self):
        ds = ms.range(10).map_batches(lambda batch: os._exit(1))
        with refused(ms.WorkerError, "MapBatches(<lambda>)", "4", within_s=START_S):
            ds.take()

    def test_an_actor_that_dies_at_each_try(self):
        class Dies:
            def __init__(self):
                os._exit(1)

            def __call__(self, batch):
                return batch

        with refused(ms.WorkerError, "MapBatches(Dies)", "4", within_s=START_S):
            ms.range(10).map_batches(Dies).take()
