"""Values of all types through workers in other processes."""

from __future__ import annotations

import warnings

import pyarrow as pa
import pytest
from column_samples import COLUMNS, same, values

import millstream as ms
from millstream.blocks import block, tensor
from millstream.context import DataContext

pytestmark = pytest.mark.ray


@pytest.fixture(autouse=True)
def on_ray(ray_cluster, monkeypatch):
    context = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", context)


def all_types():
    """A table of all sample columns, of three rows each."""
    indices = {
        name: [index % len(column) for index in range(3)] for name, column in COLUMNS.items()
    }
    plain = {name: block.plain(pa.table({"c": column}))["c"] for name, column in COLUMNS.items()}
    parts = {}
    for name, column in plain.items():
        parts[name] = column.combine_chunks().take(pa.array(indices[name]))
    return pa.table(parts)


@pytest.mark.parametrize("format", ["numpy", "pandas", "pyarrow", "rows"])
def test_all_types_survive_workers(format):
    table = all_types()
    ds = ms.from_arrow(table, override_num_blocks=2)
    if format == "rows":
        made = ds.map(lambda row: row)
    else:
        made = ds.map_batches(lambda batch: batch, batch_format=format, zero_copy_batch=False)
    back = block.concat(list(made.iter_batches(batch_size=None, batch_format="pyarrow")))
    for name in table.column_names:
        if not tensor.is_tensor(table.schema.field(name).type):
            assert back.schema.field(name).type == table.schema.field(name).type, name
        assert all(map(same, values(back[name]), values(table[name]))), name


def test_workers_pass_no_warning_of_read_only_arrays_on():
    def count_warnings(batch):
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn("The given NumPy array is not writable, and PyTorch", stacklevel=1)
        return {"warnings": [len(caught)]}

    assert ms.range(1).map_batches(count_warnings).take_all() == [{"warnings": 0}]
