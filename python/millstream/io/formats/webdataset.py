"""Reading WebDataset archives: tar files whose members are samples, one row a sample.

Owns the plan and the format of WebDataset files: which members are a sample, and what columns they
become. Must not know how archives are stored, nor what members hold.

A member `folder/clip.seg.png` is the column `seg.png` of the sample `folder/clip`: the key ends at
the first dot of the base name. What has no key is left out and told. The members of a sample follow
each other; a key that comes again is an error, since it would be in two rows.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs

from millstream.blocks import columns
from millstream.errors import ReadError, SchemaError, UserCodeError
from millstream.errors.checks import check_flag, is_sequence, require
from millstream.io.addresses import Paths
from millstream.io.file_options import FileOptions
from millstream.io.files import list_files
from millstream.io.formats import webdataset_decoders
from millstream.io.formats.compressed import StreamOptions
from millstream.io.formats.tar_members import Member, iter_members
from millstream.io.per_file import PathColumns, plan_files
from millstream.io.source import Source

Sample = dict[str, Any]
Decoder = bool | Callable[[Sample], Sample] | Sequence[Any] | None
Select = Callable[[str], bool] | Sequence[str] | None
Rename = Callable[[str], str] | Sequence[Any] | None

#: The column of the keys, whose name no extension can have.
KEY = "__key__"


def plan_webdataset(
    paths: Paths,
    files: FileOptions,
    *,
    decoder: Decoder = True,
    fileselect: Select = None,
    filerename: Rename = None,
    suffixes: Select = None,
    verbose_open: bool = False,
    expand_json: bool = False,
    arrow_open_stream_args: Any = None,
    blocks: int | None = None,
) -> Source:
    """Plans to read the samples of WebDataset archives, one row each.

    Args:
        paths: Files or folders, as for `list_files`.
        files: Which files, and the columns that their paths give.
        decoder: See `read_webdataset`.
        fileselect: See `read_webdataset`.
        filerename: See `read_webdataset`.
        suffixes: See `read_webdataset`.
        verbose_open: See `read_webdataset`.
        expand_json: See `read_webdataset`.
        arrow_open_stream_args: See `read_webdataset`.
        blocks: Exactly so many units, as far as there are files.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A path does not exist, is empty, or there is nothing to read.
        SchemaError: A column comes from the paths and from the keys.
    """
    opening = StreamOptions.of(arrow_open_stream_args)
    check_flag("verbose_open", verbose_open)
    check_flag("expand_json", expand_json)
    decoders = _checked_decoders(decoder)
    choice = Choice(
        _checked_select("fileselect", fileselect),
        _checked_rename(filerename),
        _checked_select("suffixes", suffixes),
    )
    listing = list_files(paths, files, reader="read_webdataset")
    for file in listing.files:
        if file.size == 0:
            raise ReadError("this file is empty (0 bytes), so it is no archive", file=file.path)
    added = PathColumns(files.partitioning, files.include_paths).settled(listing.paths)
    reserved = frozenset(each.name for each in added.fields(listing.paths, []))
    growth = _DECODED_GROWTH if decoders else 1
    return plan_files(
        "ReadWebDataset",
        listing,
        WebDatasetFormat(decoders, choice, expand_json, verbose_open, reserved, opening),
        added,
        schema=None,
        column=KEY,
        rows=None,
        nbytes_of=lambda file: opening.nbytes_of(file.path, file.size) * growth,
        blocks=blocks,
    )


@dataclass(frozen=True)
class Choice:
    """Which members are read, and as what.

    Args:
        fileselect: Whether a member is read, by its name.
        filerename: Gives a member its name.
        suffixes: Whether a member is read, by its extension.
    """

    fileselect: Select = None
    filerename: Rename = None
    suffixes: Select = None

    def name_of(self, name: str) -> str:
        """Returns what a member is called here."""
        if callable(self.filerename):
            renamed = self.filerename(name)
            if not isinstance(renamed, str):
                raise TypeError(f"it made {renamed!r} of {name!r}, which is no name")
            return renamed
        for pattern, replacement in self.filerename or ():
            name = re.sub(pattern, replacement, name)
        return name

    def has_file(self, name: str) -> bool:
        """Whether a member is read."""
        return _accepts(self.fileselect, name, name)

    def has_suffix(self, suffix: str) -> bool:
        """Whether a member of this extension is read."""
        return _accepts(self.suffixes, suffix, f".{suffix}")


@dataclass(frozen=True)
class WebDatasetFormat:
    """A sample is one row.

    Args:
        decoders: What is done to each sample; `True`: decoding by extensions.
        choice: Which members are read.
        expand_json: Whether the fields of "json" become columns.
        is_verbose: Whether it is logged which file is opened.
        reserved: Columns that the paths give.
        opening: How files are opened.
    """

    decoders: tuple[Any, ...]
    choice: Choice
    expand_json: bool
    is_verbose: bool
    reserved: frozenset[str]
    opening: StreamOptions
    problem: str = "cannot read this WebDataset archive"

    def read(self, filesystem: pa_fs.FileSystem, path: str) -> Iterator[pa.Table]:
        """Yields the samples in order, in tables of about `TABLE_BYTES`."""
        if self.is_verbose:
            _log.info("read_webdataset opens %s", path)
        told = _Told(path)
        rows: list[Sample] = []
        nbytes = 0
        with self.opening.open(filesystem, path) as stream:
            for sample in self._samples(iter_members(stream, path), path, told):
                row = self._decoded(sample, path, told)
                rows.append(row)
                nbytes += sum(map(_nbytes, row.values()))
                if nbytes >= TABLE_BYTES or len(rows) >= _ROWS_MAX:
                    yield _table(rows, path)
                    rows, nbytes = [], 0
        if rows:
            yield _table(rows, path)
        told.tell()

    def _samples(self, members: Iterator[Member], path: str, told: _Told) -> Iterator[Sample]:
        """Yields the bytes of the members of each sample by extension, with its key."""
        sample: Sample = {}
        # It grows with the archive, by less than a tenth of what a sample takes in it.
        keys: set[str] = set()
        for member in members:
            found = self._key_and_suffix(member, path, told)
            if found is None:
                continue
            name, key, suffix = found
            if key != sample.get(KEY):
                if sample:
                    yield sample
                if key in keys:
                    raise ReadError(_AGAIN.format(key, name, member.offset), file=path)
                keys.add(key)
                sample = {KEY: key}
            if not _called(self.choice.has_suffix, "suffixes", path, suffix):
                continue
            if suffix in sample:
                raise ReadError(_TWICE.format(key, suffix, name, member.offset), file=path)
            sample[suffix] = member.data()
        if sample:
            yield sample

    def _key_and_suffix(
        self, member: Member, path: str, told: _Told
    ) -> tuple[str, str, str] | None:
        """Returns the name of a member, the key of its sample, and its extension."""
        if not member.is_file:
            if member.is_link:
                told.leave_out("links", member.name)
            return None
        name: str = _called(self.choice.name_of, "filerename", path, member.name)
        if not _called(self.choice.has_file, "fileselect", path, name):
            return None
        folder, slash, base = name.rpartition("/")
        stem, _, suffix = base.partition(".")
        if not stem or _MACOS in f"/{folder}/":
            told.leave_out("hidden", name)
        elif not suffix:
            told.leave_out("without an extension", name)
        else:
            return name, f"{folder}{slash}{stem}", suffix
        return None

    def _decoded(self, sample: Sample, path: str, told: _Told) -> Sample:
        key = sample[KEY]
        for decoder in self.decoders:
            if decoder is True:
                sample = {
                    name: _by_extension(name, value, key, path, told)
                    for name, value in sample.items()
                }
            else:
                sample = _called(decoder, "decoder", path, sample)
                if not isinstance(sample, dict) or not all(isinstance(n, str) for n in sample):
                    raise UserCodeError(
                        f"the decoder made {type(sample).__name__} of the sample {key!r}, and not "
                        "a dict of values by name",
                        file=path,
                    )
        if self.expand_json and sample.get("json") is not None:
            sample = sample | self._fields_of_json(sample, key, path)
        taken = self.reserved & sample.keys()
        if taken:
            raise SchemaError(_ALSO_IN_PATH.format(min(taken), key), file=path)
        return sample

    def _fields_of_json(self, sample: Sample, key: str, path: str) -> Sample:
        fields = sample["json"]
        if isinstance(fields, (bytes, str)):
            fields = _blamed(webdataset_decoders.json_of, fields, "json", key, path)
        if not isinstance(fields, dict):
            raise ReadError(
                f"'json' of the sample {key!r} is no object, whose fields could be columns",
                file=path,
            )
        both = sorted(fields.keys() & sample.keys())
        if both:
            raise ReadError(
                f"'json' of the sample {key!r} has a field {both[0]!r}, a column that is there "
                "already; read it with expand_json=False",
                file=path,
            )
        return fields


@dataclass
class _Told:
    """What of an archive does not become rows: counted, and told once.

    Args:
        path: The archive.
        counts: How many members are left out, by the reason.
        examples: One for each reason.
        has_more: Extensions of pictures of which only the first page was read.
    """

    path: str
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    has_more: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, name: str) -> None:
        """Counts a member."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, name)

    def tell(self) -> None:
        """Logs what was counted."""
        if self.counts:
            parts = [
                f"{count} {reason}, such as {self.examples[reason]!r}"
                for reason, count in self.counts.items()
            ]
            _log.warning(
                "read_webdataset leaves out members of %s: %s", self.path, "; ".join(parts)
            )
        if self.has_more:
            _log.warning(
                "read_webdataset reads the first of several pages or frames of %d pictures in %s",
                len(self.has_more),
                self.path,
            )


