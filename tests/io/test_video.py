from __future__ import annotations

import gc
import io
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, count, takewhile

import av
import fsspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from io_sources import plan_video, table_of, tables_of
from PIL import Image

from millstream.errors import ArgumentError, ReadError
from millstream.io.formats import video


@pytest.fixture
def clip(clips):
    return clips / "carphone_pristine.mp4"


def remuxed(clip, path, format=None, **options):
    with (
        av.open(str(clip)) as source,
        av.open(str(path), "w", format=format, options=options) as target,
    ):
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


def film(path, times_ms, *, cover=False, turn=None, seen=None):
    """Writes a video of one frame for each time, whose grey is its number."""
    milliseconds = Fraction(1, 1000)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.pix_fmt, stream.time_base = "yuv420p", milliseconds
        stream.codec_context.time_base = milliseconds
        pictures = [np.full((32, 64, 3), 20 * i, np.uint8) for i in range(len(times_ms))]
        pictures = [seen] if seen is not None else pictures
        stream.height, stream.width = pictures[0].shape[:2]
        if turn is not None:
            stream.set_display_rotation(**turn)
        for picture, time in zip(pictures, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = time, milliseconds
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def kept(source) -> list[int]:
    return table_of(source).column("frame_index").to_pylist()


#: Frames close together, then far apart.
UNEVEN_MS = [0, 10, 20, 30, 40, 1000, 1500, 2500, 2600, 5000]


@pytest.mark.parametrize("extension", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize(
    ("fps", "expected"),
    [(1, [0, 5, 6, 8, 9]), (0.5, [0, 6, 8]), (2, [0, 4, 5, 6, 7, 8, 9]), (1000, list(range(10)))],
)
def test_a_rate_keeps_the_frames_that_are_seen_at_its_moments(tmp_path, extension, fps, expected):
    path = film(tmp_path / f"a.{extension}", UNEVEN_MS)
    assert kept(plan_video(path, fps=fps)) == expected


@given(
    gaps=st.lists(st.integers(1, 3000), max_size=8),
    start=st.integers(0, 5000),
    fps=st.sampled_from([0.1, 0.5, 1, 3, 10, 24, 29.97, 100]),
)
def test_frames_are_sampled_by_their_times_whatever_these_are(gaps, start, fps):
    times = list(accumulate(gaps, initial=0))
    frames = [FrameStub(start + time) for time in times]
    made = [index for index, _ in video._seen_at(fps, None, iter(frames))]
    # The last frame is seen for as long as the one before it.
    end = times[-1] + (gaps[-1] if gaps else 1000 / fps)
    moments = takewhile(lambda moment: moment < end - 0.5, (k * 1000 / fps for k in count()))
    seen = [max(i for i, time in enumerate(times) if time <= moment + 0.5) for moment in moments]
    assert made == list(dict.fromkeys(seen))


@dataclass
class FrameStub:
    pts: int
    time_base: Fraction = Fraction(1, 1000)
    duration: int = 0


def test_a_rate_of_an_even_video_keeps_as_many_frames(clip):
    indices = kept(plan_video(clip, fps=10))
    # Of 30,000 / 1,001 frames a second each third, until they lag by more than half a millisecond.
    assert indices[:7] == [0, 3, 6, 9, 12, 15, 17]
    assert len(indices) == 41
    assert len(table_of(plan_video(clip, fps=1000))) == 120
    assert len(table_of(plan_video(clip, fps=0.1))) == 1


def test_without_times_the_declared_rate_tells(clip, tmp_path):
    path = remuxed(clip, tmp_path / "a.h264", format="h264")
    # FFmpeg takes such a stream for 25 frames a second.
    indices = kept(plan_video(path, fps=10, file_extensions=None))
    assert indices[:5] == [0, 2, 5, 7, 10]


ROTATIONS = [
    ({"degrees": degrees, "hflip": flip}, quarter, flip)
    for quarter, degrees in enumerate((0, 90, 180, -90))
    for flip in (False, True)
]


def corners(pixels) -> list[int]:
    """The grey near each corner, in clockwise order, roughly."""
    height, width = pixels.shape[:2]
    places = [(8, 8), (8, width - 8), (height - 8, width - 8), (height - 8, 8)]
    return [round(int(pixels[place].mean()) / 64) for place in places]


@pytest.mark.parametrize("extension", ["mp4", "mkv"])
@pytest.mark.parametrize(("turn", "quarters", "flip"), ROTATIONS)
def test_frames_are_turned_as_the_file_says(tmp_path, extension, turn, quarters, flip):
    stored = np.zeros((32, 64, 3), np.uint8)
    stored[:16, 32:], stored[16:, 32:], stored[16:, :32] = 64, 128, 192
    path = film(tmp_path / f"a.{extension}", [0], turn=turn, seen=stored)
    expected = np.rot90(stored, quarters)
    expected = expected[:, ::-1] if flip else expected
    for orientation, pixels in (("upright", expected), ("stored", stored)):
        source = plan_video(path, orientation=orientation)
        (frame,) = table_of(source).column("frame").chunk(0).to_numpy_ndarray()
        assert frame.shape == pixels.shape
        assert corners(frame) == corners(pixels)


def test_the_size_is_that_of_the_turned_frame(tmp_path):
    path = film(tmp_path / "a.mp4", [0], turn={"degrees": 90})
    for orientation in ("upright", "stored"):
        source = plan_video(path, resize=(20, 10), orientation=orientation)
        assert table_of(source).schema == source.schema


def test_a_turn_that_is_no_quarter_is_refused_by_name(tmp_path):
    path = film(tmp_path / "a.mp4", [0], turn={"degrees": 30})
    with pytest.raises(ReadError, match="orientation='stored'") as caught:
        table_of(plan_video(path))
    assert caught.value.file == str(path)
    assert len(table_of(plan_video(path, orientation="stored"))) == 1


def with_cover(path, *, first, video=True):
    """Puts a cover picture into an MP4, whose description may come before its video's."""
    png = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(png, "PNG")
    png.seek(0)
    movie = film(path.with_suffix(".plain.mp4"), [0, 100, 200])
    with av.open(png) as picture, av.open(str(movie)) as source, av.open(str(path), "w") as target:
        cover = target.add_stream_from_template(picture.streams.video[0])
        cover.disposition = av.stream.Disposition.attached_pic
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream) if video else None
        packet = next(picture.demux())
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        target.mux(packet)
        for packet in source.demux(stream) if video else ():
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    if first:
        path.write_bytes(with_user_data_first(path.read_bytes()))
    movie.unlink()
    return path


def with_user_data_first(data: bytes) -> bytes:
    """Moves the box of an MP4 that holds the cover before those of its streams."""
    boxes = dict(boxes_of(data))
    inner = list(boxes_of(boxes[b"moov"][8:]))
    moved = sorted(inner, key=lambda box: box[0] == b"trak")
    moov = boxes[b"moov"][:8] + b"".join(box for _, box in moved)
    return data.replace(boxes[b"moov"], moov)


def boxes_of(data: bytes):
    while data:
        size = int.from_bytes(data[:4], "big")
        yield data[4:8], data[:size]
        data = data[size:]


def test_notes_that_are_no_text_take_nothing_from_the_frames(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(film(path, [0, 100]))) as source, av.open(str(path) + ".mp4", "w") as target:
        target.metadata["title"] = "plain"
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    data = (tmp_path / "a.mp4.mp4").read_bytes()
    assert b"plain" in data
    path.write_bytes(data.replace(b"plain", b"\xff\xfeain"))
    assert len(table_of(plan_video(path))) == 2


@pytest.mark.parametrize("first", [True, False])
def test_a_cover_picture_is_no_video(tmp_path, first):
    path = with_cover(tmp_path / "a.mp4", first=first)
    with av.open(str(path)) as container:
        covers = [stream.codec_context.name == "png" for stream in container.streams.video]
    assert covers == ([True, False] if first else [False, True])
    source = plan_video(path)
    table = table_of(source)
    assert list(table.schema.field("frame").type.shape) == [32, 64, 3]
    assert len(table) == 3
    assert source.units[0].nbytes == pytest.approx(3 * 32 * 64 * 3, rel=0.01)
    assert kept(plan_video(path, fps=5)) == [0, 2]


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
        {"orientation": "sideways"},
        {"frame_interval": 0},
        {"frame_interval": 1.5},
        {"fps": 5, "frame_interval": 2},
    ],
)
def test_options_that_make_no_sense_are_refused(clip, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        plan_video(clip, **options)


def test_without_pyav_the_extra_is_named(clip, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"millstream\[video\]"):
        plan_video(clip)
