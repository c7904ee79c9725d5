"""Datasets of text files: CSV, JSON, and lines.

Owns the public names of these readers and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import CsvFiles, JsonFiles, TextFiles
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    import pyarrow.csv as pa_csv
    import pyarrow.json as pa_json

    from millstream.io.addresses import Paths


@takes(files=CsvFiles, options=ReadOptions)
def read_csv(
    paths: Paths,
    *,
    read_options: pa_csv.ReadOptions | None = None,
    parse_options: pa_csv.ParseOptions | None = None,
    convert_options: pa_csv.ConvertOptions | None = None,
    files: CsvFiles,
    options: ReadOptions,
) -> Dataset:
    """The rows of CSV files.

    The types of the columns are decided when the dataset is made, by a sample: the first MiB of the
    first file, and 64 KiB of up to 16 places in all files. What differs there takes the type that
    holds both, or text. A later value that is not of its column's type is an error that names file,
    line and column; `convert_options=pyarrow.csv.ConvertOptions(column_types={...})` gives types.
    So no border of a block or file changes a value. A column without values in the sample is text.
    Integers are int64, uint64 or, if they are larger, text; a number that a float column would
    change, such as 1e400 or 9007199254740993, is an error, and so are rows with too many or too few
    cells. Times with a zone are UTC.

    An empty cell is null in every column; a quoted one, `""`, is the empty text in a column of
    text. Nothing else is null ("NA" is text) unless `null_values` says so, and then it is in every
    column, whatever `strings_can_be_null` is. Blank lines are left out, but in a file of one column
    each is a null. Columns go by their names: a file that lacks one has nulls there.

    Large files are read in parts, unless they are compressed, in another encoding than UTF-8, or
    have quoted values that go on over several lines. For these, pass
    `parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True)` if the sample shows none.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.csv"`, or a
            list of them; see `read_parquet`.
        read_options: Names of columns, what is skipped, and the encoding; `block_size` and
            `use_threads` have no effect: a block is 8 MiB or one long row, read by one thread.
        parse_options: How rows are written, for instance the delimiter.
        convert_options: How values are written, their types, and which columns are read.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing or no CSV; the error names it, and the line.
    """
    from millstream.io.formats.csv import plan_csv

    source = plan_csv(
        paths,
        files,
        read_options=read_options,
        parse_options=parse_options,
        convert_options=convert_options,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(files=JsonFiles, options=ReadOptions)
def read_json(
    paths: Paths,
    *,
    lines: bool = False,
    read_options: pa_json.ReadOptions | None = None,
    parse_options: pa_json.ParseOptions | None = None,
    files: JsonFiles,
    options: ReadOptions,
) -> Dataset:
    """The objects of JSON files: one on each line, an array of them, or one after another.

    The types of the columns are decided when the dataset is made, by a sample: the first MiB of the
    first file, and 64 KiB of up to 16 places in all files. A later key or value that does not fit
    is an error that names file, line and column;
    `parse_options=pyarrow.json.ParseOptions(explicit_schema=...)` gives types. So no border of a
    block or file changes a value. Text stays text, also where it looks like a time, so that no zone
    is lost. Integers are int64 or uint64; beside floats, they must be exact as one. A key that an
    object lacks is null. A key without values in the sample is text.

    Large files of lines are read in parts, unless they are compressed.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.json"`, or a
            list of them; see `read_parquet`.
        lines: Whether every file has an object on each line; `False`: the beginning of each file
            tells.
        read_options: Taken, but without effect: a block is 8 MiB or one long object, read by one
            thread.
        parse_options: The types of some columns, and what becomes of other keys: `"infer"`, by the
            sample; `"ignore"` or `"error"`.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing or no JSON, or its values do not go together; the error names
            it, and the line.
    """
    from millstream.io.formats.json import plan_json

    source = plan_json(
        paths,
        files,
        lines=lines,
        read_options=read_options,
        parse_options=parse_options,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)


@takes(files=TextFiles, options=ReadOptions)
def read_text(
    paths: Paths,
    *,
    encoding: str = "utf-8",
    drop_empty_lines: bool = True,
    files: TextFiles,
    options: ReadOptions,
) -> Dataset:
    r"""The lines of text files, in the column `text`.

    A line ends with `"\n"` or `"\r\n"`, which are no part of it. Other characters, such as a form
    feed or U+2028, end none, so that a line is the same for all tools; for Ray Data they do. A byte
    order mark at the beginning is no part of the text. Large files are read in parts, unless they
    are compressed or in an encoding such as UTF-16.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.txt"`, or a
            list of them; see `read_parquet`.
        encoding: Python's name of the encoding.
        drop_empty_lines: Whether lines are left out that have nothing but white space.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, or not in the encoding; the error names the line.
    """
    from millstream.io.formats.text import plan_text

    source = plan_text(
        paths,
        files,
        encoding=encoding,
        drop_empty_lines=drop_empty_lines,
        blocks=options.override_num_blocks,
    )
    return dataset_of(source, options)
