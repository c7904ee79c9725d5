"""Reading Avro files with fastavro.

Owns the plan, the format, and which Arrow type an Avro type becomes. Must not know what happens to
the rows.

fastavro's own conversions of logical types are not used: they round decimals that have too many
digits, and know only the years of Python. Values are read as they are stored, and Arrow is told
what they mean.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.errors import MissingPackageError, SchemaError
from millstream.errors.packages import require_package
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files, open_file
from millstream.io.formats.typed_files import TABLE_BYTES, Contents, pieces_of, plan_typed_files
from millstream.io.source import Source


def plan_avro(paths: Paths, files: FileOptions, *, blocks: int | None = None) -> Source:
    """Plans to read Avro files.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        MissingPackageError: fastavro, or what it needs for a file's codec, is not installed.
        ReadError: A path does not exist, is empty or no Avro, or there is nothing to read.
        SchemaError: A field is of a type that no column has.
    """
    require_package("fastavro", "read_avro", "fastavro", "avro")
    listing = list_files(paths, files, reader="read_avro")
    return plan_typed_files("ReadAvro", listing, AvroFormat(), files, blocks=blocks)


@dataclass(frozen=True)
class AvroFormat:
    """A file is blocks of records, which are read one after the other."""

    problem: str = "cannot read this Avro file"

    def describe(self, filesystem: pa_fs.FileSystem, path: str) -> Contents:
        """Reads the header of a file."""
        with open_file(filesystem, path) as file:
            return Contents(_Types(_Stored(file, path).schema, path).schema())

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the records of a file in tables of bounded size."""
        with open_file(filesystem, path) as file:
            stored = _Stored(file, path)
            types = _Types(stored.schema, path)
            schema, convert = types.schema(), types.converter()
            row = 0
            for records in stored.records(len(schema)):
                try:
                    table = _table([convert(each) for each in records], schema)
                except (ValueError, TypeError, OverflowError) as error:
                    last = row + len(records) - 1
                    raise ValueError(f"in the records {row} to {last}: {error}") from error
                row += len(records)
                yield from pieces_of(table)
            if not row:
                yield schema.empty_table()


class _Stored:
    """An Avro file whose records are read without the meaning of their values.

    Args:
        file: The file.
        path: Its path.

    Raises:
        MissingPackageError: Its codec needs a package that is not installed.
        ValueError: It is no Avro.
    """

    def __init__(self, file: pa.NativeFile, path: str) -> None:
        import fastavro

        self._file = file
        header = fastavro.block_reader(file)
        self.schema: Any = header.writer_schema
        _check_codec(header.codec, path)
        # The header ends with what separates the blocks.
        end = file.tell()
        file.seek(end - _SYNC_BYTES)
        sync = file.read(_SYNC_BYTES)
        plain = io.BytesIO()
        fastavro.writer(
            plain, _without_meaning(self.schema), [], codec=header.codec, sync_marker=sync
        )
        self._blocks = fastavro.block_reader(cast(IO[bytes], _Joined(plain.getvalue(), file)))

    def records(self, width: int) -> Iterator[list[Any]]:
        """Yields some records at a time.

        Args:
            width: How many columns they have.

        Raises:
            ValueError: The file is cut off or broken; says where.
        """
        records: list[Any] = []
        held = 0.0
        for block in self._checked_blocks():
            size = block.bytes_.getbuffer().nbytes
            each = size / max(1, block.num_records) + width * _VALUE_BYTES
            for record in self._checked_records(block):
                records.append(record)
                held += each
                if held >= _BATCH_BYTES:
                    yield records
                    records, held = [], 0.0
        if records:
            yield records

    def _checked_blocks(self) -> Iterator[Any]:
        end = self._file.tell()
        while True:
            try:
                block = next(self._blocks, None)
            except EOFError as error:
                raise ValueError(f"it is cut off in the block at byte {end}") from error
            except Exception as error:
                raise ValueError(f"the block at byte {end} is broken: {error}") from error
            if block is None:
                break
            self._block_at, end = end, self._file.tell()
            yield block
        # fastavro takes a file that is cut off in the first number of a block for complete.
        self._file.seek(end)
        if self._file.read(1):
            raise ValueError(f"it is cut off in the block at byte {end}")

    def _checked_records(self, block: Any) -> Iterator[Any]:
        try:
            yield from block
        except Exception as error:
            raise ValueError(
                f"the block at byte {self._block_at} is broken: {error or type(error).__name__}"
            ) from error
        if block.bytes_.read(1):
            raise ValueError(
                f"the block at byte {self._block_at} has more bytes than its "
                f"{block.num_records} records"
            )


