"""Sources and sinks of users' own, written from the documentation alone."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import millstream as ms
from millstream.io.custom import BlockMetadata, Datasink, Datasource, ReadTask
from millstream.read import read_datasource


class SquaresDatasource(Datasource):
    """The squares below a number, each task in another form of table."""

    def __init__(self, end, fails_at=None, told=True):
        self.end, self.fails_at, self.told = end, fails_at, told

    def get_read_tasks(self, parallelism):
        step = -(-self.end // parallelism)
        starts = range(0, self.end, step)
        return [self._task(start, min(start + step, self.end)) for start in starts]

    def _task(self, start, stop):
        def read():
            if self.fails_at is not None and start <= self.fails_at < stop:
                raise OSError("the source is gone")
            numbers = list(range(start, stop))
            squares = [number**2 for number in numbers]
            if start % 3 == 0:
                yield pa.table({"n": numbers, "square": squares})
            elif start % 3 == 1:
                yield pd.DataFrame({"n": numbers, "square": squares})
            else:
                yield {"n": numbers, "square": squares}

        metadata = BlockMetadata(num_rows=stop - start if self.told else None)
        return ReadTask(read, metadata, pa.schema({"n": pa.int64(), "square": pa.int64()}))


class LinesDatasink(Datasink):
    """Stages a file for each task, and tells of all when all are there."""

    def __init__(self, folder, fails=False):
        self.folder, self.fails, self.events = Path(folder), fails, []

    @property
    def min_rows_per_write(self):
        return 10

    def on_write_start(self, schema=None):
        self.events.append(("start", None if schema is None else schema.names))

    def write(self, blocks, ctx):
        rows = [row for table in blocks for row in table.to_pylist()]
        if self.fails:
            raise ValueError("no room")
        if not rows:
            return None
        path = self.folder / f"{rows[0]['n']}.json"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return path.name, len(rows), ctx.op_name

    def on_write_complete(self, write_result):
        self.events.append(("complete", write_result))

    def on_write_failed(self, error):
        self.events.append(("failed", type(error)))


def squares(end):
    return [{"n": number, "square": number**2} for number in range(end)]


def test_a_source_of_ones_own_is_read_in_its_order():
    ds = read_datasource(SquaresDatasource(20), override_num_blocks=7)
    assert ds.take_all() == squares(20)
    assert ds.count() == 20
    assert ds.columns() == ["n", "square"]
    assert "ReadSquares" in repr(ds)


def test_what_a_source_does_not_tell_is_counted():
    assert read_datasource(SquaresDatasource(20, told=False)).count() == 20


def test_what_a_read_task_raises_names_the_source():
    ds = read_datasource(SquaresDatasource(20, fails_at=11), override_num_blocks=5)
    with pytest.raises(ms.ReadError, match="Squares raised OSError: the source is gone"):
        ds.take_all()


def test_a_read_task_that_gives_no_table_says_what_is_accepted():
    class Numbers(Datasource):
        def get_read_tasks(self, parallelism):
            return [ReadTask(lambda: [1, 2])]

    with pytest.raises(ms.ReadError, match=r"Numbers failed.*not a batch"):
        read_datasource(Numbers()).take_all()


def test_what_is_no_source_is_refused():
    class Nothing(Datasource):
        def get_read_tasks(self, parallelism):
            return [1]

    with pytest.raises(ms.ArgumentError, match="datasource"):
        read_datasource([1])
    with pytest.raises(ms.ArgumentError, match="Nothing must return a list of ReadTask"):
        read_datasource(Nothing())
    with pytest.raises(ms.ArgumentError, match="datasink"):
        ms.range(3).write_datasink("folder")


def test_a_sink_of_ones_own_gets_all_rows_and_is_told_when_they_are_there(tmp_path):
    sink = LinesDatasink(tmp_path)
    read_datasource(SquaresDatasource(25)).write_datasink(sink)
    (start, (name, result)) = sink.events
    assert (start, name) == (("start", ["n", "square"]), "complete")
    written = [each for each in result.write_returns if each is not None]
    assert sum(rows for _, rows, _ in written) == result.num_rows == 25
    assert {op for _, _, op in written} == {"WriteLines"}
    lines = [line for name, _, _ in written for line in (tmp_path / name).read_text().splitlines()]
    assert [json.loads(line) for line in lines] == squares(25)


def test_a_sink_is_told_of_a_failure(tmp_path):
    sink = LinesDatasink(tmp_path, fails=True)
    with pytest.raises(ms.UserCodeError, match="write of Lines raised ValueError: no room"):
        read_datasource(SquaresDatasource(5)).write_datasink(sink)
    assert sink.events[-1] == ("failed", ms.UserCodeError)


def test_a_sink_that_leaves_rows_behind_is_an_error():
    class Lazy(Datasink):
        def write(self, blocks, ctx):
            next(iter(blocks))

    two = ms.range(2, override_num_blocks=1).map_batches(lambda batch: batch, batch_size=1)
    with pytest.raises(ms.UserCodeError, match="before it had gone through all blocks"):
        two.write_datasink(Lazy())
