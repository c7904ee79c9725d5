from __future__ import annotations

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import millstream as ms
from millstream.dataset import Dataset
from millstream.errors import ArgumentError, MissingPackageError, SchemaError, WriteError
from millstream.io.formats.video_writer import VideoRows

write_video = Dataset.write_video


def moving(frames=12, height=64, width=80):
    """A picture whose colours move slowly, as real ones do."""
    down, across = np.mgrid[0:height, 0:width]
    return np.stack(
        [
            np.stack(
                [across * 3 % 256, np.clip(down * 3 + number, 0, 255), across * 0 + 9 * number],
                axis=-1,
            )
            for number in range(frames)
        ]
    ).astype(np.uint8)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def frames_of(path, **how):
    rows = ms.read_video(path, include_timestamps=True, **how).take_all()
    return np.stack([row["frame"] for row in rows]), [row["frame_timestamp"] for row in rows]


def written(tmp_path, frames, fps=25, **how):
    write_video(ms.from_items([{"clip": frames}]), tmp_path / "out", "clip", fps, **how)
    (name,) = os.listdir(tmp_path / "out")
    return tmp_path / "out" / name


LOSSY = [("mp4", "h264"), ("mkv", "h264"), ("mkv", "vp9"), ("webm", "vp9")]


@pytest.mark.parametrize(("format", "codec"), LOSSY)
def test_videos_come_back_with_all_frames_and_about_the_same_pixels(tmp_path, format, codec):
    frames = np.clip(moving(), 16, 230)
    frames[..., 0] = np.clip(frames[..., 0], 0, 200)
    path = written(tmp_path, frames, 30, file_format=format, codec=codec)
    assert path.suffix == f".{format}"
    found, times = frames_of(path)
    assert found.shape == frames.shape
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - frames).mean() < 4
    assert times == pytest.approx([number / 30 for number in range(12)], abs=0.001)


@pytest.mark.parametrize("codec", ["h264", "vp9"])
def test_strong_colours_stay_what_they_are(tmp_path, codec):
    frames = np.zeros((5, 64, 96, 3), np.uint8)
    frames[:, :, :32, 0], frames[:, :, 32:64, 1], frames[:, :, 64:, 2] = 255, 255, 255
    found, _ = frames_of(written(tmp_path, frames, file_format="mkv", codec=codec))
    middle = [16, 48, 80]
    assert np.abs(found[:, 32, middle].astype(int) - frames[:, 32, middle]).max() < 10


def test_players_are_told_what_the_colours_are(tmp_path):
    with av.open(str(written(tmp_path, moving()))) as container:
        context = container.streams.video[0].codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc) == (1, 1, 1)
        assert context.color_range == 1
        assert context.pix_fmt == "yuv420p"


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_ffv1_keeps_every_pixel(data, tmp_path_factory):
    shape = data.draw(st.tuples(st.integers(1, 9), *[st.integers(2, 9)] * 2, st.just(3)))
    frames = data.draw(arrays.arrays(np.uint8, shape))
    path = tmp_path_factory.mktemp("v") / "a.mkv"
    path.write_bytes(VideoRows("clip", 25, file_format="mkv", codec="ffv1").encode([frames]))
    found = ms.read_video(path).take_all()
    assert np.array_equal(np.stack([row["frame"] for row in found]), frames)


def test_a_long_noisy_video_keeps_every_pixel(tmp_path):
    frames = noise((70, 33, 47))
    found, _ = frames_of(written(tmp_path, frames, file_format="mkv", codec="ffv1"))
    assert np.array_equal(found, frames)


@pytest.mark.parametrize("fps", [1, 24, 23.976023976, 29.97, 59.94, 120, 0.5, 12.5])
def test_frames_are_shown_at_their_times(tmp_path, fps):
    _, times = frames_of(written(tmp_path, moving(8), fps))
    assert times == pytest.approx([number / fps for number in range(8)], abs=1e-4)
    with av.open(str(next((tmp_path / "out").iterdir()))) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(fps, rel=1e-4)


def test_known_rates_are_exact(tmp_path):
    with av.open(str(written(tmp_path, moving(), 30_000 / 1001))) as container:
        assert container.streams.video[0].average_rate == Fraction(30_000, 1001)


def test_a_column_says_the_rate_of_each(tmp_path):
    rows = [{"clip": moving(6), "rate": rate, "name": f"{rate:03}"} for rate in (5, 50)]
    write_video(
        ms.from_items(rows), tmp_path / "out", "clip", fps_column="rate", filename_column="name"
    )
    assert sorted(os.listdir(tmp_path / "out")) == ["005.mp4", "050.mp4"]
    assert frames_of(tmp_path / "out" / "005.mp4")[1][1] == pytest.approx(0.2)
    assert frames_of(tmp_path / "out" / "050.mp4")[1][1] == pytest.approx(0.02)


