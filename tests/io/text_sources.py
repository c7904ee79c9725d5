"""What the tests of CSV, JSON and text share: planning as the public readers do."""

from __future__ import annotations

from pathlib import Path

import pytest
from io_sources import rows_of, tables_of

from millstream.blocks import block
from millstream.errors import ReadError
from millstream.io.file_options import CsvFiles, JsonFiles, TextFiles
from millstream.io.formats import csv, json, text
from millstream.options import takes


@takes(files=CsvFiles)
def plan_csv(paths, *, files, override_num_blocks=None, **how):
    return csv.plan_csv(paths, files, blocks=override_num_blocks, **how)


@takes(files=JsonFiles)
def plan_json(paths, *, files, override_num_blocks=None, **how):
    return json.plan_json(paths, files, blocks=override_num_blocks, **how)


@takes(files=TextFiles)
def plan_text(paths, *, files, override_num_blocks=None, **how):
    return text.plan_text(paths, files, blocks=override_num_blocks, **how)


def rows_or_none(source):
    """The rows of a source; those of one without tables are none."""
    return rows_of(source) if any(True for _ in tables_of(source)) else []


def check_tables(source):
    """Every table has the columns and types that the plan tells."""
    for table in tables_of(source):
        assert block.visible_schema(table.schema) == source.schema


def refused(plan, path: Path, data: bytes, **how) -> str:
    """What is said of a file, when it is planned or read; the error must name it."""
    path.write_bytes(data)
    with pytest.raises(ReadError) as caught:
        rows_or_none(plan(path, **how))
    assert caught.value.file == str(path)
    return caught.value.message
