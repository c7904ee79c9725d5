"""The worker body: blocks of the target size, measures, errors that say where."""

import pickle
import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.blocks import block
from millstream.blocks.transforms import FilterRows, MapBatches, MapRows, SelectColumns
from millstream.blocks.usercode import ForeignError
from millstream.errors import MillstreamError, ReadError, SchemaError, UserCodeError
from millstream.plan.stage import Stage
from millstream.run.worker import BlockMeta, TaskEnd, TaskError, open_stage


class Unit:
    """Rows from nowhere."""

    nbytes = 0

    def __init__(self, name="a.bin", start=0, tables=3, rows=10, error=None):
        self.files = (name,)
        self.start, self.tables, self.rows, self.error = start, tables, rows, error

    def read(self):
        for index in range(self.tables):
            start = self.start + index * self.rows
            yield pa.table({"id": np.arange(start, start + self.rows)})
        if self.error is not None:
            raise self.error


def run(transforms=(), work=(), *, target=1 << 20, skip=0, **options):
    stage = Stage("Read->Map", tuple(transforms), target)
    return list(open_stage(stage, **options).run(work, skip, "attempt 1 on node 0"))


def failure(*arguments, **options):
    last = run(*arguments, **options)[-1]
    assert isinstance(last, TaskError)
    return pickle.loads(pickle.dumps(last)).error


def ids(outputs):
    return [v for _, table in outputs[:-1] for v in table["id"].to_pylist()]


def test_units_become_blocks_of_the_target_size():
    outputs = run(work=[Unit(), Unit(start=30)], target=160)
    assert [meta.rows for meta, _ in outputs[:-1]] == [20, 20, 20]
    assert ids(outputs) == list(range(60))
    assert isinstance(outputs[-1], TaskEnd)


def test_meta_tells_rows_bytes_and_the_schema_once():
    outputs = run(work=[Unit()], target=80)
    metas = [meta for meta, _ in outputs[:-1]]
    assert metas[0] == BlockMeta(10, 80, pa.schema({"id": pa.int64()}))
    assert metas[1:] == [BlockMeta(10, 80, None)] * 2


def test_meta_tells_a_changed_schema():
    tables = [pa.table({"a": [1] * 20}), pa.table({"b": [1] * 20})]
    metas = [meta for meta, _ in run(work=tables, target=100)[:-1]]
    assert [meta.schema.names for meta in metas if meta.schema] == [["a"], ["b"]]


def test_blocks_are_emitted_as_soon_as_they_are_full():
    produced = []

    def endless(batch):
        for index in range(10**9):
            produced.append(index)
            yield {"id": np.zeros(100, np.uint8)}

    stage = Stage("Map", (MapBatches(endless),), 1000)
    outputs = open_stage(stage).run([pa.table({"a": [1]})], 0, "")
    assert next(outputs)[0].rows == 1000
    assert len(produced) == 10
    outputs.close()


def test_a_huge_result_is_cut_lazily():
    huge = {"id": np.zeros(10_000_000, np.uint8)}
    stage = Stage("Map", (MapBatches(lambda batch: huge),), 100_000)
    outputs = open_stage(stage).run([pa.table({"a": [1]})], 0, "")
    meta, table = next(outputs)
    assert meta.rows == 100_000
    assert len(pickle.dumps(table)) < 110_000
    outputs.close()


@pytest.mark.parametrize("skip", range(0, 32, 5))
def test_rows_that_were_handed_over_are_skipped(skip):
    assert ids(run(work=[Unit()], target=64, skip=skip)) == list(range(skip, 30))


def test_skipping_all_rows_gives_no_block():
    assert len(run(work=[Unit()], skip=30)) == 1


def test_nothing_but_a_schema_gives_one_empty_block():
    (meta, table), _ = run([FilterRows(lambda row: False)], [Unit()])
    assert (meta.rows, meta.nbytes) == (0, 0)
    assert table.schema == meta.schema == pa.schema({"id": pa.int64()})


def test_no_input_gives_no_block():
    assert len(run(work=[])) == 1


def test_rows_without_columns_are_blocks():
    outputs = run([SelectColumns([])], [Unit()])
    assert sum(meta.rows for meta, _ in outputs[:-1]) == 30
    assert block.is_rows_only(outputs[0][1].schema)


def test_busy_time_leaves_out_the_wait_for_the_taker():
    def work(batch):
        time.sleep(0.02)
        return batch

    stage = Stage("Map", (MapBatches(work, batch_size=10),), 80)
    outputs = []
    for output in open_stage(stage).run([Unit()], 0, ""):
        outputs.append(output)
        time.sleep(0.2)
    assert 60_000 <= outputs[-1].busy_us < 500_000


def test_busy_time_and_time_to_read_are_told_apart():
    class Slow(Unit):
        def read(self):
            time.sleep(0.05)
            yield from super().read()

    end = run([MapBatches(lambda batch: time.sleep(0.05) or batch)], [Slow(tables=1)])[-1]
    assert 50_000 <= end.input_us < end.busy_us - 40_000
    assert end.heap_peak_bytes > 10 * 2**20


def raises(batch):
    raise KeyError("no such thing")


def test_an_error_of_user_code_names_operator_file_batch_and_task():
    error = failure([MapBatches(raises, batch_size=7)], [Unit("b.mp4")])
    assert isinstance(error, UserCodeError)
    assert error.operator == "MapBatches(raises)"
    assert error.file == "b.mp4"
    assert error.task == "attempt 1 on node 0"
    assert "batch 0 (rows 0 to 6 of its task) raised KeyError" in error.message
    assert isinstance(error.__cause__, KeyError)
    assert "run/worker.py" not in str(error)


