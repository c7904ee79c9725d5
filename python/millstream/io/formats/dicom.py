"""Reading DICOM files with pydicom: the pixels of their frames, and chosen tags.

Owns the plan, the format, and what becomes of the pixels; `dicom_tags` owns what becomes of tags.
Must not know what happens to the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import tensor
from millstream.errors import ArgumentError, MissingPackageError, SchemaError
from millstream.errors.checks import check_choice, check_columns, check_flag
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.dicom_tags import Tag, check_complete, tags_of
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source, blaming

if TYPE_CHECKING:
    from pydicom import FileDataset

    _Frames = Iterator[tuple[np.ndarray[Any, Any], str]]


@dataclass(frozen=True)
class DicomOptions:
    """What is read of a file; see `read_dicom`.

    Raises:
        ArgumentError: It makes no sense.
    """

    tags: Sequence[str] = ()
    include_pixels: bool = True
    frames: str = "rows"
    color: str = "rgb"
    rescale: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tags", tuple(check_columns("tags", self.tags)))
        check_flag("include_pixels", self.include_pixels)
        check_choice("frames", self.frames, ("rows", "stack"))
        check_choice("color", self.color, ("rgb", "stored"))
        check_flag("rescale", self.rescale)
        if not self.include_pixels and not self.tags:
            raise ArgumentError("include_pixels=False leaves no columns: name tags=")


def plan_dicom(
    paths: Paths, files: FileOptions, options: DicomOptions, *, blocks: int | None = None
) -> Source:
    """Plans to read DICOM files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        options: What is read of them.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: pydicom, or the decoder for the first file, is not installed.
        ReadError: A path does not exist, the first file is no DICOM, or there is nothing to read.
    """
    require_package("pydicom", "read_dicom", "pydicom", "dicom")
    format = DicomFormat(options, tuple(tags_of(options.tags)))
    listing = list_files(paths, files, reader="read_dicom", may_go_on=True)
    first = listing.files[0].path
    with blaming(first, format.problem):
        format.check(listing.filesystem, first)
    schema = None if options.include_pixels else pa.schema(format.fields())
    return plan_files(
        "ReadDICOM",
        listing,
        format,
        PathColumns(files.partitioning, files.include_paths),
        schema=schema,
        column="pixels",
        rows_each=None if options.include_pixels else 1,
        nbytes_of=lambda file: file.size,
        blocks=blocks,
    )


@dataclass(frozen=True)
class DicomFormat:
    """A file is frames of one size, and what is noted of them.

    Args:
        options: What is read.
        tags: The columns that tags become.
    """

    options: DicomOptions
    tags: tuple[Tag, ...]
    problem: str = "cannot read this DICOM file"

    def fields(self) -> list[pa.Field]:
        """The columns that tags become."""
        return [pa.field(tag.keyword, tag.type) for tag in self.tags]

    def check(self, filesystem: pa_fs.FileSystem, path: str) -> None:
        """Reads what is noted in a file, and checks that its pixels can be decoded."""
        with open_file(filesystem, path) as file:
            dataset = _noted(file)
            if self.options.include_pixels:
                _decoder(dataset, path)

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the frames in tables of bounded size."""
        with open_file(filesystem, path) as file:
            dataset = _noted(file)
            noted = [tag.value(dataset) for tag in self.tags]
            if not self.options.include_pixels:
                yield self._table({}, noted, 1)
                return
            frames = self._processed(dataset, _frames(dataset, file, path, self.options.color))
            if self.options.frames == "stack":
                arrays, kinds = zip(*frames, strict=True)
                columns = {"pixels": [np.stack(arrays)], "photometric": [kinds[0]]}
                yield self._table(columns, noted, 1)
                return
            yield from self._rows(frames, noted)

    def _rows(self, frames: _Frames, noted: list[Any]) -> Iterator[pa.Table]:
        held: list[np.ndarray[Any, Any]] = []
        kinds: list[str] = []
        start = 0
        for array, kind in frames:
            held.append(array)
            kinds.append(kind)
            if len(held) * array.nbytes >= TABLE_BYTES // 2:
                yield self._table(_columns(held, kinds, start), noted, len(held))
                start += len(held)
                held, kinds = [], []
        if held:
            yield self._table(_columns(held, kinds, start), noted, len(held))

    def _table(self, columns: dict[str, list[Any]], noted: list[Any], rows: int) -> pa.Table:
        made: dict[str, Any] = {}
        for name, values in columns.items():
            if name == "pixels":
                made[name] = tensor.from_ndarray(np.stack(values))
            else:
                made[name] = pa.array(values, _TYPES[name])
        for tag, value in zip(self.tags, noted, strict=True):
            made[tag.keyword] = pa.array([value] * rows, tag.type)
        return pa.table(made)

    def _processed(self, dataset: FileDataset, frames: _Frames) -> _Frames:
        """Gives frames the colours and the scale that were asked for."""
        from pydicom.pixels.processing import apply_color_lut, apply_modality_lut

        for number, (array, kind) in enumerate(frames):
            if kind == "PALETTE COLOR" and self.options.color == "rgb":
                yield apply_color_lut(array, dataset), "RGB"
            elif not self.options.rescale:
                yield array, kind
            elif array.ndim > _PLANE:
                raise SchemaError(
                    f"rescale=True is for pixels of one value each, and these are {kind}"
                )
            elif "ModalityLUTSequence" in dataset:
                yield apply_modality_lut(array, dataset).astype(np.float64), kind
            else:
                slope, intercept = _scale(dataset, number)
                yield array.astype(np.float64) * slope + intercept, kind


