"""What the folder of a LeRobot dataset tells of itself, of the versions 2.0, 2.1 and 3.0.

Owns where episodes and their videos lie. Must not know how they are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq

from millstream.errors import ReadError
from millstream.io.files import open_file
from millstream.io.source import blaming


@dataclass(frozen=True)
class VideoPart:
    """Where the frames of an episode are, as one camera saw it.

    Args:
        path: The video.
        start: When its first frame is shown, in seconds.
    """

    path: str
    start: float


@dataclass(frozen=True)
class Episode:
    """An episode.

    Args:
        number: Its number.
        rows: How many frames it has.
        data: The Parquet file that has its rows.
        videos: Its part of a video, by camera.
    """

    number: int
    rows: int
    data: str
    videos: Mapping[str, VideoPart]


@dataclass(frozen=True)
class Layout:
    """A dataset, as it travels to the workers.

    Args:
        filesystem: Where it is.
        root: Its folder.
        fps: Frames a second.
        features: The names of all columns, with their kind: `"video"`, `"image"`, `"float32"`, …
        frame_bytes: The bytes of the frames of one row.
        tasks: What was done, by number.
        tasks_path: Where that is written.
    """

    filesystem: pa_fs.FileSystem
    root: str
    fps: float
    features: Mapping[str, str]
    frame_bytes: int
    tasks: Mapping[int, str]
    tasks_path: str

    def named(self, kind: str) -> list[str]:
        """The columns of a kind."""
        return [name for name, each in self.features.items() if each == kind]


def read_layout(filesystem: pa_fs.FileSystem, root: str) -> tuple[Layout, list[Episode]]:
    """Reads the notes in a dataset's folder.

    Raises:
        ReadError: They are missing, damaged, or of a version that is not known.
    """
    path = f"{root}/meta/info.json"
    with blaming(path, "cannot read what this LeRobot dataset tells of itself"):
        info = json.loads(_bytes_of(filesystem, path))
        version = str(info["codebase_version"])
        if version not in _VERSIONS:
            raise ReadError(
                f"this LeRobot dataset is of version {version}; {', '.join(_VERSIONS)} are read",
                file=path,
            )
        features = {str(name): str(each["dtype"]) for name, each in info["features"].items()}
        sizes = [_pixels(each) for each in info["features"].values() if each["dtype"] in _SEEN]
        is_old = version.startswith("v2")
        where = f"{root}/meta/tasks.{'jsonl' if is_old else 'parquet'}"
        tasks = _old_tasks(filesystem, where) if is_old else _tasks(filesystem, where)
        fps = float(info["fps"])
        layout = Layout(filesystem, root, fps, features, sum(sizes), tasks, where)
        find = _old_episodes if is_old else _episodes
        episodes = list(find(layout, info))
        _check_complete(root, info, episodes)
        return layout, episodes


def _check_complete(root: str, info: Any, episodes: list[Episode]) -> None:
    """Refuses a dataset whose list of episodes is cut off."""
    rows = sum(episode.rows for episode in episodes)
    for name, count in (("total_episodes", len(episodes)), ("total_frames", rows)):
        told = info.get(name)
        if (told is not None and int(told) != count) or not episodes:
            raise ReadError(
                f"meta/info.json tells of {name}={told}, and meta/episodes of {count}",
                file=f"{root}/meta/info.json",
            )


def _old_tasks(filesystem: pa_fs.FileSystem, path: str) -> dict[int, str]:
    lines = _lines(filesystem, path)
    return {int(line["task_index"]): str(line["task"]) for line in lines}


def _old_episodes(layout: Layout, info: Any) -> Iterator[Episode]:
    chunk_size = int(info.get("chunks_size") or _CHUNK_SIZE)
    for line in _lines(layout.filesystem, f"{layout.root}/meta/episodes.jsonl"):
        number = int(line["episode_index"])
        where = {"episode_chunk": number // chunk_size, "episode_index": number}
        videos = {
            name: VideoPart(_place(layout.root, info["video_path"], where, name), 0.0)
            for name in layout.named("video")
        }
        data = _place(layout.root, info["data_path"], where)
        yield Episode(number, int(line["length"]), data, videos)


def _tasks(filesystem: pa_fs.FileSystem, path: str) -> dict[int, str]:
    with blaming(path, "cannot read this Parquet file"), open_file(filesystem, path) as file:
        table = pq.read_table(file)
    (name,) = (
        field.name
        for field in table.schema
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    )
    pairs = zip(table.column("task_index").to_pylist(), table.column(name).to_pylist(), strict=True)
    return dict(pairs)


def _episodes(layout: Layout, info: Any) -> Iterator[Episode]:
    selector = pa_fs.FileSelector(f"{layout.root}/meta/episodes", recursive=True)
    found = layout.filesystem.get_file_info(selector)
    for path in sorted(each.path for each in found if each.path.endswith(".parquet")):
        with blaming(path, "cannot read this Parquet file"):
            for row in _rows(layout, path):
                yield _episode(layout, info, row)


def _rows(layout: Layout, path: str) -> list[dict[str, Any]]:
    wanted = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    for name in layout.named("video"):
        parts = ("chunk_index", "file_index", "from_timestamp")
        wanted += [f"videos/{name}/{part}" for part in parts]
    with open_file(layout.filesystem, path) as file:
        rows: list[dict[str, Any]] = pq.read_table(file, columns=wanted).to_pylist()
    return rows


def _episode(layout: Layout, info: Any, row: Mapping[str, Any]) -> Episode:
    videos = {}
    for name in layout.named("video"):
        where = {part: row[f"videos/{name}/{part}"] for part in ("chunk_index", "file_index")}
        path = _place(layout.root, info["video_path"], where, name)
        videos[name] = VideoPart(path, float(row[f"videos/{name}/from_timestamp"]))
    where = {part: row[f"data/{part}"] for part in ("chunk_index", "file_index")}
    data = _place(layout.root, info["data_path"], where)
    return Episode(int(row["episode_index"]), int(row["length"]), data, videos)


def _place(root: str, pattern: str, where: Mapping[str, int], video: str = "") -> str:
    """Where a file is.

    Raises:
        ValueError: Not within the folder of the dataset.
    """
    numbers = {name: int(number) for name, number in where.items()}
    path = pattern.format(video_key=video, **numbers)
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"the path {path!r} leads out of the folder of the dataset")
    return f"{root}/{path}"


def _pixels(feature: Any) -> int:
    count = 1
    for length in feature.get("shape") or [0]:
        count *= int(length)
    return count


def _lines(filesystem: pa_fs.FileSystem, path: str) -> list[dict[str, Any]]:
    with blaming(path, "cannot read this list of objects"):
        return [json.loads(line) for line in _bytes_of(filesystem, path).splitlines() if line]


def _bytes_of(filesystem: pa_fs.FileSystem, path: str) -> bytes:
    with open_file(filesystem, path) as file:
        data: bytes = file.read()
        return data


_VERSIONS = ("v2.0", "v2.1", "v3.0")
_CHUNK_SIZE = 1000
_SEEN = ("video", "image")
