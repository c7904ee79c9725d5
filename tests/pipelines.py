"""Plans for the tests of the backends: operators by hand, and their start on a backend.

Functions for Ray are made inside functions, so that they are pickled by value.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

from millstream import _core
from millstream.blocks.transforms import MapBatches
from millstream.io.memory import plan_range
from millstream.plan.physical import PhysicalOp, core_spec
from millstream.plan.resources import Resources
from millstream.plan.stage import Stage
from millstream.run.driver import Run

BLOCK_BYTES = 1 << 20


def operator(name, kind, stage, *, cpu=1, gpu=0, custom=None, **options):
    """An operator whose workers hold that much."""
    resources = Resources(cpu, gpu, custom=custom or {})
    return PhysicalOp(name, kind, stage, resources=resources, **options)


def read(rows, units, *transforms, block_bytes=BLOCK_BYTES, **options):
    """A source of the integers below `rows`, in as many units, with fused transforms."""
    found = plan_range(rows, override_num_blocks=units).units if units else []
    stage = Stage("Read", transforms, block_bytes)
    return operator("Read", "source", stage, units=found, **options)


def source(units, *transforms, block_bytes=BLOCK_BYTES, **options):
    """A source of given units."""
    stage = Stage("Read", transforms, block_bytes)
    return operator("Read", "source", stage, units=units, **options)


def batches(function, *, kind="tasks", batch_size=None, block_bytes=BLOCK_BYTES, **options):
    """An operator that calls a function or a class on batches."""
    stage = Stage(function.__name__, (MapBatches(function, batch_size=batch_size),), block_bytes)
    return operator(f"MapBatches({function.__name__})", kind, stage, **options)


def core_plan(ops, **config):
    """The operators as the core sees them."""
    specs = [core_spec(op, number) for number, op in enumerate(ops)]
    # One task per unit and block, unless a test wants otherwise.
    config = {"task_span_target_us": 0, "block_bytes_target": BLOCK_BYTES, **config}
    return _core.Plan(specs, _core.Config(**config))


def start(backend, *ops, **config):
    """Starts a run; its scheduler is its attribute `scheduler`."""
    try:
        nodes = backend.open(ops)
        scheduler = _core.Scheduler(core_plan(ops, **config), nodes)
    except BaseException:
        backend.close()
        raise
    run = Run(list(ops), backend, scheduler)
    run.scheduler = scheduler
    return run


def endless(weight=1):
    """Starts a run on Ray that always has another task, of one CPU and 50 ms."""
    from millstream.run.ray.backend import RayBackend

    def nap(batch):
        time.sleep(0.05)
        return batch

    return start(RayBackend(weight), read(10**5, 10**5, *batches(nap).stage.transforms))


def cpus(run):
    """How many CPUs a run's tasks hold."""
    return sum(node.cpu_used for node in run.scheduler.snapshot().nodes)


def values(run, column="id"):
    """The values of a column of the whole output."""
    return [value for handle in run for value in handle.fetch()[column].to_pylist()]


def wait_until(holds, within_s=10.0):
    """Waits for what no event tells; fails after a while."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def own_line(stream):
    """The next line of a program itself, beside what Ray prints of its workers; "" at the end."""
    return next((line for line in stream if not _is_of_ray(line)), "")


def own_text(printed):
    """What a program itself printed."""
    return "".join(line for line in printed.splitlines(True) if not _is_of_ray(line))


def _is_of_ray(line):
    # A cluster tells each of its drivers, such as that many workers have been started.
    return re.match(r"(\x1b\[\d+m)?\((raylet|autoscaler)\b", line) is not None


def die_once(folder, name, times=1):
    """Kills this process, as `kill -9` does, the first times that a name is met anywhere."""
    for turn in range(times):
        try:
            Path(folder, f"{name}.{turn}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)


def count_call(folder, name):
    """Counts a call across processes; returns the count."""
    Path(folder, f"{name}.{os.getpid()}.{time.monotonic_ns()}").touch()
    return calls(folder, name)


def calls(folder, name):
    """How often `count_call` was called with a name."""
    return len(list(Path(folder).glob(f"{name}.*")))