def _columns(held: list[np.ndarray[Any, Any]], kinds: list[str], start: int) -> dict[str, Any]:
    numbers = list(range(start, start + len(held)))
    return {"pixels": held, "frame": numbers, "photometric": kinds}


def _noted(file: pa.NativeFile) -> FileDataset:
    """Reads all that comes before the pixels; the file is where they begin.

    Raises:
        ValueError: It is no DICOM, or is cut off.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
    except InvalidDicomError as error:
        raise ValueError("it has no header of DICOM ('DICM' at byte 128)") from error
    if "TransferSyntaxUID" not in dataset.file_meta:
        raise ValueError("its header does not tell the transfer syntax, by which it is read")
    if not dataset.file_meta.TransferSyntaxUID.is_deflated:
        check_complete(dataset, file)
    return dataset


def _frames(dataset: FileDataset, file: pa.NativeFile, path: str, color: str) -> _Frames:
    """Decodes the frames one by one; each with what its pixels are."""
    import pydicom
    from pydicom.pixels.utils import as_pixel_options

    decoder = _decoder(dataset, path)
    syntax = dataset.file_meta.TransferSyntaxUID
    is_raw = color == "stored"
    source: Any = file
    options: dict[str, Any] = {}
    if syntax.is_deflated:
        file.seek(0)
        source = pydicom.dcmread(file)
    else:
        options = {**as_pixel_options(dataset), **_to_pixels(dataset, file)}
    declared = int(dataset.get("NumberOfFrames") or 1)
    # pydicom 3.0 fails to correct the sign of frames that it is to find by itself.
    one = [0] if declared == 1 else None
    count = 0
    frames = decoder.iter_array(source, indices=one, raw=is_raw, validate=True, **options)
    for array, told in frames:
        count += 1
        yield array, str(told["photometric_interpretation"])
    if count != declared:
        raise ValueError(f"it declares {declared} frames, and there are {count}")


def _to_pixels(dataset: FileDataset, file: pa.NativeFile) -> dict[str, Any]:
    """Goes to the first byte of the pixels; tells what pydicom needs to know of them."""
    syntax = dataset.file_meta.TransferSyntaxUID
    order: Literal["little", "big"] = "little" if syntax.is_little_endian else "big"
    header = file.read(8)
    if len(header) < 8:
        raise ValueError("there are no pixels in it; pass include_pixels=False for its tags only")
    element = int.from_bytes(header[2:4], order)
    told: dict[str, Any] = {
        "transfer_syntax_uid": syntax,
        "pixel_keyword": _PIXELS[element],
    }
    # Some files have no kinds of values where their header says that they have.
    if not syntax.is_implicit_VR and header[4:6] in _PIXEL_KINDS:
        told["pixel_vr"] = header[4:6].decode("ascii")
        header = file.read(4)
    length = int.from_bytes(header[-4:], order)
    left = file.size() - file.tell()
    if length != _UNDEFINED and length > left:
        raise ValueError(f"it is cut off: its pixels have {left} bytes and should have {length}")
    if length == _UNDEFINED:
        _check_fragments(file)
    return told


def _check_fragments(file: pa.NativeFile) -> None:
    """Refuses compressed pixels that end within a fragment, which some decoders do not mind.

    Raises:
        ValueError: They do.
    """
    first, size = file.tell(), file.size()
    place = first
    while True:
        file.seek(place)
        header = file.read(8)
        if header[:4] == _FRAGMENTS_END and len(header) == 8:
            break
        place += 8 + int.from_bytes(header[4:], "little")
        if header[:4] != _FRAGMENT or place > size:
            raise ValueError(f"its compressed pixels are cut off, or damaged before byte {place}")
    file.seek(first)


def _decoder(dataset: FileDataset, path: str) -> Any:
    """Finds what decodes the pixels.

    Raises:
        MissingPackageError: It is not installed.
        ValueError: pydicom knows of none.
    """
    from pydicom.pixels.decoders.base import get_decoder

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise ValueError(f"its pixels are {syntax.name}, which pydicom does not decode") from None
    if not decoder.is_available:
        packages = " or ".join(decoder.missing_dependencies)
        raise MissingPackageError(
            f"the pixels of {path} are {syntax.name}, for which a package is missing: {packages}"
        )
    return decoder


def _scale(dataset: FileDataset, frame: int) -> tuple[float, float]:
    """The slope and the intercept of a frame: its own, or those of all."""
    groups: list[Any] = []
    own = dataset.get("PerFrameFunctionalGroupsSequence")
    if own and frame < len(own):
        groups.append(own[frame])
    groups += dataset.get("SharedFunctionalGroupsSequence") or []
    for group in groups:
        for each in group.get("PixelValueTransformationSequence") or []:
            return float(each.RescaleSlope), float(each.RescaleIntercept)
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)


_TYPES = {"frame": pa.int64(), "photometric": pa.string()}
_PIXELS = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}
_PIXEL_KINDS = (b"OB", b"OW", b"OF", b"OD", b"UN")
_UNDEFINED = 0xFFFFFFFF
_FRAGMENT = b"\xfe\xff\x00\xe0"
_FRAGMENTS_END = b"\xfe\xff\xdd\xe0"
# A frame of one value for each pixel has two dimensions.
_PLANE = 2
