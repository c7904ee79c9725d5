from __future__ import annotations

import gc
import io

import av
import fsspec
import numpy as np
import pyarrow as pa
import pytest
from io_sources import table_of, tables_of

from millstream.errors import ArgumentError, ReadError
from millstream.io import video
from millstream.io.video import plan_video


@pytest.fixture
def clip(clips):
    return clips / "carphone_pristine.mp4"


def remuxed(clip, path, **options):
    with av.open(str(clip)) as source, av.open(str(path), "w", options=options) as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return path


def test_frames_are_those_of_the_decoder(clip):
    with av.open(str(clip)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    table = table_of(plan_video(clip))
    assert table.column_names == ["frame", "frame_index"]
    assert table.schema.field("frame").type == pa.fixed_shape_tensor(pa.uint8(), (144, 176, 3))
    frames = np.concatenate([chunk.to_numpy_ndarray() for chunk in table.column("frame").chunks])
    assert np.array_equal(frames, np.stack(expected))
    assert table.column("frame_index").to_pylist() == list(range(120))


def test_frames_are_resized_and_the_schema_is_known(clip):
    source = plan_video(clip, resize=(20, 30), include_timestamps=True, include_paths=True)
    table = table_of(source)
    assert table.schema == source.schema
    assert table.column_names == ["frame", "frame_index", "frame_timestamp", "path"]
    assert list(table.schema.field("frame").type.shape) == [20, 30, 3]
    times = table.column("frame_timestamp").to_pylist()
    assert times[:2] == [0.0, pytest.approx(1001 / 30000)]
    assert times == sorted(times)


def test_each_nth_frame_is_kept_with_its_index(clip):
    indices = table_of(plan_video(clip, frame_interval=50)).column("frame_index").to_pylist()
    assert indices == [0, 50, 100]


def test_a_rate_of_frames_becomes_an_interval(clip):
    assert table_of(plan_video(clip, fps=10)).column("frame_index").to_pylist()[:3] == [0, 3, 6]
    assert len(table_of(plan_video(clip, fps=1000))) == 120
    assert len(table_of(plan_video(clip, fps=0.1))) == 1


def test_each_file_is_a_unit_and_shapes_may_differ(clips):
    source = plan_video(clips)
    assert len(source.units) == 4
    assert source.schema is None
    assert all(unit.nbytes > 0 for unit in source.units)
    shapes = {tuple(table.schema.field("frame").type.shape) for table in tables_of(source)}
    assert shapes == {(720, 1280, 3), (272, 640, 3), (144, 176, 3)}


def test_of_a_large_file_only_some_megabytes_are_held(clips):
    (unit,) = plan_video(clips / "bigbuckbunny.mp4").units
    gc.collect()
    before = pa.total_allocated_bytes()
    rows, largest = 0, 0
    for table in unit.read():
        rows += table.num_rows
        largest = max(largest, table.nbytes)
        assert pa.total_allocated_bytes() - before < 4 * video.TABLE_BYTES
    assert rows == 132
    assert largest <= video.TABLE_BYTES + 1024
    assert unit.nbytes == pytest.approx(132 * 720 * 1280 * 3)


def test_other_file_systems_work(clip):
    memory = fsspec.filesystem("memory")
    memory.pipe("/video/a.mp4", clip.read_bytes())
    try:
        assert len(table_of(plan_video("memory://video"))) == 120
    finally:
        memory.rm("/video", recursive=True)


def test_matroska_works_without_a_count_of_frames(clip, tmp_path):
    source = plan_video(remuxed(clip, tmp_path / "a.mkv"))
    assert len(table_of(source)) == 120


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "0 bytes"), (b"no video at all" * 100, "cannot read this video")],
)
def test_a_broken_first_file_is_named_at_once(tmp_path, content, message):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ReadError, match=message) as caught:
        plan_video(tmp_path)
    assert caught.value.file == str(tmp_path / "a.mp4")


def test_a_broken_later_file_is_named_when_it_is_read(clip, tmp_path):
    (tmp_path / "a.mp4").write_bytes(clip.read_bytes())
    (tmp_path / "b.mp4").write_bytes(b"no video" * 100)
    source = plan_video(tmp_path)
    assert sum(table.num_rows for table in source.units[0].read()) == 120
    with pytest.raises(ReadError, match="cannot read this video") as caught:
        list(source.units[1].read())
    assert caught.value.file == str(tmp_path / "b.mp4")


def test_a_video_that_is_cut_off_is_no_shorter_video(clip, tmp_path):
    path = remuxed(clip, tmp_path / "a.mp4", movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ReadError, match="cut off"):
        table_of(plan_video(path))


def test_sound_alone_is_no_video(tmp_path):
    sound = io.BytesIO()
    with av.open(sound, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    (tmp_path / "a.mp4").write_bytes(sound.getvalue())
    with pytest.raises(ReadError, match="no video"):
        plan_video(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"resize": (0, 1)},
        {"resize": 5},
        {"fps": 0},
        {"fps": "5"},
        {"frame_interval": 0},
        {"frame_interval": 1.5},
        {"fps": 5, "frame_interval": 2},
        {"override_num_blocks": -1},
    ],
)
def test_options_that_make_no_sense_are_refused(clip, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        plan_video(clip, **options)


def test_without_pyav_the_extra_is_named(clip, monkeypatch):
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"millstream\[video\]"):
        plan_video(clip)
