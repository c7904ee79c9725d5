"""The public face: cheap to import, documented, and its examples work."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys

import pytest

import millstream as ms
import millstream.compute
import millstream.context
import millstream.dataset
import millstream.read
import millstream.schema


def test_importing_and_running_locally_loads_no_heavy_library():
    code = (
        "import sys, millstream as ms\n"
        "heavy = {'ray', 'torch', 'pandas', 'rich', 'av', 'PIL'}\n"
        "assert not {'pyarrow', 'numpy', *heavy} & set(sys.modules)\n"
        "assert ms.range(1).map_batches(lambda b: b).take(1) == [{'id': 0}]\n"
        "import numpy as np\n"
        "made = {'s': 'a', 'b': b'b', 'f': 0.5, 't': True, 'n': None, 'x': np.zeros((2, 2))}\n"
        "assert ms.range(2).map(lambda row: {**row, **made}).count() == 2\n"
        "tensors = ms.range(2).map(lambda row: {'x': made['x']})\n"
        "assert tensors.map_batches(lambda b: {**b}).count() == 2\n"
        "assert ms.sim.replay.__module__ == 'millstream.sim.whatif'\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    environment = {"MILLSTREAM_BACKEND": "local"}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_all_public_names_exist_and_are_listed():
    assert set(ms.__all__) <= set(dir(ms))
    assert all(getattr(ms, name) is not None for name in ms.__all__)
    with pytest.raises(AttributeError, match="nope"):
        _ = ms.nope


def test_everything_public_is_documented():
    things = [(name, getattr(ms, name)) for name in ms.__all__]
    things += [
        (f"Dataset.{name}", member)
        for name, member in inspect.getmembers(ms.Dataset)
        if not name.startswith("_")
    ]
    assert [name for name, thing in things if not inspect.getdoc(thing)] == []


@pytest.mark.parametrize(
    "module", [ms, ms.compute, ms.context, ms.dataset, ms.read, ms.schema], ids=lambda m: m.__name__
)
def test_examples_work(module):
    result = doctest.testmod(module, extraglobs={"ms": ms})
    assert result.failed == 0
    assert result.attempted > 0


def test_a_trace_of_the_run_is_written(tmp_path, context):
    context.trace = str(tmp_path / "trace.jsonl")
    ms.range(10).take_all()
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    assert len(lines) > 1
    assert all(json.loads(line) for line in lines)


def test_blocks_are_cut_at_the_size_that_was_asked_for(context):
    context.target_max_block_size = 80_000
    kept = ms.range(100_000, override_num_blocks=1).materialize()
    assert kept.num_blocks() == 10
