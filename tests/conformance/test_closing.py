"""What the classes of a pool hold is let go of when they are no longer needed."""

from __future__ import annotations

import logging
import threading

import pytest
from pipelines import batches, read, start, values, wait_until

from millstream.errors import UserCodeError


def pool(model, size=2):
    return batches(model, kind="actors", actors_min=size, actors_max=size)


def with_close(folder, also=lambda: None):
    class Model:
        def __call__(self, batch):
            return batch

        def close(self):
            (folder / f"closed.{id(self)}").touch()
            also()

        def __del__(self):
            (folder / f"dropped.{id(self)}").touch()

    return Model


def count(folder, name):
    return len(list(folder.glob(f"{name}.*")))


@pytest.mark.parametrize("size", [1, 2])
def test_each_instance_is_closed_and_dropped_before_a_run_that_ended_well_is_over(
    backend, tmp_path, size
):
    run = start(backend, read(20, 10), pool(with_close(tmp_path), size))
    assert values(run) == list(range(20))
    assert count(tmp_path, "closed") == count(tmp_path, "dropped") >= 1


def test_an_instance_without_close_is_dropped(backend, tmp_path):
    class Model:
        def __call__(self, batch):
            return batch

        def __del__(self):
            (tmp_path / "dropped").touch()

    assert values(start(backend, read(2, 2), pool(Model, 1))) == [0, 1]
    assert (tmp_path / "dropped").exists()


def test_what_an_instance_holds_is_dropped_with_it(backend, tmp_path):
    class Connection:
        def __del__(self):
            (tmp_path / "dropped").touch()

    class Model:
        def __init__(self):
            self.connection = Connection()

        def __call__(self, batch):
            return batch

    assert values(start(backend, read(2, 2), pool(Model, 1))) == [0, 1]
    assert (tmp_path / "dropped").exists()


def test_a_close_may_be_asynchronous(backend, tmp_path):
    class Model:
        async def __call__(self, batch):
            return batch

        async def close(self):
            (tmp_path / "closed").touch()

    assert values(start(backend, read(2, 2), pool(Model, 1))) == [0, 1]
    assert (tmp_path / "closed").exists()


def test_what_close_raises_is_a_warning_and_no_row_is_lost(backend, tmp_path, caplog):
    def also():
        raise SystemExit("cannot say goodbye")

    run = start(backend, read(4, 2), pool(with_close(tmp_path, also), 1))
    with caplog.at_level(logging.WARNING, "millstream"):
        assert values(run) == list(range(4))
    assert "MapBatches(Model): close() raised SystemExit: cannot say goodbye" in caplog.text


def test_a_log_that_goes_nowhere_costs_no_row(backend, tmp_path):
    class Broken(logging.Handler):
        def emit(self, record):
            raise ValueError("I/O operation on closed file")

    def also():
        raise ValueError("bad")

    logger, broken = logging.getLogger("millstream"), Broken()
    logger.addHandler(broken)
    try:
        run = start(backend, read(4, 2), pool(with_close(tmp_path, also), 1))
        assert values(run) == list(range(4))
    finally:
        logger.removeHandler(broken)


def test_a_consumer_that_leaves_has_idle_instances_closed(backend, tmp_path):
    run = start(backend, read(200, 200), pool(with_close(tmp_path)))
    next(run)
    run.close()
    wait_until(lambda: count(tmp_path, "closed") >= 1)


def test_a_close_that_does_not_end_is_told_and_left(backend, tmp_path, caplog, monkeypatch):
    from millstream.run import local

    monkeypatch.setattr(local, "_CLOSE_GRACE_S", 0.2)
    if type(backend).__name__ == "RayBackend":
        from millstream.run.ray import closing

        monkeypatch.setattr(closing, "_PATIENCE_S", 3.0)

    def also():
        while True:
            threading.Event().wait(0.01)

    run = start(backend, read(4, 2), pool(with_close(tmp_path, also), 1))
    with caplog.at_level(logging.WARNING, "millstream"):
        assert values(run) == list(range(4))
    assert count(tmp_path, "closed") == 1
    assert "has not ended" in caplog.text


def test_an_instance_is_closed_after_an_error_of_its_own(backend, tmp_path):
    class Model(with_close(tmp_path)):
        def __call__(self, batch):
            raise ValueError("bad")

    with pytest.raises(UserCodeError, match="bad"):
        list(start(backend, read(2, 1), pool(Model, 1)))
    wait_until(lambda: count(tmp_path, "closed") == 1)
