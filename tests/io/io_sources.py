"""What the tests of sources share: reading a source as a worker would, after its journey there."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pyarrow as pa

from millstream.blocks import block
from millstream.io import files
from millstream.io.file_options import (
    FileOptions,
    ImageFiles,
    ParquetFiles,
    VideoFiles,
)
from millstream.io.formats import binary, images, video
from millstream.io.formats.parquet import source as parquet
from millstream.io.formats.parquet import writer
from millstream.io.sink_options import SinkOptions
from millstream.io.source import Source
from millstream.options import takes


@takes(files=ParquetFiles)
def plan_parquet(paths, *, files, override_num_blocks=None, **how):
    return parquet.plan_parquet(paths, files, blocks=override_num_blocks, **how)


@takes(files=FileOptions)
def plan_binary(paths, *, files, override_num_blocks=None):
    return binary.plan_binary(paths, files, blocks=override_num_blocks)


@takes(files=ImageFiles)
def plan_images(paths, *, files, override_num_blocks=None, **how):
    return images.plan_images(paths, files, blocks=override_num_blocks, **how)


@takes(files=VideoFiles)
def plan_video(paths, *, files, override_num_blocks=None, **how):
    return video.plan_video(paths, files, blocks=override_num_blocks, **how)


@takes(options=SinkOptions)
def plan_write_parquet(path, *, options, **how):
    return writer.plan_write_parquet(path, options, **how)


@takes(options=FileOptions)
def list_files(paths, *, reader, options):
    return files.list_files(paths, options, reader=reader)


def tables_of(source: Source) -> Iterator[pa.Table]:
    for unit in source.units:
        yield from pickle.loads(pickle.dumps(unit)).read()


def table_of(source: Source) -> pa.Table:
    return block.concat(list(tables_of(source)))


def rows_of(source: Source) -> list[dict]:
    return block.unseal(table_of(source)).to_pylist()


def unit_rows(source: Source) -> list[int]:
    return [sum(table.num_rows for table in unit.read()) for unit in source.units]
