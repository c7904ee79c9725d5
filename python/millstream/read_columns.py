"""Datasets of files that say which columns they have: NumPy, Arrow, ORC and Avro.

Owns the public names of these readers and their arguments. The formats themselves are in
`millstream.io`, which is imported when a source is planned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millstream.dataset import Dataset, dataset_of
from millstream.io.file_options import ArrowFiles, AvroFiles, NumpyFiles, OrcFiles
from millstream.options import takes
from millstream.plan.arguments import ReadOptions

if TYPE_CHECKING:
    from millstream.io.addresses import Paths


@takes(files=NumpyFiles, options=ReadOptions)
def read_numpy(paths: Paths, *, files: NumpyFiles, options: ReadOptions) -> Dataset:
    """Arrays that NumPy stored: a row for each index of the first axis, in the column `data`.

    Rows of one dimension or more are tensors. The fields of a structured dtype are columns, and so
    are the arrays of an `.npz` file, which Ray Data leaves out by default, and which must be of one
    length. Text has no zeros at its end, as in NumPy. Times take Arrow's next finer unit; what is
    no exact one, complex numbers and long doubles are errors.

    Unlike Ray Data, nothing is ever unpickled: an array of Python objects is an error, since a file
    could run any code with it. An array in Fortran order in an `.npz` file is read into memory as a
    whole.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.npy"`, or a
            list of them; see `read_parquet`.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, empty, cut off, longer than its array, or of a dtype that
            Arrow has no type for; the error names it.
    """
    from millstream.io.formats.numpy import plan_numpy

    return dataset_of(plan_numpy(paths, files, blocks=options.override_num_blocks), options)


@takes(files=ArrowFiles, options=ReadOptions)
def read_arrow(paths: Paths, *, files: ArrowFiles, options: ReadOptions) -> Dataset:
    """The rows of Arrow IPC files (Feather V2 too) and IPC streams, read by record batch.

    Types are those of the file, but views and runs become plain types. A stream without its end
    marker was cut off, which is an error. A record batch that is compressed, or not on the local
    disk, is read into memory as a whole. Ray Data has no such reader for files.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.arrow"`, or a
            list of them; see `read_parquet`.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ReadError: A file is missing, empty, cut off or no Arrow; the error names it.
        SchemaError: A column is there twice, or holds pickled objects.
    """
    from millstream.io.formats.arrow import plan_arrow

    return dataset_of(plan_arrow(paths, files, blocks=options.override_num_blocks), options)


@takes(files=OrcFiles, options=ReadOptions)
def read_orc(paths: Paths, *, files: OrcFiles, options: ReadOptions) -> Dataset:
    """The rows of ORC files, read a few rows at a time.

    Timestamps are nanoseconds: in UTC if they are instants, else without a zone. One beyond the
    years 1677 and 2262 is an error, and so is any timestamp with a pyarrow older than 25, which
    would make another one of it.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.orc"`, or a
            list of them; see `read_parquet`.
        files: What readers of files take.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: There are timestamps, and pyarrow is older than 25.
        ReadError: A file is missing, empty, cut off or no ORC; the error names it.
        SchemaError: A column is there twice, or is a decimal of Hive 0.11.
    """
    from millstream.io.formats.orc import plan_orc

    return dataset_of(plan_orc(paths, files, blocks=options.override_num_blocks), options)


@takes(files=AvroFiles, options=ReadOptions)
def read_avro(paths: Paths, *, files: AvroFiles, options: ReadOptions) -> Dataset:
    """The records of Avro files, with the types of their schema.

    Unions with null are nullable columns; other unions, and records within themselves, are errors
    that name the field. Enums are text. Dates, times, timestamps (`timestamp-*` in UTC,
    `local-timestamp-*` without a zone), decimals and durations become Arrow's types; a UUID is text
    or bytes, as it is stored, and so is what has an unknown logical type. Needs `millstream[avro]`.

    The format cannot tell whether a file was cut off between two blocks.

    Args:
        paths: A file, a folder (searched to any depth), a pattern such as `"data/**/*.avro"`, or a
            list of them; see `read_parquet`.
        files: What readers of files take; unlike in Ray Data, only `.avro` files by default, so
            that the others in a folder are told and do no harm.
        options: What all readers take.

    Raises:
        ArgumentError: An argument makes no sense.
        ImportError: fastavro, or the package for a file's codec, is not installed.
        ReadError: A file is missing, empty, cut off or no Avro; the error names it.
        SchemaError: A field is of a type that no column has.
    """
    from millstream.io.formats.avro import plan_avro

    return dataset_of(plan_avro(paths, files, blocks=options.override_num_blocks), options)
