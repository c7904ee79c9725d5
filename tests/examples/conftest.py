import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    """A folder with a short clip of each source."""
    from clips import write_clips

    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, per_source=1, frames=4)
    return folder


@pytest.fixture
def local(monkeypatch):
    """Runs on threads of this process, with two GPUs in name."""
    import millstream as ms

    context = ms.DataContext.get_current().copy()
    context.backend = "local"
    context.enable_progress_bars = False
    context.execution_options.resource_limits = ms.ExecutionResources(cpu=2, gpu=2)
    monkeypatch.setattr(ms.DataContext, "_current", context)