def test_the_encoder_takes_options(tmp_path):
    fine = written(tmp_path / "a", moving(), codec_options={"crf": "1"})
    coarse = written(tmp_path / "b", moving(), codec_options={"crf": "45"})
    assert fine.stat().st_size > coarse.stat().st_size


def test_videos_of_different_shapes_are_written(tmp_path):
    clips = [noise((2, 4, 6)), noise((5, 8, 2)), noise((1, 2, 2))]
    rows = [{"clip": clip, "name": str(number)} for number, clip in enumerate(clips)]
    how = {"file_format": "mkv", "codec": "ffv1", "filename_column": "name"}
    write_video(ms.from_items(rows), tmp_path / "out", "clip", 25, **how)
    for number, clip in enumerate(clips):
        assert np.array_equal(frames_of(tmp_path / "out" / f"{number}.mkv")[0], clip)
    with pytest.raises(WriteError, match="there already"):
        write_video(ms.from_items(rows), tmp_path / "out", "clip", 25, **how)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (np.zeros((2, 4, 4, 3), np.float32), "uint8"),
        (np.zeros((2, 4, 4, 3), np.uint16), "uint8"),
        (np.zeros((2, 4, 4), np.uint8), r"\(frames, height, width, 3\)"),
        (np.zeros((2, 4, 4, 4), np.uint8), r"\(2, 4, 4, 4\)"),
        (np.zeros((2, 5, 4, 3), np.uint8), "even numbers"),
        (np.zeros((0, 4, 4, 3), np.uint8), r"\(0, 4, 4, 3\)"),
        (b"bytes", "tensors"),
    ],
)
def test_what_is_no_video_is_an_error_that_names_the_column(tmp_path, frames, told):
    with pytest.raises(SchemaError, match=told) as caught:
        written(tmp_path, frames)
    assert "'clip'" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("rate", [0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_an_error_that_names_its_row(tmp_path, rate):
    rows = [{"clip": moving(2), "rate": each} for each in (25, rate)]
    with pytest.raises(SchemaError, match=r"'clip' in row 1 .*frames a second"):
        write_video(ms.from_items(rows, override_num_blocks=1), tmp_path, "clip", fps_column="rate")


def test_rates_are_numbers(tmp_path):
    with pytest.raises(SchemaError, match=r"'rate' is (large_)?string"):
        write_video(
            ms.from_items([{"clip": moving(2), "rate": "25"}]), tmp_path, "clip", fps_column="rate"
        )


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("fps", {"fps": 0}),
        ("fps", {"fps": "25"}),
        ("fps", {"fps": float("nan")}),
        ("fps", {"fps": 10_000}),
        ("either", {"fps": None}),
        ("either", {"fps_column": "rate"}),
        ("fps_column", {"fps": None, "fps_column": 5}),
        ("file_format", {"file_format": "avi"}),
        ("codec", {"codec": "ffv1"}),
        ("codec", {"codec": "libx264"}),
        ("codec_options", {"codec_options": {"crf": 5}}),
        ("codec_options", {"codec_options": "crf"}),
        ("column", {"column": None}),
        ("mode", {"mode": "replace"}),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_the_call(tmp_path, told, wrong):
    given = {"column": "clip", "fps": 25} | wrong
    with pytest.raises(ArgumentError, match=told):
        write_video(ms.from_items([{"clip": moving(2)}]), tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_an_option_that_the_encoder_does_not_know_is_an_error(tmp_path):
    for format, codec in LOSSY:
        how = {"file_format": format, "codec": codec}
        with pytest.raises(ArgumentError, match="knows no option 'nonsense'"):
            written(tmp_path, moving(2), codec_options={"nonsense": "1"}, **how)
    with pytest.raises(ArgumentError, match="codec_options"):
        written(tmp_path, moving(2), codec_options={"preset": "nonsense"})


def test_frames_that_an_encoder_does_not_take_are_an_error(tmp_path):
    with pytest.raises(SchemaError, match=r"'clip' in row 0 .*ffv1 cannot write .*\(2, 1, 3\)"):
        written(tmp_path, noise((1, 2, 1)), file_format="mkv", codec="ffv1")


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("millstream.errors.packages.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"millstream\[video\]"):
        written(tmp_path, moving(2))
