"""Blocks that wait on disk behind exchanges of the local backend."""

from __future__ import annotations

import os
import tempfile

import numpy as np
import pyarrow as pa
import pytest

import millstream as ms
from millstream.context import DataContext
from millstream.run.spill import Spill, SpilledBlock


def test_what_memory_does_not_hold_is_on_disk_until_it_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spill = Spill(100)
    tables = [pa.table({"x": range(number, number + 10)}) for number in range(3)]
    kept = [spill.keep(table, 80) for table in tables]
    assert [isinstance(each, SpilledBlock) for each in kept] == [False, True, True]
    assert kept[1].table().equals(tables[1])
    mapped = kept[2].table()
    for each in kept:
        spill.drop(each, 80)
    assert mapped.equals(tables[2])
    assert not isinstance(spill.keep(tables[0], 80), SpilledBlock)
    assert [file for _, _, files in os.walk(tmp_path) for file in files] == []
    spill.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("way", ["sort", "shuffle", "group"])
def test_an_exchange_of_five_times_the_store(way, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context = DataContext(backend="local", enable_progress_bars=False)
    context.execution_options.resource_limits = ms.ExecutionResources(
        cpu=2, object_store_memory=8 << 20
    )
    monkeypatch.setattr(DataContext, "_current", context)
    rows = 40 * (1 << 20) // 16
    ds = ms.range(rows).map_batches(
        lambda batch: {"key": (batch["id"] * 7919) % rows, "value": batch["id"] % 1000}
    )
    if way == "sort":
        made = ds.sort("key")
        found = np.concatenate([batch["key"] for batch in made.iter_batches(batch_size=None)])
        assert (found == np.arange(rows)).all()
    elif way == "shuffle":
        made = ds.random_shuffle(seed=1)
        found = np.concatenate([batch["key"] for batch in made.iter_batches(batch_size=None)])
        assert (np.sort(found) == np.arange(rows)).all()
    else:
        made = ds.groupby("value").map_groups(lambda group: {"count": [len(group["key"])]})
        assert made.sum("count") == rows
    if way != "group":
        assert "set aside behind exchanges" in made.stats()
    assert os.listdir(tmp_path) == []