def test_the_operator_named_is_the_one_that_failed():
    transforms = [MapBatches(lambda batch: batch), MapRows(raises), MapBatches(lambda b: b)]
    assert failure(transforms, [Unit()]).operator == "Map(raises)"


def test_blocks_before_the_error_are_handed_over():
    outputs = run(work=[Unit(error=OSError("disk")), Unit()], target=80)
    assert [meta.rows for meta, _ in outputs[:-1]] == [10, 10, 10]


@pytest.mark.parametrize("error", [OSError("truncated"), ValueError("truncated")])
def test_an_error_of_the_input_names_the_file(error):
    told = failure([MapBatches(lambda b: b)], [Unit("good"), Unit("bad.parquet", error=error)])
    assert isinstance(told, ReadError)
    assert told.file == "bad.parquet"
    assert "truncated" in told.message
    assert type(told.__cause__) is type(error)
    assert told.operator == "Read->Map"


def test_an_unknown_column_is_a_schema_error():
    error = failure([SelectColumns(["nope"])], [Unit()])
    assert isinstance(error, SchemaError)
    assert "no column 'nope'" in str(error)
    assert error.operator == "Select(nope)"


def test_blocks_without_a_common_type_are_a_schema_error():
    error = failure(work=[pa.table({"a": [1]}), pa.table({"a": ["x"]})])
    assert isinstance(error, SchemaError)
    assert "column 'a'" in str(error)


def test_an_exception_that_cannot_be_pickled_gets_a_stand_in():
    class Local(Exception):
        pass

    def fail(batch):
        raise Local("here")

    error = failure([MapBatches(fail)], [Unit()])
    assert isinstance(error.__cause__, ForeignError)
    assert "Local: here" in str(error.__cause__)
    assert 'raise Local("here")' in error.message


def test_an_exception_that_cannot_be_unpickled_gets_a_stand_in():
    def fail(batch):
        raise TwoArguments(1, 2)

    assert isinstance(failure([MapBatches(fail)], [Unit()]).__cause__, ForeignError)


class TwoArguments(Exception):
    """Pickles, and fails when it is unpickled."""

    def __init__(self, left, right):
        super().__init__("both")


def test_an_exception_that_stays_in_the_process_stays_itself():
    class Local(Exception):
        pass

    def fail(batch):
        raise Local

    last = run([MapBatches(fail)], [Unit()], dumps=None)[-1]
    assert type(last.error.__cause__) is Local


def test_a_step_that_is_broken_is_told_as_such():
    class Broken:
        name = "Broken"

        def open(self):
            def apply(blocks):
                yield from blocks
                raise RuntimeError("oops")

            return apply

    error = failure([Broken()], [Unit()])
    assert type(error) is MillstreamError
    assert "millstream itself failed" in error.message
    assert "oops" in error.message
    assert error.operator == "Broken"


def test_a_failing_constructor_is_raised_when_the_stage_is_opened():
    class Model:
        def __init__(self):
            raise RuntimeError("no weights")

        def __call__(self, batch):
            return batch

    with pytest.raises(UserCodeError, match="no weights") as caught:
        run([MapBatches(Model)], [Unit()])
    assert caught.value.operator == "MapBatches(Model)"
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_an_open_stage_runs_many_tasks():
    opened = open_stage(Stage("Map", (MapBatches(lambda b: b, batch_size=4),), 1 << 20))
    for _ in range(3):
        assert ids(list(opened.run([Unit()], 0, ""))) == list(range(30))


def test_leaving_a_task_closes_its_input():
    closed = []

    class Open(Unit):
        def read(self):
            try:
                yield from super().read()
            finally:
                closed.append(self)

    outputs = open_stage(Stage("Read", (), 80)).run([Open()], 0, "")
    next(outputs)
    outputs.close()
    assert len(closed) == 1


def in_pieces(work, rows, *, skip=0, wanted=None, transforms=()):
    stage = Stage("Read->Map", transforms, 1 << 20, rows)
    return list(open_stage(stage).run(work, skip, "attempt 1 on node 0", wanted))


def test_each_unit_is_a_block_where_blocks_must_not_be_joined():
    units = [Unit(start=n * 2, tables=2, rows=1) for n in range(50)]
    outputs = in_pieces(units, 0, transforms=(MapRows(lambda row: row),))
    assert [meta.rows for meta, _ in outputs[:-1]] == [2] * 50
    assert [meta.is_last for meta, _ in outputs[:-1]] == [False] * 49 + [True]
    assert ids(outputs) == list(range(100))


def test_blocks_of_a_piece_are_as_few_as_have_the_rows_of_a_batch():
    tables = [pa.table({"id": [n]}) for n in range(11)]
    seen = []

    def note(batch):
        seen.append(len(batch["id"]))
        return batch

    outputs = in_pieces(tables, 4, transforms=(MapBatches(note, batch_size=4),))
    assert [meta.rows for meta, _ in outputs[:-1]] == [4, 7]
    assert seen == [4, 4, 3]


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.integers(0, 5),
    st.integers(0, 50),
    st.one_of(st.none(), st.integers(1, 50)),
)
def test_a_part_of_the_rows_of_pieces_is_exactly_that_part(sizes, rows, skip, wanted):
    starts = np.cumsum([0, *sizes])
    tables = [
        pa.table({"id": np.arange(start, start + size)})
        for start, size in zip(starts[:-1], sizes, strict=True)
    ]
    outputs = in_pieces(tables, rows, skip=skip, wanted=wanted)
    if skip > starts[-1]:
        assert isinstance(outputs[-1], TaskError)
        return
    last = None if wanted is None else skip + wanted
    assert ids(outputs) == list(range(starts[-1]))[skip:last]
    assert isinstance(outputs[-1], TaskEnd)
    lasts = [meta.is_last for meta, _ in outputs[:-1]]
    assert not any(lasts[:-1])
