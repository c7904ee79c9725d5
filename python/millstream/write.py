"""Where the rows of a dataset go: files.

Owns the public names of the sinks and their arguments. The formats themselves are in
`millstream.io.formats`, which is imported when something is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from millstream.blocks.transforms import SelectColumns
from millstream.errors.checks import check_choice, check_flag, require
from millstream.io.sink_options import SinkOptions
from millstream.options import takes
from millstream.plan.arguments import SinkTasks
from millstream.plan.columns import select_schema
from millstream.plan.logical import Map
from millstream.writing import FileWriting

if TYPE_CHECKING:
    from millstream.io.custom import Datasink


class Writing(FileWriting):
    """The part of a dataset that runs it and writes what comes out."""

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_parquet_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        options: SinkOptions,
        tasks: SinkTasks,
        **arrow_parquet_args: Any,
    ) -> None:
        """Runs the dataset and writes its rows as Parquet files into a folder.

        Files appear when all of them are written: a run that fails leaves nothing behind, and what
        was there before is still there.

        Args:
            path: The folder. A relative one is that of the caller.
            arrow_parquet_args_fn: Gives further `arrow_parquet_args`, called in the workers.
            options: What all writers of files take.
            tasks: How they run.
            **arrow_parquet_args: For `pyarrow.parquet.ParquetWriter`, and `row_group_size`.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A partition column does not exist, or a column has types that no common
                type holds: all files get one schema, so that they are one dataset for any reader.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.parquet.writer import plan_write_parquet

        planned = plan_write_parquet(
            path,
            options,
            arrow_parquet_args_fn=arrow_parquet_args_fn,
            is_divided=self._is_divided(),
            **arrow_parquet_args,
        )
        self._write_files(*planned, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_csv(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_csv_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        options: SinkOptions,
        tasks: SinkTasks,
        **arrow_csv_args: Any,
    ) -> None:
        """Runs the dataset and writes its rows as CSV files into a folder, all with one header.

        A null is an empty cell, empty text is `""`. Files appear when all of them are written.

        Args:
            path: The folder. A relative one is that of the caller.
            arrow_csv_args_fn: Gives further `arrow_csv_args`, called in the workers.
            options: What all writers of files take.
            tasks: How they run.
            **arrow_csv_args: For `pyarrow.csv.CSVWriter`: `write_options`.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: CSV cannot hold a column, such as lists or tensors; or as `write_parquet`.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.csv_writer import plan_write_csv

        planned = plan_write_csv(
            path,
            options,
            arrow_csv_args_fn=arrow_csv_args_fn,
            is_divided=self._is_divided(),
            **arrow_csv_args,
        )
        self._write_files(*planned, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_json(
        self, path: str | os.PathLike[str], *, options: SinkOptions, tasks: SinkTasks
    ) -> None:
        """Runs the dataset and writes its rows as JSON lines into a folder, an object each.

        Times, dates and decimals become text, tensors become lists; numbers keep all their digits.
        Files appear when all of them are written.

        Args:
            path: The folder. A relative one is that of the caller.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: JSON cannot hold a column, such as bytes, or a value: it has neither NaN
                nor infinity; or as `write_parquet`.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.json_writer import JsonFormat

        self._write_as(JsonFormat(), path, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_numpy(
        self, path: str | os.PathLike[str], *, column: str, options: SinkOptions, tasks: SinkTasks
    ) -> None:
        """Runs the dataset and writes one column as `.npy` files into a folder.

        Files appear when all of them are written.

        Args:
            path: The folder. A relative one is that of the caller.
            column: The column: numbers, booleans, times, or tensors of one shape.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: The column does not exist, has nulls, or is none of these.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.numpy_writer import NumpyFormat

        wanted = [column, *options.partitions]
        columns = partial(select_schema, columns=wanted)
        first = Map(SelectColumns(tuple(wanted)), tasks.shape(), columns=columns)
        self._write_as(NumpyFormat(column), path, options, tasks, first=first)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_arrow(
        self,
        path: str | os.PathLike[str],
        *,
        compression: str | None = None,
        options: SinkOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes its rows as Arrow IPC (Feather) files into a folder.

        All types are kept. Files appear when all of them are written.

        Args:
            path: The folder. A relative one is that of the caller.
            compression: That of the buffers: `"lz4"`, `"zstd"`, or none.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: As `write_parquet`.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.arrow_writer import ArrowFormat

        if compression is not None:
            check_choice("compression", compression, ("lz4", "zstd"))
        self._write_as(ArrowFormat(compression), path, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_orc(
        self,
        path: str | os.PathLike[str],
        *,
        options: SinkOptions,
        tasks: SinkTasks,
        **arrow_orc_args: Any,
    ) -> None:
        """Runs the dataset and writes its rows as ORC files into a folder.

        Files appear when all of them are written.

        Args:
            path: The folder. A relative one is that of the caller.
            options: What all writers of files take.
            tasks: How they run.
            **arrow_orc_args: For `pyarrow.orc.ORCWriter`, such as `compression`.

        Raises:
            ArgumentError: An argument makes no sense.
            SchemaError: A column would not come back as it was: ORC has no unsigned integers, no
                zones, no units but nanoseconds, no tensors; or as `write_parquet`.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.orc_writer import OrcFormat

        self._write_as(OrcFormat(arrow_orc_args), path, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_avro(
        self,
        path: str | os.PathLike[str],
        *,
        codec: str = "null",
        compression_level: int | None = None,
        options: SinkOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes its rows as Avro files into a folder.

        Files appear when all of them are written. Ray Data has no such writer. Needs
        `millstream[avro]`.

        Args:
            path: The folder. A relative one is that of the caller.
            codec: How blocks are compressed: `"null"` (not at all), `"deflate"`, `"bzip2"`, `"xz"`,
                `"snappy"` or `"zstandard"`.
            compression_level: How hard, for `"deflate"` and `"zstandard"`.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: fastavro, or the package of the codec, is not installed.
            SchemaError: Avro cannot hold a column, its name or a value; or as `write_parquet`.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.avro_writer import AvroFormat

        self._write_as(AvroFormat(codec, compression_level), path, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_tfrecords(
        self,
        path: str | os.PathLike[str],
        *,
        narrow_floats: bool = False,
        options: SinkOptions,
        tasks: SinkTasks,
    ) -> None:
        """Runs the dataset and writes its rows as TFRecord files of `tf.train.Example`.

        A null is a feature that is left out. Files appear when all of them are written. Needs
        `millstream[tfrecord]`.

        Args:
            path: The folder. A relative one is that of the caller.
            narrow_floats: Whether floats of 64 bits are rounded to the 32 bits that an Example
                has; else one that is not the same in 32 bits is an error.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense, such as `min_bytes_per_file`.
            MissingPackageError: protobuf or google-crc32c is not installed.
            SchemaError: An Example cannot hold a column or value, or blocks have other types.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.tfrecord_writer import TFRecordFormat

        check_flag("narrow_floats", narrow_floats)
        self._write_as(TFRecordFormat(narrow_floats), path, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_webdataset(
        self, path: str | os.PathLike[str], *, options: SinkOptions, tasks: SinkTasks
    ) -> None:
        """Runs the dataset and writes its rows as WebDataset archives, a sample each.

        The column `__key__` names the samples; without it they are numbered in each file. The name
        of each other column is the extension of its members: bytes are stored as they are, `txt`
        holds text, `cls` integers, `json` whatever JSON has, `npy` tensors. Files appear when all
        of them are written.

        Args:
            path: The folder. A relative one is that of the caller.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense, such as `min_bytes_per_file`.
            SchemaError: A column, key or value could not be read back, or blocks have other types.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.webdataset_writer import WebDatasetFormat

        self._write_as(WebDatasetFormat(), path, options, tasks)

    @takes(options=SinkOptions, tasks=SinkTasks)
    def write_vortex(
        self, path: str | os.PathLike[str], *, options: SinkOptions, tasks: SinkTasks
    ) -> None:
        """Runs the dataset and writes its rows as Vortex files into a folder.

        Text and bytes come back with 64-bit offsets, categories as their values. Files appear when
        all of them are written. Needs `millstream[vortex]`.

        Args:
            path: The folder. A relative one is that of the caller.
            options: What all writers of files take.
            tasks: How they run.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: vortex-data is not installed.
            SchemaError: Vortex has no tensors, durations, intervals and bytes of a fixed length; or
                as `write_parquet`.
            WriteError: The target cannot be written, or has data and `mode="error"`.
        """
        from millstream.io.formats.vortex_writer import VortexFormat

        self._write_as(VortexFormat(), path, options, tasks)

    @takes(tasks=SinkTasks)
    def write_datasink(self, datasink: Datasink[Any], *, tasks: SinkTasks) -> None:
        """Runs the dataset and gives its rows to a sink of your own.

        Args:
            datasink: An object of a class that derives from `Datasink`.
            tasks: How they run.

        Raises:
            ArgumentError: It is no `Datasink`.
            UserCodeError: Its `write` raised.
        """
        from millstream.io.custom import Datasink, WriteBlocks, result_of

        require(isinstance(datasink, Datasink), "datasink", datasink, "a Datasink")
        schema = self._schema or self._plan.schema()
        datasink.on_write_start(schema)
        rows_min = datasink.min_rows_per_write
        operator = Map(WriteBlocks(datasink), tasks.shape(), batch_rows=rows_min, writes=True)
        try:
            run = self._execute(self._plan.then(operator))
            result = result_of(run.tables())
            datasink.on_write_complete(result)
        except Exception as error:
            datasink.on_write_failed(error)
            raise
        run.watch.note_written(result.num_rows, 0)
