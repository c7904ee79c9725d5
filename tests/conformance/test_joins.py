"""Limits, unions and zips: the same rows on every backend, and no more work than they need."""

from __future__ import annotations

import pytest
from pipelines import batches, calls, count_call, operator, read, start, values

from millstream.errors import WorkerError
from millstream.plan.physical import PhysicalOp
from millstream.plan.stage import Stage


def limit(rows, **options):
    stage = Stage(f"limit={rows}", (), 1 << 20)
    return operator(stage.name, "limit", stage, limit_rows=rows, cpu=0, **options)


def union(*inputs):
    return operator("Union", "union", Stage("Union", (), 1 << 20), inputs=inputs, cpu=0)


def zipped(*inputs):
    return PhysicalOp("Zip", "zip", Stage("Zip", (), 1 << 20), inputs=inputs)


def rows(run):
    return [row for handle in run for row in handle.fetch().to_pylist()]


@pytest.mark.parametrize("count", [0, 1, 25, 100, 1000])
def test_a_limit_gives_the_first_rows(backend, count):
    run = start(backend, read(100, 10), limit(count))
    assert values(run) == list(range(min(count, 100)))


def test_a_limit_ends_what_is_above_it(backend, tmp_path):
    folder = str(tmp_path)

    def count_one(batch):
        count_call(folder, "batch")
        return batch

    run = start(backend, read(2000, 200), batches(count_one), limit(15), task_span_target_us=0)
    assert values(run) == list(range(15))
    assert calls(folder, "batch") < 100
    assert run.scheduler.snapshot().ops[0].state == "done"


def test_what_follows_a_limit_gets_its_rows_only(backend):
    def double(batch):
        return {"id": batch["id"] * 2}

    run = start(backend, read(100, 10), limit(13), batches(double))
    assert values(run) == [2 * value for value in range(13)]


def test_a_union_keeps_the_order_of_its_inputs(backend):
    first, second = read(50, 5), read(30, 3)
    run = start(backend, first, second, union(0, 1))
    assert values(run) == [*range(50), *range(30)]


def test_a_union_out_of_order_gives_all_rows(backend):
    run = start(backend, read(50, 5), read(30, 3), union(0, 1), preserve_order=False)
    assert sorted(values(run)) == sorted([*range(50), *range(30)])


@pytest.mark.parametrize("preserve_order", [True, False])
def test_rows_are_put_side_by_side_whatever_their_blocks(backend, preserve_order):
    run = start(backend, read(60, 7), read(60, 4), zipped(0, 1), preserve_order=preserve_order)
    given = sorted(rows(run), key=lambda row: row["id"])
    assert given == [{"id": value, "id_1": value} for value in range(60)]


def test_different_numbers_of_rows_fail_with_both(backend):
    run = start(backend, read(60, 7), read(59, 4), zipped(0, 1))
    with pytest.raises(WorkerError, match=r"input 1 has 59, input 0 has 60") as caught:
        rows(run)
    assert caught.value.operator == "Zip"


def test_they_combine(backend):
    def negate(batch):
        return {"negative": -batch["id"]}

    ops = [
        read(20, 4),
        read(20, 3),
        union(0, 1),
        limit(30, inputs=(2,)),
        read(30, 5),
        batches(negate, inputs=(4,)),
        zipped(3, 5),
    ]
    expected = [*range(20), *range(10)]
    assert rows(start(backend, *ops)) == [
        {"id": value, "negative": -position} for position, value in enumerate(expected)
    ]