def _by_extension(name: str, value: Any, key: str, path: str, told: _Told) -> Any:
    if name == KEY or not isinstance(value, bytes):
        return value

    def decode(data: bytes) -> Any:
        return webdataset_decoders.decode(name, data, told.has_more)

    return _blamed(decode, value, name, key, path)


def _blamed(decode: Callable[[Any], Any], data: Any, name: str, key: str, path: str) -> Any:
    try:
        return decode(data)
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        raise ReadError(
            f"cannot decode {name!r} of the sample {key!r}: {error}", file=path
        ) from error


def _called(function: Callable[[Any], Any], name: str, path: str, value: Any) -> Any:
    """Calls what the user passed as an argument of this name."""
    try:
        return function(value)
    except Exception as error:
        of = value.get(KEY) if isinstance(value, dict) else value
        raise UserCodeError(
            f"{name} failed on {of!r}: {type(error).__name__}: {error}", file=path
        ) from error


def _accepts(select: Select, *texts: str) -> bool:
    if select is None:
        return True
    if callable(select):
        return bool(select(texts[0]))
    return any(fnmatchcase(text, pattern) for pattern in select for text in texts)


def _table(rows: list[Sample], path: str) -> pa.Table:
    """Makes a table of samples; what one of them lacks is null in it."""
    made: dict[str, Any] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        try:
            made[name] = columns.from_values([row.get(name) for row in rows])
        except (TypeError, ValueError, pa.ArrowException) as error:
            first, last = rows[0].get(KEY), rows[-1].get(KEY)
            raise ReadError(
                f"the column {name!r} of the samples {first!r} (row 0) to {last!r} {error}",
                file=path,
            ) from error
    return pa.table(made)


