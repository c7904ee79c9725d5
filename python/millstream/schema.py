"""The columns of a dataset, as users read them.

Owns the face of a schema. Knows nothing of how it was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Schema:
    """Names and types of the columns.

    Args:
        base_schema: The Arrow schema.

    Example:
        >>> import millstream as ms
        >>> ms.range(3).schema()
        Column  Type
        ------  ----
        id      int64
    """

    base_schema: pa.Schema

    @property
    def names(self) -> list[str]:
        """The names of the columns, in order."""
        return list(self.base_schema.names)

    @property
    def types(self) -> list[pa.DataType]:
        """The Arrow types of the columns, in order."""
        return list(self.base_schema.types)

    def __repr__(self) -> str:
        cells = [("Column", "Type"), ("------", "----")]
        cells += [(field.name, str(field.type)) for field in self.base_schema]
        width = max(len(name) for name, _ in cells)
        return "\n".join(f"{name.ljust(width)}  {kind}" for name, kind in cells)
