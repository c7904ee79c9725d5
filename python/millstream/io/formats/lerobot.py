"""Reading LeRobot datasets: the frames of episodes, with what cameras saw at each.

Owns the plan, the units, and the columns. `lerobot_layout` owns where things lie, `lerobot_frames`
how the frame of a moment is found. Must not know what happens to the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millstream.blocks import tensor
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError
from millstream.errors.checks import (
    check_choice,
    check_count,
    check_flag,
    is_number,
    is_whole,
    require,
)
from millstream.io.addresses import Paths, is_of_one_process, resolve
from millstream.io.files import open_file
from millstream.io.formats.lerobot_frames import VideoFrames
from millstream.io.formats.lerobot_layout import Episode, Layout, read_layout
from millstream.io.formats.typed_files import TABLE_BYTES, pieces_of
from millstream.io.source import Source, blaming, group_by_weight


@dataclass(frozen=True)
class LeRobotOptions:
    """What is read of datasets; see `read_lerobot`.

    Raises:
        ArgumentError: It makes no sense.
    """

    episodes: Sequence[int] | None = None
    read_granularity: str = "file"
    frame_tolerance_s: float | None = None
    decode_videos: bool = True

    def __post_init__(self) -> None:
        chosen = self.episodes
        is_list = isinstance(chosen, Sequence) and not isinstance(chosen, (str, bytes))
        is_right = is_list and bool(chosen) and all(is_whole(each, 0) for each in chosen or ())
        wanted = "a list of whole numbers from 0 on, or None"
        require(chosen is None or is_right, "episodes", chosen, wanted)
        check_choice("read_granularity", self.read_granularity, ("file", "episode"))
        limit = self.frame_tolerance_s
        is_limit = limit is None or (is_number(limit) and limit > 0)
        require(is_limit, "frame_tolerance_s", limit, "a number above 0, or None")
        check_flag("decode_videos", self.decode_videos)


def plan_lerobot(
    root: Paths, options: LeRobotOptions, *, filesystem: Any = None, blocks: int | None = None
) -> Source:
    """Plans to read LeRobot datasets.

    Args:
        root: The folder of a dataset, or of several.
        options: What is read of them.
        filesystem: From `pyarrow.fs` or fsspec; by default the paths tell.
        blocks: Exactly so many units, as far as there are episodes.

    Raises:
        ArgumentError: An argument makes no sense, or there is no such episode.
        MissingPackageError: What decodes videos or pictures is not installed.
        ReadError: There is no such dataset, or it is damaged.
        SchemaError: The datasets have different columns.
    """
    check_count("override_num_blocks", blocks)
    roots = [root] if isinstance(root, str) or not isinstance(root, Sequence) else list(root)
    require(bool(roots), "root", root, "at least one folder")
    found, paths = resolve(roots, filesystem)
    parts = []
    for number, path in enumerate(paths):
        layout, episodes = read_layout(found, path)
        parts.append(_Part(number, layout, tuple(episodes), options))
    _check_alike([part.layout for part in parts])
    _require_packages(parts[0].layout, options)
    chosen = _chosen(parts, options.episodes)
    units = _units(chosen, options, blocks)
    rows = sum(episode.rows for part in chosen for episode in part.episodes)
    one_process = is_of_one_process(found)
    return Source("ReadLeRobot", units, None, rows, paths, is_of_one_process=one_process)


@dataclass(frozen=True)
class _Part:
    """Some episodes of one dataset.

    Args:
        number: That of the dataset among all.
        layout: The dataset.
        episodes: Its episodes.
        options: What is read of them.
    """

    number: int
    layout: Layout
    episodes: tuple[Episode, ...]
    options: LeRobotOptions

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in order.

        Raises:
            ReadError: A file is missing or damaged, or an episode is not complete.
        """
        counts: Counter[int] = Counter()
        with _Cameras(self.layout, self.options) as cameras:
            for path, episodes in self._files():
                known = {episode.number: episode for episode in episodes}
                with blaming(path, "cannot read this LeRobot data"):
                    for table in self._rows(path, known):
                        counts.update(table.column("episode_index").to_pylist())
                        yield from pieces_of(self._complete(table, known, cameras))
                for episode in episodes:
                    if counts[episode.number] != episode.rows:
                        raise ReadError(
                            f"episode {episode.number} should have {episode.rows} frames, and this "
                            f"file has {counts[episode.number]}",
                            file=path,
                        )

    def _files(self) -> Iterator[tuple[str, list[Episode]]]:
        """The Parquet files, and what is wanted of each."""
        path, held = "", list[Episode]()
        for episode in self.episodes:
            if held and episode.data != path:
                yield path, held
                held = []
            path = episode.data
            held.append(episode)
        if held:
            yield path, held

    def _rows(self, path: str, known: dict[int, Episode]) -> Iterator[pa.Table]:
        from pyarrow import compute

        wanted = pa.array(known, pa.int64())
        width = self.layout.frame_bytes if self.options.decode_videos else 0
        step = max(1, min(_ROWS_MAX, TABLE_BYTES // 2 // max(1, width)))
        with open_file(self.layout.filesystem, path) as file:
            parquet = pq.ParquetFile(file)
            groups = _groups_of(parquet, min(known), max(known))
            for batch in parquet.iter_batches(step, row_groups=groups, use_threads=False):
                table = pa.Table.from_batches([batch]).replace_schema_metadata()
                mask = compute.is_in(table.column("episode_index"), wanted)
                chosen = table.filter(mask)
                if chosen.num_rows:
                    yield chosen

    def _complete(self, table: pa.Table, known: dict[int, Episode], cameras: _Cameras) -> pa.Table:
        """Adds what is not in the Parquet file itself."""
        episodes = [known[number] for number in table.column("episode_index").to_pylist()]
        times = table.column("timestamp").to_pylist()
        if self.options.decode_videos:
            for name in self.layout.named("image"):
                place = table.schema.get_field_index(name)
                table = table.set_column(place, name, _pictures(name, table.column(name)))
        for name in self.layout.named("video"):
            for added, column in cameras.columns(name, episodes, times):
                table = table.append_column(added, column)
        if "task_index" in table.column_names and "task" not in table.column_names:
            numbers = table.column("task_index").to_pylist()
            tasks = [self._task(number) for number in numbers]
            table = table.append_column("task", pa.array(tasks, pa.string()))
        number = pa.array([self.number] * table.num_rows, pa.int32())
        return table.append_column("dataset_index", number)

    def _task(self, number: int | None) -> str | None:
        if number is None:
            return None
        if number not in self.layout.tasks:
            raise ReadError(f"there is no task {number} here", file=self.layout.tasks_path)
        return self.layout.tasks[number]


@dataclass(frozen=True)
class LeRobotUnit:
    """Some episodes.

    Args:
        parts: Them, by their dataset.
    """

    parts: tuple[_Part, ...]

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The Parquet files and the videos."""
        found: dict[str, None] = {}
        for part in self.parts:
            for episode in part.episodes:
                found[episode.data] = None
                found.update({video.path: None for video in episode.videos.values()})
        return tuple(found)

    @property
    def nbytes(self) -> int:
        """About how many bytes the frames take."""
        pairs = ((part.layout, episode) for part in self.parts for episode in part.episodes)
        return sum((layout.frame_bytes + _ROW_BYTES) * episode.rows for layout, episode in pairs)

    def read(self) -> Iterator[pa.Table]:
        """Yields the rows in order."""
        for part in self.parts:
            yield from part.read()


class _Cameras:
    """The videos that are open, one for each camera.

    Args:
        layout: The dataset.
        options: What is read of it.
    """

    def __init__(self, layout: Layout, options: LeRobotOptions) -> None:
        self._layout = layout
        self._is_decoded = options.decode_videos
        self._tolerance = options.frame_tolerance_s or 0.5 / layout.fps
        self._open: dict[str, VideoFrames] = {}

    def __enter__(self) -> _Cameras:
        return self

    def __exit__(self, *exception: object) -> None:
        with ExitStack() as stack:
            for video in self._open.values():
                stack.callback(video.close)

    def columns(
        self, name: str, episodes: Sequence[Episode], times: Sequence[float]
    ) -> Iterator[tuple[str, Any]]:
        """What a camera saw at each row: the frames, or where they are."""
        parts = [episode.videos[name] for episode in episodes]
        moments = [part.start + time for part, time in zip(parts, times, strict=True)]
        if not self._is_decoded:
            yield f"{name}.path", pa.array([part.path for part in parts], pa.string())
            yield f"{name}.timestamp", pa.array(moments, pa.float64())
            return
        frames = []
        for part, moment in zip(parts, moments, strict=True):
            with blaming(part.path, "cannot read this video"):
                frames.append(self._video(name, part.path).at(moment))
        yield name, tensor.from_ndarrays(frames)

    def _video(self, name: str, path: str) -> VideoFrames:
        video = self._open.get(name)
        if video is None or video.path != path:
            if video is not None:
                self._open.pop(name).close()
            video = VideoFrames(self._layout.filesystem, path, self._tolerance)
            self._open[name] = video
        return video


def _pictures(name: str, column: pa.ChunkedArray) -> Any:
    """Decodes pictures that are in the Parquet file."""
    from millstream.io.formats.pixels import decode

    made = []
    for row, value in enumerate(column.to_pylist()):
        data = None if value is None else value.get("bytes")
        if data is None:
            raise ValueError(f"column {name!r} has no picture in row {row} of these")
        made.append(decode(data, upright=False).pixels)
    return tensor.from_ndarrays(made)


def _groups_of(parquet: pq.ParquetFile, first: int, last: int) -> list[int]:
    """The row groups that may have such episodes."""
    place = parquet.schema_arrow.get_field_index("episode_index")
    chosen = []
    for group in range(parquet.num_row_groups):
        statistics = parquet.metadata.row_group(group).column(place).statistics
        is_known = statistics is not None and statistics.has_min_max
        is_flat = parquet.metadata.num_columns == len(parquet.schema_arrow)
        if not (is_known and is_flat) or (statistics.min <= last and statistics.max >= first):
            chosen.append(group)
    return chosen


def _check_alike(layouts: Sequence[Layout]) -> None:
    first = layouts[0]
    for layout in layouts[1:]:
        if layout.features != first.features or layout.fps != first.fps:
            raise SchemaError(
                f"the dataset {layout.root} has other columns or another rate of frames than "
                f"{first.root}; read it by itself"
            )


def _require_packages(layout: Layout, options: LeRobotOptions) -> None:
    needed = {"video": ("av", "video"), "image": ("PIL", "image")}
    for kind, (module, extra) in needed.items():
        if options.decode_videos and layout.named(kind) and find_spec(module) is None:
            raise MissingPackageError(
                f"the {kind}s of this LeRobot dataset need a package: "
                f"pip install 'millstream[{extra}]'"
            )


def _chosen(parts: Sequence[_Part], numbers: Sequence[int] | None) -> list[_Part]:
    """The episodes that were asked for, in the order of the dataset."""
    if numbers is None:
        return list(parts)
    known = {episode.number for part in parts for episode in part.episodes}
    unknown = sorted(set(numbers) - known)
    if unknown:
        raise ArgumentError(
            f"episodes={list(numbers)!r}: there is no episode {', '.join(map(str, unknown))}; "
            f"there are {len(known)}"
        )
    wanted = set(numbers)
    return [
        _Part(
            part.number,
            part.layout,
            tuple(each for each in part.episodes if each.number in wanted),
            part.options,
        )
        for part in parts
    ]


def _units(
    parts: Sequence[_Part], options: LeRobotOptions, blocks: int | None
) -> list[LeRobotUnit]:
    pairs = [(part, episode) for part in parts for episode in part.episodes]
    if blocks is not None:
        ranges = group_by_weight([episode.rows for _, episode in pairs], blocks)
    else:
        ranges = []
        for place, (part, episode) in enumerate(pairs):
            before = pairs[place - 1] if place else None
            is_with = before is not None and before[0] is part and _files(before[1], episode)
            if is_with and options.read_granularity == "file":
                ranges[-1] = (ranges[-1][0], place + 1)
            else:
                ranges.append((place, place + 1))
    return [_unit(pairs[start:stop]) for start, stop in ranges]


def _files(left: Episode, right: Episode) -> bool:
    """Whether two episodes are in the same files."""
    paths = [{name: part.path for name, part in each.videos.items()} for each in (left, right)]
    return left.data == right.data and paths[0] == paths[1]


def _unit(pairs: Sequence[tuple[_Part, Episode]]) -> LeRobotUnit:
    held: dict[int, tuple[_Part, list[Episode]]] = {}
    for part, episode in pairs:
        held.setdefault(part.number, (part, []))[1].append(episode)
    return LeRobotUnit(
        tuple(
            _Part(part.number, part.layout, tuple(episodes), part.options)
            for part, episodes in held.values()
        )
    )


_ROWS_MAX = 1 << 12
_ROW_BYTES = 256
