"""Runs that something else than their last row ends: nobody takes a part of the rows for all."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest
from pipelines import own_text, wait_until

import millstream as ms

BEGIN = """
import atexit, json, logging, pathlib, sys, threading
# A run says that it waits for its turn, which it does for long on a busy machine alone.
logging.getLogger("millstream.run.ray.seat").setLevel(logging.ERROR)
folder, address = pathlib.Path(sys.argv[1]), sys.argv[2]
import millstream as ms
context = ms.DataContext.get_current()
context.enable_progress_bars = False
if address:
    import ray
    ray.init(address=address, logging_level="error", log_to_driver=False)
else:
    context.backend = "local"
    context.execution_options.resource_limits.cpu = 4

def made(name):
    marker = folder / f"{name}.begun"
    def stuck(batch):
        if batch["id"][0] > 0:
            marker.touch()
            while True:
                threading.Event().wait(0.01)
        return batch
    ds = ms.range(8, override_num_blocks=8)
    return ds.map_batches(stuck, num_cpus=0.1, concurrency=1)

def wait_for(name):
    while not (folder / f"{name}.begun").exists():
        threading.Event().wait(0.01)
"""

CONSUMERS_ON_DAEMON_THREADS = """
consumers = {
    "count": lambda ds: ds.count(),
    "take_all": lambda ds: ds.take_all(),
    "materialize": lambda ds: ds.materialize(),
    "iter_batches": lambda ds: list(ds.iter_batches()),
    "iter_rows": lambda ds: list(ds.iter_rows()),
    "write_parquet": lambda ds: ds.write_parquet(str(folder / "out")),
}
told = {}

def consume(name):
    try:
        told[name] = repr(consumers[name](made(name)))
    except ms.MillstreamError as error:
        told[name] = f"{type(error).__name__}: {error}"

threads = [threading.Thread(target=consume, args=[name], daemon=True) for name in consumers]

@atexit.register
def tell():
    for thread in threads:
        thread.join(10)
    # In a file: Ray prints what it has to say of its workers among what the program prints.
    (folder / "told.json").write_text(json.dumps(told))

for thread in threads:
    thread.start()
for name in consumers:
    wait_for(name)
"""

WRITER = """
made("write").write_parquet(str(folder / "out"))
"""


def program(text, folder, ray=None):
    address = "" if ray is None else ray.get_runtime_context().gcs_address
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + text, str(folder), address],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def cluster(request):
    """Ray, or None for the local backend."""
    return request.getfixturevalue("ray_cluster") if request.param == "ray" else None


def test_the_end_of_the_program_is_an_error_of_each_run_under_way(cluster, tmp_path):
    running = program(CONSUMERS_ON_DAEMON_THREADS, tmp_path, cluster)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, own_text(err)) == (0, "")
    told = json.loads((tmp_path / "told.json").read_text())
    consumers = {"count", "iter_batches", "iter_rows", "materialize", "take_all", "write_parquet"}
    assert told.keys() == consumers
    for text in told.values():
        assert "RunStoppedError: the run was cut off before its last row: the program" in text
    assert not (tmp_path / "out").exists()


def test_a_termination_leaves_nothing_of_a_write(cluster, tmp_path):
    running = program(WRITER, tmp_path, cluster)
    wait_until((tmp_path / "write.begun").exists, within_s=60)
    assert (tmp_path / "out").exists()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == (128 + signal.SIGTERM if cluster is None else signal.SIGTERM)
    assert not (tmp_path / "out").exists()


def test_a_program_says_itself_what_a_termination_does():
    def own(number, frame):
        raise AssertionError("nobody has sent it")

    before = signal.signal(signal.SIGTERM, own)
    try:
        seen = ms.range(1).map(lambda row: {"own": signal.getsignal(signal.SIGTERM) is own})
        assert seen.take_all() == [{"own": True}]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("prefetch_batches", [0, 1])
def test_a_run_that_another_thread_stops_is_an_error_of_its_consumer(prefetch_batches):
    go_on = threading.Event()

    def held(row):
        if row["id"] == 5:
            go_on.wait(10)
        return row

    ds = ms.range(10, override_num_blocks=10).map(held, concurrency=1)
    execution = ds._execute()
    from millstream import feed

    batches = feed.iter_batches(
        execution.tables(), batch_size=1, prefetch_batches=prefetch_batches, stop=execution.stop
    )
    next(batches)
    stopping = threading.Thread(target=execution.stop)
    stopping.start()
    with pytest.raises(ms.RunStoppedError, match="it was closed"):
        list(batches)
    go_on.set()
    stopping.join()
    assert "Stopped after" in ds.stats()
