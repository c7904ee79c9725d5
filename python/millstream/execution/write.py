"""A run that writes files, and puts them in place.

Owns the order of things: the target is checked, the run writes staged files, some are written
again, all appear. Knows nothing of formats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa

from millstream.execution.execution import Execution
from millstream.io.source import Source
from millstream.run.driver import before_exit

if TYPE_CHECKING:
    from millstream.io.commit import FolderCommit
    from millstream.io.row_files import WriteRowFiles
    from millstream.io.sink import WriteFiles


def write(
    start: Callable[[], Execution],
    again: Callable[[Source], Execution],
    transform: WriteFiles | WriteRowFiles,
    commit: FolderCommit,
    schema: pa.Schema | None,
) -> list[str]:
    """Runs a plan that ends in a write, and puts its files in place.

    Args:
        start: Starts the run.
        again: Starts a run that only writes some of the files again.
        transform: What the tasks do.
        commit: The driver's side of the write.
        schema: The columns that are written, if they are known.

    Returns:
        The paths of the files.

    Raises:
        SchemaError: A column has types that no common type holds.
        WriteError: It did not work; in either case the target is as it was before.
    """
    from millstream.io.rewrites import in_order

    with before_exit():
        if not commit.prepare():
            return []
        try:
            execution = start()
            reports = list(execution.tables())
            rewrites = transform.rewrites(reports)
            if rewrites:
                run = again(
                    Source(transform.name.replace("Write", "Rewrite", 1), rewrites, None, None)
                )
                reports = in_order(reports, rewrites, list(run.tables()))
        except BaseException:
            commit.abort()
            raise
        files = commit.commit(reports, schema)
        rows = sum(sum(report["rows"].to_pylist()) for report in reports)
        execution.watch.note_written(rows, len(files))
        return files
