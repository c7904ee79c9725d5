"""Finds the faces in video files and tells their ages: the main job of millstream.

    python examples/label_video.py CLIPS LABELS

reads the video files of the folder CLIPS and writes Parquet files into the folder LABELS. Frames
are decoded and resized on CPUs, a detector and then a classifier run on GPUs, and all stages work
at once, in bounded memory. The GPUs are logical: without CUDA, models run on one thread each.

Needs `pip install 'millstream[demo]'`, which brings both models along.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import ray
from faces import CROP_SIDE, AgeClassifier, FaceDetector, crop, fit

import millstream as ms

Batch = dict[str, Any]


def preprocess(batch: Batch) -> Batch:
    """Fits each frame into the detector's square."""
    fitted = [fit(frame) for frame in batch.pop("frame")]
    images = np.stack([image for image, _ in fitted])
    return {**batch, "image": images, "scale": np.array([scale for _, scale in fitted])}


class Annotator:
    """Finds faces."""

    def __init__(self) -> None:
        self.detector = FaceDetector()

    def __call__(self, batch: Batch) -> Batch:
        """Takes a row per frame, returns a row per face."""
        found = [self.detector.find(image) for image in batch["image"]]
        row = np.repeat(np.arange(len(found)), [len(faces) for faces in found])
        faces = np.concatenate(found)
        crops = [crop(batch["image"][i], face) for i, face in zip(row, faces, strict=True)]
        return {
            "path": batch["path"][row],
            "frame_index": batch["frame_index"][row],
            "box": faces[:, :4] / batch["scale"][row, None],
            "score": faces[:, 4],
            "crop": np.array(crops, np.uint8).reshape(-1, CROP_SIDE, CROP_SIDE, 3),
        }


class Classifier:
    """Tells the ages of faces."""

    def __init__(self) -> None:
        self.model = AgeClassifier()

    def __call__(self, batch: Batch) -> Batch:
        """Replaces each face by its age, and by how sure the model is of it."""
        age, confidence = self.model.ages(batch.pop("crop"))
        return {**batch, "age": age, "confidence": confidence}


def labels(clips: str) -> ms.Dataset:
    """The pipeline: nothing runs until it is consumed or written."""
    return (
        ms.read_video(clips, include_paths=True)
        .map_batches(preprocess)
        .map_batches(Annotator, num_gpus=1, batch_size=16)
        .map_batches(Classifier, num_gpus=1, batch_size=64)
    )


if __name__ == "__main__":
    ray.init(num_gpus=3)
    labels(sys.argv[1]).write_parquet(sys.argv[2])