class _Joined:
    """A header, and then what is left of a file."""

    def __init__(self, header: bytes, file: pa.NativeFile) -> None:
        self._header = io.BytesIO(header)
        self._file = file

    def read(self, size: int) -> bytes:
        """Reads some bytes, none of them from both."""
        data: bytes = self._header.read(size) or self._file.read(size)
        return data

    def tell(self) -> int:
        """The position in the file."""
        position: int = self._file.tell()
        return position


_Convert = Callable[[Any], Any]


class _Types:
    """The Arrow types of an Avro schema.

    Args:
        schema: As fastavro parsed it.
        path: The file, for errors.
    """

    def __init__(self, schema: Any, path: str) -> None:
        self._record = schema
        self._path = path
        self._named: dict[str, Any] = {}
        self._open: list[str] = []
        if not isinstance(schema, dict) or schema["type"] not in _RECORDS:
            raise SchemaError("its values are no records, so that there are no columns", file=path)
        self._fields, self._convert = self._struct(schema, "")

    def schema(self) -> pa.Schema:
        """The columns; each may be null, as files of another schema may lack it."""
        return pa.schema([field.with_nullable(True) for field in self._fields])

    def converter(self) -> _Convert:
        """Makes what Arrow takes of a record as it is stored."""
        return self._convert or _same

    def _field(self, name: str, avro: Any, place: str) -> tuple[pa.Field, _Convert | None]:
        is_nullable = avro == "null"
        if isinstance(avro, list):
            is_nullable = "null" in avro
            others = [each for each in avro if each != "null"]
            if len(others) > 1:
                raise self._refusal(place, f"is a union of {len(others)} types")
            avro = others[0] if others else "null"
        type, convert = self._type(avro, place)
        return pa.field(name, type, is_nullable), convert and _unless_none(convert)

    def _type(self, avro: Any, place: str) -> tuple[pa.DataType, _Convert | None]:
        if isinstance(avro, str):
            return (_PRIMITIVE[avro], None) if avro in _PRIMITIVE else self._again(avro, place)
        kind = avro["type"]
        if not isinstance(kind, str):
            return self._type(kind, place)
        self._named[avro.get("name", "")] = avro
        logical = avro.get("logicalType")
        if (kind, logical) in _LOGICAL:
            return _LOGICAL[kind, logical], None
        if logical == "decimal" and kind in ("bytes", "fixed"):
            return self._decimal(avro, place)
        if logical == "duration" and kind == "fixed" and avro["size"] == _DURATION_BYTES:
            return pa.month_day_nano_interval(), _duration
        return self._nested(kind, avro, place)

    def _nested(self, kind: str, avro: Any, place: str) -> tuple[pa.DataType, _Convert | None]:
        if kind in _RECORDS:
            fields, convert = self._struct(avro, place)
            return pa.struct(fields), convert
        if kind == "array":
            item, convert = self._field("item", avro["items"], f"{place}[]")
            return pa.list_(item), convert and _each(convert)
        if kind == "map":
            value, convert = self._field("value", avro["values"], f"{place}{{}}")
            return pa.map_(pa.string(), value), convert and _each_value(convert)
        if kind == "fixed":
            return pa.binary(avro["size"]), None
        return _PRIMITIVE[kind], None

    def _struct(self, avro: Any, place: str) -> tuple[list[pa.Field], _Convert | None]:
        name = avro.get("name", "")
        self._named[name] = avro
        self._open.append(name)
        fields, converts = [], {}
        for each in avro["fields"]:
            inner = f"{place}.{each['name']}" if place else each["name"]
            field, convert = self._field(each["name"], each["type"], inner)
            fields.append(field)
            if convert is not None:
                converts[field.name] = convert
        self._open.pop()
        return fields, _record(converts) if converts else None

    def _again(self, name: str, place: str) -> tuple[pa.DataType, _Convert | None]:
        if name in self._open:
            raise self._refusal(place, f"is a {name!r} within itself")
        return self._type(self._named[name], place)

    def _decimal(self, avro: Any, place: str) -> tuple[pa.DataType, _Convert]:
        precision, scale = avro.get("precision", 0), avro.get("scale", 0)
        if not 0 < precision <= _DIGITS_MAX or not 0 <= scale <= precision:
            problem = f"is a decimal of {precision} digits, {scale} after the point"
            raise self._refusal(place, f"{problem}; at most {_DIGITS_MAX} are read")
        is_short = precision <= _SHORT_DIGITS_MAX
        make = pa.decimal128 if is_short else pa.decimal256
        return make(precision, scale), _decimal(scale)

    def _refusal(self, place: str, problem: str) -> SchemaError:
        return SchemaError(f"field {place!r} {problem}, which no column has", file=self._path)