def _nbytes(value: Any) -> int:
    """About how many bytes a value takes."""
    if isinstance(value, (bytes, str)):
        return len(value)
    if isinstance(value, dict):
        return sum(_nbytes(name) + _nbytes(each) for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return 8 * len(value) + sum(map(_nbytes, value))
    return int(getattr(value, "nbytes", 8))


def _checked_decoders(decoder: Any) -> tuple[Any, ...]:
    if decoder is None or decoder is False:
        return ()
    listed = tuple(decoder) if isinstance(decoder, (list, tuple)) else (decoder,)
    is_right = all(each is True or callable(each) for each in listed)
    wanted = (
        "True, a function of a sample, a list of these, or None; pictures come as arrays, not as "
        "objects of Pillow, which no column holds"
    )
    require(is_right, "decoder", decoder, wanted)
    return listed


def _checked_select(name: str, select: Any) -> Select:
    is_list = is_sequence(select) and not isinstance(select, bytes)
    is_right = is_list and all(isinstance(pattern, str) for pattern in select)
    wanted = "a function of a name, a list of patterns such as '*.jpg', or None"
    require(select is None or callable(select) or is_right, name, select, wanted)
    chosen: Select = select if select is None or callable(select) else tuple(select)
    return chosen


def _checked_rename(rename: Any) -> Rename:
    if rename is None or callable(rename):
        chosen: Rename = rename
        return chosen
    pairs: list[Any] = list(rename) if is_sequence(rename) else [None]
    is_right = all(
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and all(isinstance(text, str) for text in pair)
        and _is_pattern(pair[0])
        for pair in pairs
    )
    wanted = "a function of a name, a list of (regular expression, replacement), or None"
    require(is_right, "filerename", rename, wanted)
    return tuple((pattern, replacement) for pattern, replacement in pairs)


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


#: About how many bytes a table of samples has; a larger sample is a table by itself.
TABLE_BYTES = 32 << 20
# More rows are many Python objects, however small they are.
_ROWS_MAX = 16_384
# Pictures grow by more, sound and text by less.
_DECODED_GROWTH = 4
_MACOS = "/__MACOSX/"
_AGAIN = (
    "the members of the sample {!r} do not follow each other: {!r} at byte {} comes after those of "
    "other samples; write the archive in the order of the names, as `tar --sort=name` does"
)
_TWICE = "the sample {!r} has two members for the column {!r}; the second is {!r} at byte {}"
_ALSO_IN_PATH = "the column {!r} is in the sample {!r} and in the paths; leave one of them out"
_log = logging.getLogger(__name__)
