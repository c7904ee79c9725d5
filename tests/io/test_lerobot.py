"""The datasets here are made by hand, after LeRobot's description of its folders."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from io_sources import rows_of, table_of, tables_of
from PIL import Image

from millstream.blocks import block, tensor
from millstream.errors import ArgumentError, MissingPackageError, ReadError, SchemaError
from millstream.io.formats import lerobot as reader
from millstream.io.formats.lerobot import LeRobotOptions
from millstream.io.formats.typed_files import TABLE_BYTES
from millstream.read_science import read_lerobot

FPS = 10
LENGTHS = (4, 3, 5)
CAMERA = "observation.images.top"
PICTURE = "observation.images.wrist"
TASKS = ["pick the cube", "put it down"]


def plan_lerobot(root, *, filesystem=None, override_num_blocks=None, **how):
    return reader.plan_lerobot(
        root, LeRobotOptions(**how), filesystem=filesystem, blocks=override_num_blocks
    )


def shade(number: int) -> int:
    """How bright the frame of a row is."""
    return 10 + 15 * number


def save_video(path: Path, shades) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"g": "3", "crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for each in shades:
            frame = av.VideoFrame.from_ndarray(np.full((16, 32, 3), each, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def encoded(number: int) -> dict:
    file = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), number, np.uint8)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": f"frame-{number}.png"}


def rows_of_episode(number: int, has_pictures: bool) -> pa.Table:
    first, length = sum(LENGTHS[:number]), LENGTHS[number]
    numbers = range(first, first + length)
    columns = {
        "observation.state": pa.array([[n, n / 2] for n in numbers], pa.list_(pa.float32(), 2)),
        "action": pa.array([[n] for n in numbers], pa.list_(pa.float32())),
        "timestamp": pa.array([frame / FPS for frame in range(length)], pa.float32()),
        "frame_index": pa.array(range(length), pa.int64()),
        "episode_index": pa.array([number] * length, pa.int64()),
        "index": pa.array(numbers, pa.int64()),
        "task_index": pa.array([number % 2] * length, pa.int64()),
    }
    if has_pictures:
        columns[PICTURE] = pa.array([encoded(n) for n in numbers])
    return pa.table(columns)


def info(version: str, has_video: bool, has_pictures: bool, **more) -> dict:
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": None},
        "action": {"dtype": "float32", "shape": [1], "names": None},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    if has_video:
        features[CAMERA] = {"dtype": "video", "shape": [16, 32, 3]}
    if has_pictures:
        features[PICTURE] = {"dtype": "image", "shape": [4, 6, 3]}
    totals = {"total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS)}
    return {"codebase_version": version, "fps": FPS, "features": features, **totals, **more}


def save(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def save_table(path: Path, table: pa.Table, **how) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **how)


def save_v3(root: Path, *, has_video=True, has_pictures=False) -> Path:
    """Episodes 0 and 1 in one file, 2 in another."""
    patterns = {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    }
    save(root / "meta" / "info.json", json.dumps(info("v3.0", has_video, has_pictures, **patterns)))
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": TASKS})
    save_table(root / "meta" / "tasks.parquet", tasks)
    tables = [rows_of_episode(number, has_pictures) for number in range(3)]
    data = root / "data" / "chunk-000"
    save_table(data / "file-000.parquet", pa.concat_tables(tables[:2]), row_group_size=3)
    save_table(data / "file-001.parquet", tables[2])
    files = [0, 0, 1]
    starts = [0.0, LENGTHS[0] / FPS, 0.0]
    told = {
        "episode_index": [0, 1, 2],
        "tasks": [["pick the cube"], ["put it down"], ["pick the cube"]],
        "length": list(LENGTHS),
        "data/chunk_index": [0, 0, 0],
        "data/file_index": files,
    }
    if has_video:
        told |= {
            f"videos/{CAMERA}/chunk_index": [0, 0, 0],
            f"videos/{CAMERA}/file_index": files,
            f"videos/{CAMERA}/from_timestamp": starts,
        }
        videos = root / "videos" / CAMERA / "chunk-000"
        save_video(videos / "file-000.mp4", [shade(number) for number in range(7)])
        save_video(videos / "file-001.mp4", [shade(number) for number in range(7, 12)])
    save_table(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet", pa.table(told))
    return root


def save_v2(root: Path, *, has_video=True, has_pictures=False, version="v2.1") -> Path:
    patterns = {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
        "chunks_size": 2,
    }
    save(
        root / "meta" / "info.json", json.dumps(info(version, has_video, has_pictures, **patterns))
    )
    tasks = [{"task_index": number, "task": task} for number, task in enumerate(TASKS)]
    save(root / "meta" / "tasks.jsonl", "\n".join(map(json.dumps, tasks)))
    told = [{"episode_index": n, "tasks": [], "length": rows} for n, rows in enumerate(LENGTHS)]
    save(root / "meta" / "episodes.jsonl", "\n".join(map(json.dumps, told)))
    for number in range(3):
        chunk = f"chunk-{number // 2:03d}"
        table = rows_of_episode(number, has_pictures)
        save_table(root / "data" / chunk / f"episode_{number:06d}.parquet", table)
        if has_video:
            first = sum(LENGTHS[:number])
            shades = [shade(each) for each in range(first, first + LENGTHS[number])]
            save_video(root / "videos" / chunk / CAMERA / f"episode_{number:06d}.mp4", shades)
    return root


SAVED = {"v3.0": save_v3, "v2.1": save_v2}


@pytest.mark.parametrize("version", SAVED)
def test_each_row_has_what_was_seen_at_its_moment(tmp_path, version):
    source = plan_lerobot(str(SAVED[version](tmp_path)))
    assert source.rows == 12
    found = table_of(source)
    assert found.column("index").to_pylist() == list(range(12))
    frames = tensor.to_numpy(found.column(CAMERA))
    assert frames.shape == (12, 16, 32, 3)
    for number, frame in enumerate(frames):
        assert abs(int(np.median(frame)) - shade(number)) <= 3
    assert found.column("action").to_pylist() == [[n] for n in range(12)]
    assert found.schema.field("observation.state").type == pa.list_(pa.float32(), 2)
    assert found.column("task").to_pylist() == [TASKS[0]] * 4 + [TASKS[1]] * 3 + [TASKS[0]] * 5
    assert found.schema.field("dataset_index").type == pa.int32()


@pytest.mark.parametrize("version", SAVED)
def test_pictures_in_the_files_are_decoded(tmp_path, version):
    root = SAVED[version](tmp_path, has_video=False, has_pictures=True)
    found = table_of(plan_lerobot(root))
    pictures = tensor.to_numpy(found.column(PICTURE))
    assert pictures.shape == (12, 4, 6, 3)
    assert [int(each.max()) for each in pictures] == list(range(12))
    kept = rows_of(plan_lerobot(root, decode_videos=False))
    assert kept[3][PICTURE] == encoded(3)


@pytest.mark.parametrize("version", SAVED)
def test_episodes_are_chosen_and_files_of_others_are_not_opened(tmp_path, version):
    root = SAVED[version](tmp_path)
    for path in root.rglob("*000001.*" if version == "v2.1" else "*file-001.*"):
        path.unlink()
    wanted = [2, 0] if version == "v2.1" else [1]
    source = plan_lerobot(root, episodes=wanted)
    found = table_of(source)
    assert set(found.column("episode_index").to_pylist()) == set(wanted)
    assert source.rows == found.num_rows == sum(LENGTHS[number] for number in wanted)
    frames = tensor.to_numpy(found.column(CAMERA))
    for number, frame in zip(found.column("index").to_pylist(), frames, strict=True):
        assert abs(int(np.median(frame)) - shade(number)) <= 3


def test_tasks_read_files_or_episodes_or_as_many_as_are_asked_for(tmp_path):
    root = save_v3(tmp_path, has_video=False)

    def parts(**how):
        units = plan_lerobot(root, **how).units
        return [[e.number for part in unit.parts for e in part.episodes] for unit in units]

    assert parts() == [[0, 1], [2]]
    assert parts(read_granularity="episode") == [[0], [1], [2]]
    assert parts(override_num_blocks=1) == [[0, 1, 2]]
    assert parts(override_num_blocks=9) == [[0], [1], [2]]
    unit = plan_lerobot(root).units[0]
    assert unit.files == (f"{root}/data/chunk-000/file-000.parquet",)
    assert unit.nbytes > 0
    assert table_of(plan_lerobot(root, override_num_blocks=1)).num_rows == 12


def test_videos_may_stay_where_they_are(tmp_path):
    root = save_v3(tmp_path)
    rows = rows_of(plan_lerobot(root, decode_videos=False))
    assert CAMERA not in rows[0]
    video = f"{root}/videos/{CAMERA}/chunk-000/file-000.mp4"
    assert {row[f"{CAMERA}.path"] for row in rows[:7]} == {video}
    assert [row[f"{CAMERA}.timestamp"] for row in rows[3:6]] == pytest.approx([0.3, 0.4, 0.5])


def test_several_datasets_are_read_as_one(tmp_path):
    roots = [save_v3(tmp_path / "a"), save_v2(tmp_path / "b")]
    found = table_of(plan_lerobot(roots))
    assert found.column("dataset_index").to_pylist() == [0] * 12 + [1] * 12
    assert len(plan_lerobot(roots, override_num_blocks=1).units) == 1
    other = save_v3(tmp_path / "c", has_video=False)
    with pytest.raises(SchemaError, match="other columns or another rate"):
        plan_lerobot([roots[0], other])


def test_tables_are_of_bounded_size(tmp_path, monkeypatch):
    root = save_v3(tmp_path)
    told = json.loads((root / "meta" / "info.json").read_text())
    told["features"][CAMERA]["shape"] = [2_000, 2_000, 3]
    (root / "meta" / "info.json").write_text(json.dumps(told))
    assert TABLE_BYTES < 2 * 2_000 * 2_000 * 3
    assert max(table.num_rows for table in tables_of(plan_lerobot(root))) == 1
    assert block.concat(list(tables_of(plan_lerobot(root)))).num_rows == 12


def test_a_moment_without_a_frame_is_an_error(tmp_path):
    root = save_v3(tmp_path)
    video = root / "videos" / CAMERA / "chunk-000" / "file-001.mp4"
    save_video(video, [shade(number) for number in range(7, 10)])
    with pytest.raises(ReadError, match=r"no frame is shown at 0\.300000 seconds.*0\.050000") as e:
        table_of(plan_lerobot(root))
    assert e.value.file == str(video)
    found = table_of(plan_lerobot(root, frame_tolerance_s=10))
    assert found.num_rows == 12
    video.write_bytes(b"nonsense")
    with pytest.raises(ReadError, match="cannot read this video") as caught:
        table_of(plan_lerobot(root))
    assert caught.value.file == str(video)
    video.unlink()
    with pytest.raises(ReadError, match="cannot read this video"):
        table_of(plan_lerobot(root))


@pytest.mark.parametrize("version", SAVED)
def test_an_episode_that_is_not_complete_is_an_error(tmp_path, version):
    root = SAVED[version](tmp_path, has_video=False)
    path = root / "data" / "chunk-000" / "file-000.parquet"
    if version == "v2.1":
        path = root / "data" / "chunk-000" / "episode_000001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, table.num_rows - 1), path)
    with pytest.raises(ReadError, match="episode 1 should have 3 frames, and this file has 2") as e:
        table_of(plan_lerobot(root))
    assert e.value.file == str(path)


@pytest.mark.parametrize("version", SAVED)
def test_a_dataset_that_is_damaged_names_the_file(tmp_path, version):
    root = SAVED[version](tmp_path, has_video=False)
    for path in sorted(root.rglob("*.*")):
        data = path.read_bytes()
        for damaged in (b"", data[: len(data) // 2]):
            path.write_bytes(damaged)
            try:
                rows = table_of(plan_lerobot(root)).num_rows
            except ReadError as error:
                is_list = path.name.startswith("episodes.") and not damaged
                named = root / "meta" / "info.json" if is_list else path
                assert str(named) == error.file  # noqa: PT017
            else:
                pytest.fail(f"{path} of {len(damaged)} bytes gives {rows} rows")
        path.write_bytes(data)


def test_no_file_outside_the_folder_is_read(tmp_path):
    root = save_v3(tmp_path / "a", has_video=False)
    path = root / "meta" / "info.json"
    for pattern in ("../../{chunk_index}", "/etc/{chunk_index}", "data/../../x"):
        told = json.loads(path.read_text()) | {"data_path": pattern}
        path.write_text(json.dumps(told))
        with pytest.raises(ReadError, match="leads out of the folder"):
            plan_lerobot(root)


def test_other_versions_are_refused(tmp_path):
    root = save_v2(tmp_path, version="v1.6", has_video=False)
    with pytest.raises(ReadError, match=r"of version v1\.6; v2\.0, v2\.1, v3\.0 are read"):
        plan_lerobot(root)


def test_no_dataset_at_all(tmp_path):
    with pytest.raises(ReadError, match="what this LeRobot dataset tells of itself") as caught:
        plan_lerobot(tmp_path)
    assert caught.value.file == f"{tmp_path}/meta/info.json"


@pytest.mark.parametrize(
    "how",
    [
        {"episodes": []},
        {"episodes": 3},
        {"episodes": [-1]},
        {"episodes": [0.5]},
        {"episodes": "01"},
        {"episodes": [0, 7]},
        {"read_granularity": "frame"},
        {"frame_tolerance_s": 0},
        {"frame_tolerance_s": "1"},
        {"decode_videos": None},
        {"override_num_blocks": 0},
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, how):
    root = save_v3(tmp_path, has_video=False)
    with pytest.raises(ArgumentError, match=next(iter(how))):
        read_lerobot(root, **how)
    with pytest.raises(ArgumentError, match="root"):
        read_lerobot([])


def test_packages_that_are_not_there_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'millstream\[video\]'"):
        plan_lerobot(save_v3(tmp_path / "a"))
    with pytest.raises(MissingPackageError, match=r"pip install 'millstream\[image\]'"):
        plan_lerobot(save_v3(tmp_path / "b", has_video=False, has_pictures=True))
    assert plan_lerobot(tmp_path / "a", decode_videos=False).rows == 12


def test_a_run_gives_the_rows(tmp_path):
    root = save_v3(tmp_path)
    ds = read_lerobot(root, episodes=[1])
    assert ds.count() == 3
    rows = ds.take_all()
    assert [row["frame_index"] for row in rows] == [0, 1, 2]
    assert rows[0][CAMERA].shape == (16, 32, 3)
    assert rows[0]["task"] == "put it down"