def _check_codec(codec: str, path: str) -> None:
    """Checks that blocks can be uncompressed, before one is read.

    Raises:
        MissingPackageError: Names the package.
        ValueError: There is no such codec.
    """
    import fastavro

    probe = {"type": "record", "name": "probe", "fields": []}
    try:
        fastavro.writer(io.BytesIO(), probe, [{}], codec=codec)
    except ValueError as error:
        if "install" not in str(error):
            raise
        raise MissingPackageError(f"{path} cannot be read: {error}") from error


def _without_meaning(avro: Any) -> Any:
    """Returns a schema without its logical types."""
    if isinstance(avro, list):
        return [_without_meaning(each) for each in avro]
    if not isinstance(avro, dict):
        return avro
    kept = {}
    for key, value in avro.items():
        if key == "fields":
            kept[key] = [{"name": f["name"], "type": _without_meaning(f["type"])} for f in value]
        elif key in ("type", "items", "values"):
            kept[key] = _without_meaning(value)
        elif key in ("name", "symbols", "size"):
            kept[key] = value
    return kept


def _table(records: list[Any], schema: pa.Schema) -> pa.Table:
    array = pa.array(records, pa.struct(list(schema)))
    array.validate(full=True)
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(array)], schema)


def _same(value: Any) -> Any:
    return value


def _unless_none(convert: _Convert) -> _Convert:
    return lambda value: None if value is None else convert(value)


def _each(convert: _Convert) -> _Convert:
    return lambda values: [convert(value) for value in values]


def _each_value(convert: _Convert) -> _Convert:
    return lambda values: {key: convert(value) for key, value in values.items()}


def _record(converts: Mapping[str, _Convert]) -> _Convert:
    def convert(record: dict[str, Any]) -> dict[str, Any]:
        for name, each in converts.items():
            record[name] = each(record[name])
        return record

    return convert


def _decimal(scale: int) -> _Convert:
    def convert(value: bytes) -> Decimal:
        whole = Decimal(int.from_bytes(value, "big", signed=True))
        return whole.scaleb(-scale, _EXACT)

    return convert


def _duration(value: bytes) -> pa.MonthDayNano:
    numbers = (int.from_bytes(value[at : at + 4], "little") for at in (0, 4, 8))
    months, days, milliseconds = numbers
    return pa.MonthDayNano([months, days, milliseconds * 1_000_000])


_SYNC_BYTES = 16
_RECORDS = ("record", "error")
_PRIMITIVE = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_UNITS = {"millis": "ms", "micros": "us", "nanos": "ns"}
# Arrow takes the numbers of these as they are stored.
_LOGICAL = {
    ("int", "date"): pa.date32(),
    ("int", "time-millis"): pa.time32("ms"),
    ("long", "time-micros"): pa.time64("us"),
    **{("long", f"timestamp-{name}"): pa.timestamp(u, "UTC") for name, u in _UNITS.items()},
    **{("long", f"local-timestamp-{name}"): pa.timestamp(u) for name, u in _UNITS.items()},
}
_DURATION_BYTES = 12
_SHORT_DIGITS_MAX = 38
_DIGITS_MAX = 76
_EXACT = Context(prec=1000)
# Values of Python take several times as much memory as those in the file.
_BATCH_BYTES = TABLE_BYTES // 4
_VALUE_BYTES = 8
