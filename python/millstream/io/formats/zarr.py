"""Reading Zarr stores, of the versions 2 and 3, with zarr.

Owns the plan: which arrays are read, and what is a row and a unit. `zarr_units` owns how units
read, `zarr_arrays` how parts of arrays are, `zarr_store` where the bytes come from. Must not know
what happens to the rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import pyarrow.fs as pa_fs

from millstream.errors import ArgumentError, ReadError, SchemaError
from millstream.errors.checks import check_choice, check_columns, check_count, check_flag, require
from millstream.errors.packages import require_package
from millstream.io.addresses import Path, is_of_one_process, resolve
from millstream.io.formats.zarr_arrays import Grid, StoredArrays
from millstream.io.formats.zarr_units import (
    AlignedUnit,
    ChunkUnit,
    IndexUnit,
    Several,
    ZarrUnit,
)
from millstream.io.source import Source, blaming, group_by_weight, shares_of, split_rows

if TYPE_CHECKING:
    import zarr

#: Tells a chunk shape, or only its first lengths; by array, or for all.
ChunkShapes = Mapping[str, Sequence[int]] | Sequence[int] | None


@dataclass(frozen=True)
class ZarrOptions:
    """How a store is read; see `read_zarr`.

    Raises:
        ArgumentError: It makes no sense.
    """

    array_paths: Sequence[str] | None = None
    chunk_shapes: ChunkShapes = None
    allow_full_metadata_scan: bool = False
    align_axis_0: bool = False
    overlap: int = 0
    rows: str = "chunks"
    missing_chunks: str = "fill"

    def __post_init__(self) -> None:
        if self.array_paths is not None:
            check_columns("array_paths", self.array_paths)
            require(bool(self.array_paths), "array_paths", self.array_paths, _SOME_NAMES)
        shapes = self.chunk_shapes
        given = list(shapes.values()) if isinstance(shapes, Mapping) else [shapes]
        is_right = shapes is None or all(map(_is_shape, given))
        require(is_right, "chunk_shapes", shapes, _SHAPES_WANTED)
        check_flag("allow_full_metadata_scan", self.allow_full_metadata_scan)
        check_flag("align_axis_0", self.align_axis_0)
        check_count("overlap", self.overlap, least=0, optional=False)
        check_choice("rows", self.rows, ("chunks", "indices"))
        check_choice("missing_chunks", self.missing_chunks, ("fill", "error"))
        if self.overlap and not self.align_axis_0:
            raise ArgumentError(f"overlap={self.overlap!r} goes with align_axis_0=True only")
        if self.rows == "indices" and (self.align_axis_0 or shapes is not None):
            raise ArgumentError(
                "rows='indices' reads a row for each index, so it takes neither align_axis_0 nor "
                "chunk_shapes"
            )

    @property
    def names(self) -> list[str] | None:
        """The arrays that were asked for."""
        return None if self.array_paths is None else check_columns("array_paths", self.array_paths)


def plan_zarr(
    path: Path, options: ZarrOptions, *, filesystem: Any = None, blocks: int | None = None
) -> Source:
    """Plans to read a Zarr store.

    Args:
        path: The folder that is the store.
        options: What is read, and as what rows.
        filesystem: From `pyarrow.fs` or fsspec; by default the path tells.
        blocks: Exactly so many units, as far as there are rows.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: zarr is not installed.
        ReadError: There is no such store, or it cannot be read.
        SchemaError: An array does not exist, or its values cannot be read so.
    """
    check_count("override_num_blocks", blocks)
    require_package("zarr", "read_zarr", "zarr", "zarr")
    found, (root,) = resolve([path], filesystem)
    if found.get_file_info(root).type != pa_fs.FileType.Directory:
        raise ReadError("there is no such folder, so it is no Zarr store", file=root)
    store = StoredArrays(found, root, options.missing_chunks == "error")
    with blaming(root, "cannot read this Zarr store"):
        try:
            units, rows = _units(store, _grids(store, options), options)
        except SchemaError as error:
            error.file = error.file or root
            raise
        units = _divided(units, blocks)
        schema = _schema(store, units)
    one_process = is_of_one_process(found)
    return Source("ReadZarr", units, schema, rows, [root], is_of_one_process=one_process)


def _schema(store: StoredArrays, units: Sequence[ZarrUnit]) -> Any:
    """The columns, if all units have the same."""
    with store.opened() as opened:
        found = [schema for unit in units for schema in unit.schemas(opened)]
    same = found and found[0] is not None and all(found[0] == each for each in found[1:])
    return found[0] if same else None


def _grids(store: StoredArrays, options: ZarrOptions) -> list[Grid]:
    """The arrays to read, and the chunks in which they come.

    Raises:
        SchemaError: There are none, or one cannot be read.
    """
    with store.opened() as opened:
        arrays = _arrays(opened, options)
        shapes = options.chunk_shapes
        if isinstance(shapes, Mapping) and (unknown := set(shapes) - set(arrays)):
            names = ", ".join(map(repr, sorted(unknown)))
            raise SchemaError(f"chunk_shapes names {names}; the arrays are {_listed(arrays)}")
        return [_grid(name, array, shapes) for name, array in arrays.items()]


def _arrays(store: Any, options: ZarrOptions) -> dict[str, zarr.Array[Any]]:
    """Opens the arrays that are to be read."""
    import zarr

    if options.names is not None:
        return {name: _array(store, name) for name in options.names}
    try:
        root = zarr.open(store, mode="r")
    except FileNotFoundError:
        raise ReadError("there is neither an array nor a group of Zarr in this folder") from None
    if isinstance(root, zarr.Array):
        return {"": root}
    if root.metadata.consolidated_metadata is None and not options.allow_full_metadata_scan:
        raise SchemaError(
            "this store has no consolidated metadata that would tell its arrays: name them with "
            "array_paths, or look for them with allow_full_metadata_scan=True, which asks for each "
            "folder of the store"
        )
    found = {
        name: each for name, each in root.members(max_depth=None) if isinstance(each, zarr.Array)
    }
    if not found:
        raise SchemaError("there are no arrays in this store")
    return dict(sorted(found.items()))


def _array(store: Any, name: str) -> zarr.Array[Any]:
    import zarr

    try:
        return zarr.open_array(store, path=name.strip("/"), mode="r")
    except FileNotFoundError:
        raise SchemaError(f"there is no array {name!r} in this store") from None


def _grid(name: str, array: zarr.Array[Any], shapes: ChunkShapes) -> Grid:
    if not array.shape:
        raise SchemaError(
            f"the array {name!r} is a single value, which is no row; name others with array_paths"
        )
    native = tuple(array.chunks)
    given = shapes.get(name, ()) if isinstance(shapes, Mapping) else shapes or ()
    if len(given) > len(native):
        raise ArgumentError(
            f"chunk_shapes={shapes!r} has {len(given)} lengths, and the array {name!r} has "
            f"{len(native)} dimensions"
        )
    chunks = (*given, *native[len(given) :])
    return Grid(name, tuple(array.shape), tuple(max(1, each) for each in chunks), array.dtype)


def _units(
    store: StoredArrays, grids: Sequence[Grid], options: ZarrOptions
) -> tuple[list[ZarrUnit], int]:
    """A unit for each array, or one for all where they are beside each other; and all rows."""
    if options.rows == "chunks" and not options.align_axis_0:
        for grid in grids:
            grid.check_numbers()
        units: list[ZarrUnit] = [ChunkUnit(store, grid, 0, grid.count) for grid in grids]
        return units, sum(grid.count for grid in grids)
    _check_same("lengths of the first axis", {grid.name: grid.shape[0] for grid in grids})
    length = grids[0].shape[0]
    if options.rows == "indices":
        for grid in grids:
            grid.check_values()
        return [IndexUnit(store, tuple(grids), 0, length)], length
    for grid in grids:
        grid.check_numbers()
        if grid.name in ("t_start", "t_stop"):
            raise SchemaError(f"the array {grid.name!r} has the name of another column")
    _check_same("chunks along the first axis", {grid.name: grid.chunks[0] for grid in grids})
    count = math.ceil(length / grids[0].chunks[0])
    return [AlignedUnit(store, tuple(grids), options.overlap, 0, count)], count


def _check_same(what: str, found: Mapping[str, int]) -> None:
    if len(set(found.values())) > 1:
        told = ", ".join(f"{name!r} has {number}" for name, number in found.items())
        raise SchemaError(
            f"the arrays have different {what} ({told}); choose with array_paths"
            + (", or pass chunk_shapes" if "chunks" in what else "")
        )


def _divided(units: Sequence[ZarrUnit], blocks: int | None) -> list[ZarrUnit]:
    """Cuts units into smaller ones, or puts them together, until there are as many as wanted."""
    if blocks is not None and blocks < len(units):
        ranges = group_by_weight([unit.nbytes for unit in units], blocks)
        return [Several(tuple(units[start:stop])) for start, stop in ranges]
    if blocks is None:
        shares = [-(-unit.nbytes // UNIT_BYTES) for unit in units]
    else:
        shares = shares_of([unit.stop for unit in units], blocks)
    parts: list[ZarrUnit] = []
    for unit, share in zip(units, shares, strict=True):
        # Indices of one chunk are read together.
        step = unit.step if blocks is None else 1
        for start, stop in split_rows(-(-unit.stop // step), share):
            parts.append(
                replace(cast(Any, unit), start=start * step, stop=min(unit.stop, stop * step))
            )
    return parts


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names))


def _is_shape(shape: Any) -> bool:
    is_list = isinstance(shape, Sequence) and not isinstance(shape, (str, bytes)) and bool(shape)
    return is_list and all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in shape)


#: About how many bytes of values one task reads.
UNIT_BYTES = 128 << 20
_SOME_NAMES = "at least one name, or None"
_SHAPES_WANTED = "a list of lengths above 0, a dict of such lists by array, or None"
