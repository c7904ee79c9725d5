"""What writers of a file for each row take besides the folder: said, documented and checked once.

Is loaded with each dataset, so it must import little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from millstream.errors import ArgumentError
from millstream.errors.checks import check_flag, check_named, require


@dataclass(frozen=True)
class RowFileOptions:
    """What writers of a file for each row take besides the folder.

    Args:
        filename_column: The column that names the files: text such as `"cats/7"`, in which "/"
            makes folders. The extension is added where it is missing. Names that are there twice,
            that readers would leave out or that lead out of the folder are errors. By default the
            run's id and the number of the row name the files.
        filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
        try_create_dir: Whether the folder is made if it does not exist.
        arrow_open_stream_args: Passed to `open_output_stream` of the file system.
        filename_provider: Its `get_filename_for_task(run_id, index)` names the files, where index
            is the number of the row; not together with `filename_column`.
        mode: `"append"` adds files, `"overwrite"` replaces what is there, `"ignore"` writes
            nothing if there is data, `"error"` raises then.
    """

    filename_column: str | None = None
    filesystem: Any = None
    try_create_dir: bool = True
    arrow_open_stream_args: Mapping[str, Any] | None = None
    filename_provider: Any = None
    mode: str = "append"

    def __post_init__(self) -> None:
        name = self.filename_column
        is_name = name is None or (isinstance(name, str) and name != "")
        require(is_name, "filename_column", name, "the name of a column, or None")
        check_flag("try_create_dir", self.try_create_dir)
        check_named("arrow_open_stream_args", self.arrow_open_stream_args)
        if (self.arrow_open_stream_args or {}).get("compression"):
            raise ArgumentError(
                f"arrow_open_stream_args={self.arrow_open_stream_args!r} would compress files that "
                "readers then do not know; these formats have a compression of their own"
            )
        provider = self.filename_provider
        is_provider = provider is None or hasattr(provider, "get_filename_for_task")
        wanted = "an object with a method get_filename_for_task(run_id, index), or None"
        require(is_provider, "filename_provider", provider, wanted)
        if provider is not None and name is not None:
            raise ArgumentError("give either filename_column or filename_provider, not both")

    @property
    def min_rows_per_file(self) -> None:
        """Nobody asks for rows to be put together."""
        return
