"""Datasets of files of records: TFRecord files and WebDataset archives.

Owns the public names of these readers and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import FileOptions, WebDatasetFiles
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    import pyarrow as pa

    from millstream.io.addresses import Paths
    from millstream.io.formats.webdataset import Decoder, Rename, Select


@takes(files=FileOptions, options=ReadOptions)
def read_tfrecords(
    paths: Paths,
    *,
    schema: pa.Schema | None = None,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    files: FileOptions,
    options: ReadOptions,
) -> Dataset:
    """The `tf.train.Example` records of TFRecord files, a row each, read without TensorFlow.

    A feature becomes a column of int64, float32 or bytes. Without a `schema`, the first records of
    the first file that has any (1000 of them, or 16 MiB) say for all files which features are one
    value and which are lists: one value, if each record among them that has the feature has exactly
    one. If a later record has more or none, that is an error that names it. Ray Data decides it for
    each block, so that the type of a column depends on where blocks end. A feature that appears
    only later is a list in all rows. Where a record lacks a feature, the column is null; a feature
    without values is an empty list. Without a `schema`, the columns are in the order of their
    names, since a record has no order.

    The checksums are checked. An empty file has no rows. Needs `millstream[tfrecord]`.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.tfrecord"`,
            or a list of them; see `read_parquet`.
        schema: The columns to read, in this order; all others are left out. Integers, floats, bytes
            or text, and lists of these. A value that does not fit is an error; in a column of
            single values, a feature without values is null. It takes the place of Ray Data's
            `tf_schema`, which needs TensorFlow's packages.
        arrow_open_stream_args: `compression`, as `"gzip"` (for zlib too), and `buffer_size` in
            bytes. By default the extension tells: `.gz`, `.zlib`, `.bz2`, `.zst`, `.lz4`.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: A package is not installed.
        ReadError: A file is missing, cut, damaged or of other records, or there is nothing to read.
        SchemaError: A column is in the records and in the paths.
    """
    from millstream.io.formats.tfrecords import plan_tfrecords

    source = plan_tfrecords(
        paths,
        files,
        schema=schema,
        arrow_open_stream_args=arrow_open_stream_args,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(files=WebDatasetFiles, options=ReadOptions)
def read_webdataset(
    paths: Paths,
    *,
    decoder: Decoder = True,
    fileselect: Select = None,
    filerename: Rename = None,
    suffixes: Select = None,
    verbose_open: bool = False,
    expand_json: bool = False,
    arrow_open_stream_args: Mapping[str, Any] | None = None,
    files: WebDatasetFiles,
    options: ReadOptions,
) -> Dataset:
    """The samples of WebDataset archives: a row each, with its members in columns by extension.

    The member `folder/clip.seg.png` is in the column `seg.png` of the sample whose `__key__` is
    `folder/clip`: the key ends at the first dot of the base name. A column is null where a sample
    lacks the member. The members of a sample follow each other: a key that comes again later, or
    two members for one column, are errors. Hidden members (`._clip.jpg`, `__MACOSX/…`), links, and
    names without an extension are left out, which a warning tells. Which archive a row is from,
    Ray Data's `__url__`, says `include_paths`.

    An archive must end in a block of zeros, by which one that is cut is known. Nothing is
    extracted to disk, and nothing is unpickled.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.tar"`, or a
            list of them; see `read_parquet`.
        decoder: `True`: by the last part of the extension. `txt`, `text` are text; `cls`, `cls2`
            integers; `json` what it holds; `npy` tensors; pictures (`jpg`, `png`, …) tensors, as a
            person sees them, by `millstream[image]`; `mp` MessagePack. Others stay bytes; `pkl`,
            `pickle`, `pyd`, `pt`, `pth` are an error, since to load them would run any code.
            `None`: all stay bytes. A function takes a sample (a dict with `__key__`) and returns
            one. A list of these is applied in order. `"PIL"` is no choice, since no column holds
            Pillow's objects.
        fileselect: Which members to read: a function of the name, or patterns.
        filerename: Gives members other names before they are selected and grouped: a function, or a
            list of (regular expression, replacement).
        suffixes: Which columns to read: a function of the extension, or patterns; a dot before it
            may be there. A sample that has none is a row all the same.
        verbose_open: Whether the names of archives are logged as they are opened (level INFO).
        expand_json: Whether the fields of `json` become columns too, as they are. Ray Data makes
            single values of lists of one.
        arrow_open_stream_args: `compression`, as `"gzip"`, and `buffer_size` in bytes. By default
            the extension tells.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: A package is not installed.
        ReadError: A file is missing, cut, damaged or no archive, or there is nothing to read.
        SchemaError: A column is in the samples and in the paths.
        UserCodeError: A function that was passed raises.
    """
    from millstream.io.formats.webdataset import plan_webdataset

    source = plan_webdataset(
        paths,
        files,
        decoder=decoder,
        fileselect=fileselect,
        filerename=filerename,
        suffixes=suffixes,
        verbose_open=verbose_open,
        expand_json=expand_json,
        arrow_open_stream_args=arrow_open_stream_args,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
