"""Whole runs: the same plan gives the same rows, errors and ends on every backend."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
import weakref

import numpy as np
import pyarrow as pa
import pytest
from pipelines import batches, calls, count_call, read, source, start, values, wait_until

from millstream.blocks import block
from millstream.errors import ReadError, RunStoppedError, UserCodeError


def test_a_source_gives_its_rows(backend):
    assert values(start(backend, read(10, 3))) == list(range(10))


def test_many_blocks_come_in_order(backend):
    def double(batch):
        return {"id": batch["id"] * 2}

    run = start(backend, read(600, 60), batches(double))
    assert values(run) == [2 * value for value in range(600)]


def test_small_units_are_bundled(backend):
    run = start(backend, read(1000, 500), task_span_target_us=10_000_000)
    assert values(run) == list(range(1000))
    assert run.scheduler.snapshot().ops[0].tasks_finished < 500


def test_actors_load_once_and_run_many_tasks(backend, tmp_path):
    folder = str(tmp_path)

    class Add:
        def __init__(self):
            count_call(folder, "load")
            self.added = 1

        def __call__(self, batch):
            return {"id": batch["id"] + self.added}

    add = batches(Add, kind="actors", actors_min=2, actors_max=2)
    assert values(start(backend, read(200, 40), add)) == list(range(1, 201))
    assert 1 <= calls(folder, "load") <= 2


def test_logical_gpus_are_slots(backend):
    class Model:
        def __call__(self, batch):
            return batch

    model = batches(Model, kind="actors", cpu=0, gpu=1, actors_min=2, actors_max=2)
    run = start(backend, read(20, 10), model)
    assert values(run) == list(range(20))
    assert run.scheduler.snapshot().nodes[0].gpu_total == 2


def test_no_units_give_no_blocks(backend):
    assert list(start(backend, read(0, 0))) == []


def test_an_operator_may_give_nothing_and_keeps_the_schema(backend):
    def none(batch):
        return {"id": batch["id"][:0]}

    handles = list(start(backend, read(10, 2), batches(none)))
    assert sum(handle.meta.rows for handle in handles) == 0
    assert {tuple(handle.meta.schema.names) for handle in handles} == {("id",)}


def test_rows_without_columns_are_counted(backend):
    def bare(batch):
        return block.rows_only(len(batch["id"]))

    handles = list(start(backend, read(10, 2), batches(bare)))
    assert sum(handle.meta.rows for handle in handles) == 10
    assert all(block.unseal(handle.fetch()).num_columns == 0 for handle in handles)


@pytest.mark.parametrize("width", [1, 100, 100_000])
def test_blocks_of_any_size_arrive_as_they_were(backend, width):
    def widen(batch):
        return {"id": batch["id"], "data": np.full((len(batch["id"]), width), 7.0)}

    def check(batch):
        return {"id": batch["id"], "sum": batch["data"].sum(axis=1)}

    run = start(backend, read(6, 3), batches(widen), batches(check))
    table = pa.concat_tables([handle.fetch() for handle in run])
    assert table.to_pydict() == {"id": list(range(6)), "sum": [7.0 * width] * 6}


def test_small_and_large_blocks_of_one_task_keep_their_order_and_schemas(backend):
    def mixed(batch):
        for size in (300_000, 10, 300_000, 10):
            yield {"n": np.array([size]), "data": np.zeros((1, size))}

    handles = list(start(backend, read(1, 1), batches(mixed)))
    sizes = [value for handle in handles for value in handle.fetch()["n"].to_pylist()]
    assert sizes == [300_000, 10, 300_000, 10]
    assert all(handle.meta.schema == handle.fetch().schema for handle in handles)
    assert all(handle.meta.rows == handle.fetch().num_rows for handle in handles)


def test_the_first_block_of_a_long_task_does_not_wait_for_its_end(backend, tmp_path):
    go_on = tmp_path / "go_on"

    def slow(batch):
        yield {"data": np.zeros((1, 1 << 18))}
        while not go_on.exists():
            time.sleep(0.01)
        yield {"data": np.ones((1, 1 << 18))}

    run = start(backend, read(1, 1), batches(slow))
    assert next(run).fetch()["data"].to_numpy()[0][0] == 0
    go_on.touch()
    assert next(run).fetch()["data"].to_numpy()[0][0] == 1
    assert list(run) == []


def test_a_slow_consumer_holds_the_pipeline_within_the_store(backend):
    def widen(batch):
        for _ in range(8):
            yield {"data": np.zeros((1, 1 << 18))}

    run = start(backend, read(64, 64), batches(widen))
    total = 0
    for handle in run:
        total += handle.meta.nbytes
        node = run.scheduler.snapshot().nodes[0]
        assert node.store_used <= node.store_total
    assert total >= 64 * 8 * (2 << 20)
    node = run.scheduler.snapshot().nodes[0]
    assert node.store_peak <= node.store_total


# Errors -------------------------------------------------------------------------------------


def test_an_error_of_a_function_is_the_cause(backend):
    def bad(batch):
        raise KeyError("missing")

    with pytest.raises(UserCodeError, match="missing") as caught:
        list(start(backend, read(100, 10), batches(bad)))
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.operator == "MapBatches(bad)"
    assert "attempt 1" in caught.value.task


def test_an_error_after_some_blocks_comes_within_seconds(backend):
    def late(batch):
        yield {"data": np.zeros((1, 1 << 18))}
        yield {"data": np.zeros((1, 1 << 18))}
        raise ValueError("late")

    run = start(backend, read(1, 1), batches(late))
    started = time.monotonic()
    with pytest.raises(UserCodeError, match="late"):
        list(run)
    assert time.monotonic() - started < 5


def test_an_error_in_an_actor_names_its_operator(backend):
    class Bad:
        def __call__(self, batch):
            raise ValueError("no good")

    with pytest.raises(UserCodeError, match="no good") as caught:
        list(start(backend, read(10, 2), batches(Bad, kind="actors")))
    assert caught.value.operator == "MapBatches(Bad)"


def test_an_error_in_a_constructor_is_told(backend):
    class Unloadable:
        def __init__(self):
            raise FileNotFoundError("model.onnx")

        def __call__(self, batch):
            return batch

    with pytest.raises(UserCodeError, match=r"model\.onnx") as caught:
        list(start(backend, read(10, 2), batches(Unloadable, kind="actors")))
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_an_error_of_a_source_names_the_file(backend):
    class Broken:
        files = ("a/b.bin",)
        nbytes = 0

        def read(self):
            raise EOFError("too short")
            yield

    with pytest.raises(ReadError, match="too short") as caught:
        list(start(backend, source([Broken()])))
    assert caught.value.file == "a/b.bin"


def test_an_exception_that_cannot_be_sent_is_told_all_the_same(backend):
    class Unsendable(Exception):
        def __init__(self, text):
            super().__init__(text)
            self.lock = threading.Lock()

    def bad(batch):
        raise Unsendable("held")

    with pytest.raises(UserCodeError, match="held"):
        list(start(backend, read(10, 2), batches(bad)))


# The end ------------------------------------------------------------------------------------


def test_a_consumer_that_leaves_early_stops_the_run(backend, tmp_path):
    folder = str(tmp_path)

    def counted(batch):
        count_call(folder, "call")
        time.sleep(0.01)
        return batch

    run = start(backend, read(5000, 5000), batches(counted))
    next(run)
    run.close()
    before = calls(folder, "call")
    assert before < 5000
    with pytest.raises(RunStoppedError):
        next(run)
    assert calls(folder, "call") == before


def test_a_dropped_iterator_stops_the_run(backend):
    def slow(batch):
        time.sleep(0.01)
        return batch

    run = start(backend, read(5000, 5000), batches(slow))
    scheduler = run.scheduler
    dropped = weakref.ref(run)
    next(run)
    del run
    gc.collect()
    assert dropped() is None
    wait_until(lambda: sum(op.tasks_running for op in scheduler.snapshot().ops) == 0)


def test_ctrl_c_stops_the_run_before_it_reaches_the_caller(backend, tmp_path):
    begun = tmp_path / "begun"

    def endless(batch):
        begun.touch()
        while True:
            time.sleep(0.01)

    run = start(backend, read(8, 8), batches(endless))

    main = threading.main_thread().ident

    def is_waiting():
        return begun.exists() and sys._current_frames()[main].f_code.co_name == "_first_of"

    def press():
        wait_until(is_waiting, within_s=30)
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        next(run)
    presser.join()
    assert not run._loop.is_alive()


def test_a_closed_run_can_be_closed_again(backend):
    run = start(backend, read(10, 2))
    run.close()
    run.close()
    backend.close()


def test_a_kept_block_outlives_the_run(backend):
    handles = list(start(backend, read(20, 4)))
    assert [value for each in handles for value in each.fetch()["id"].to_pylist()] == list(
        range(20)
    )
    schema = handles[0].meta.schema
    handles[0].release()
    assert handles[0].meta.schema == schema
    with pytest.raises(RuntimeError, match="released"):
        handles[0].fetch()
