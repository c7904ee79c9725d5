"""The lines of functions that are in no file travel with them."""

from __future__ import annotations

import linecache
import pickle
import subprocess
import sys

import pytest
from ray import cloudpickle

from millstream.blocks import cells
from millstream.blocks.usercode import UserFunction

CELL = "/tmp/ipykernel_1/2345.py"
SOURCE = """\
def helper(row):
    return row["missing"]  # in the cell

class Model:
    def __call__(self, row):
        return helper(row)

def function(row):
    return helper(row)
"""


@pytest.fixture
def cell(monkeypatch):
    """A module whose code is in a notebook's cell."""
    module = {"__name__": "__main__"}
    exec(compile(SOURCE, CELL, "exec"), module)
    monkeypatch.setitem(linecache.cache, CELL, (len(SOURCE), None, SOURCE.splitlines(True), CELL))
    return module


@pytest.mark.parametrize("name", ["function", "Model"])
def test_the_cell_of_a_function_is_found_and_files_are_not(cell, name):
    assert cells.sources_of(cell[name]) == {CELL: SOURCE}
    assert cells.sources_of(subprocess.run) == {}


def test_a_cell_of_a_helper_in_another_cell_is_found(cell):
    other = dict(cell)
    exec(compile("def outer(row):\n    return helper(row)\n", "<cell 7>", "exec"), other)
    assert cells.sources_of(other["outer"]) == {CELL: SOURCE}


def test_a_traceback_in_another_process_shows_the_line_of_the_cell(cell):
    # Functions of __main__ go by value, as those of notebooks do.
    sent = cloudpickle.dumps(UserFunction(cell["function"]))
    worker = (
        "import pickle, sys, traceback\n"
        f"opened = pickle.loads({sent!r}).open('one')\n"
        "try:\n"
        "    list(opened.calls([({}, 0)]))\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", worker], capture_output=True, text=True)
    assert 'return row["missing"]  # in the cell' in ended.stdout, ended.stderr


def test_a_function_that_is_unpickled_is_equal_to_what_was_pickled():
    sent = UserFunction(len, (1,))
    assert pickle.loads(pickle.dumps(sent)) == sent
