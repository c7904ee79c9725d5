"""Which rows of Parquet files satisfy a filter, and which row groups have none that do.

Owns what may be concluded from statistics. Must not know units or schemas of sources.

A row group is left out only if no row that its statistics allow could satisfy the filter, so that
the rows are exactly those of the same filter in memory. Statistics leave NaN out: each float
column may hold, besides what they say, any number of NaN.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset
import pyarrow.fs as pa_fs

from millstream.blocks import block
from millstream.errors import UserCodeError


@dataclass(frozen=True)
class Filter:
    """What rows must satisfy.

    Args:
        expression: A `pyarrow.compute.Expression`.
        schema: The columns that it needs.
    """

    expression: Any
    schema: pa.Schema

    def apply(self, table: pa.Table) -> pa.Table:
        """Keeps the rows for which the expression is true; columns that they lack are null.

        Raises:
            SchemaError: A value is none of the type that the filter is meant for.
            UserCodeError: The expression cannot be computed for all rows.
        """
        try:
            return self._kept(table)
        except pa.ArrowInvalid as error:
            # It is not the file's fault.
            raise UserCodeError(
                f"the filter {self.expression} cannot be computed for all rows: {error}"
            ) from error

    def _kept(self, table: pa.Table) -> pa.Table:
        needed = [field.name for field in self.schema if field.name in table.column_names]
        seen = block.align(table.select(needed), self.schema)
        if seen.schema.equals(table.select(needed).schema):
            return table.filter(self.expression)
        # The types that the filter is meant for are not those of this file.
        numbered = seen.append_column(_NUMBER, pa.array(range(table.num_rows), pa.int64()))
        return table.take(numbered.filter(self.expression).column(_NUMBER))

    def row_groups(
        self,
        filesystem: pa_fs.FileSystem,
        path: str,
        groups: Sequence[int],
        file_schema: pa.Schema,
        constants: Mapping[str, pa.Scalar],
    ) -> Sequence[int]:
        """Leaves out the row groups that hold no such row, by their statistics and the path.

        Args:
            filesystem: Where the file is.
            path: The file.
            groups: The row groups in question.
            file_schema: The columns of the file.
            constants: The columns that the path gives.
        """
        cases = list(self._cases(file_schema, constants))
        if not groups or not cases:
            return groups
        kept: set[int] = set()
        for case in cases:
            left = [group for group in groups if group not in kept]
            if not left:
                break
            fragment = pa_dataset.ParquetFileFormat(coerce_int96_timestamp_unit="us").make_fragment(
                path, filesystem, partition_expression=case, row_groups=left
            )
            try:
                subset = fragment.subset(self.expression, schema=self.schema)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
                # Not every expression can be held against statistics; the rows decide.
                return groups
            kept.update(group.id for group in subset.row_groups)
        return [group for group in groups if group in kept]

    def _cases(self, file_schema: pa.Schema, constants: Mapping[str, pa.Scalar]) -> Iterator[Any]:
        """Yields what may be so besides the statistics: any choice of float columns is NaN.

        None at all if statistics say nothing that could be relied on.
        """
        said = pc.scalar(True)
        for name, value in constants.items():
            field = pc.field(name)
            said = said & (field == value if value.is_valid else field.is_null())
        floats = []
        for field in self.schema:
            if field.name not in file_schema.names:
                continue
            if not file_schema.field(field.name).type.equals(field.type):
                return
            if pa.types.is_floating(field.type):
                floats.append(field)
            elif _has_floats(field.type):
                return
        if floats and (len(floats) > _FLOATS_MAX or self._computes()):
            return
        for are_nan in product((False, True), repeat=len(floats)):
            case = said
            for field, is_nan in zip(floats, are_nan, strict=True):
                if is_nan:
                    case = case & (pc.field(field.name) == pa.scalar(float("nan"), field.type))
            yield case

    def _computes(self) -> bool:
        """Tells whether the expression does more with values than to compare them.

        Statistics tell 0.0 and -0.0 not apart, which is the same in comparisons only.
        """
        called = set(re.findall(r"(\w+)\(", str(self.expression)))
        return not called <= _COMPARING


def _has_floats(type: pa.DataType) -> bool:
    type = getattr(type, "storage_type", type)
    if pa.types.is_dictionary(type):
        return _has_floats(type.value_type)
    nested = (type.field(index).type for index in range(type.num_fields))
    return bool(pa.types.is_floating(type)) or any(map(_has_floats, nested))


# Each float column doubles the cases.
_FLOATS_MAX = 4
_NUMBER = "__millstream_number__"
# What expressions call these functions, beside infix operators.
_COMPARING = {"invert", "is_null", "is_valid", "is_nan", "is_in", "is_inf", "is_finite"}
