"""Tells the ages of the faces in a folder of images.

    python examples/classify_images.py [IMAGES] [LABELS]

decodes and resizes images on CPUs, finds and classifies faces in an actor that loads its models
once, and writes a row per face into Parquet files. It runs on threads of this process, without a
cluster: for Ray, leave out the line that sets the backend.

Needs `pip install 'millstream[demo]'`. Without arguments the images are those that come with
scikit-image, which is not part of that.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from faces import AgeClassifier, FaceDetector, crop, fit
from packages import package_folder

import millstream as ms


def resize(row: dict[str, Any]) -> dict[str, Any]:
    """Fits an image into the detector's square."""
    image, scale = fit(row["image"])
    return {"path": row["path"], "image": image, "scale": scale}


class Faces:
    """Finds faces and tells their ages."""

    def __init__(self) -> None:
        self.detector, self.classifier = FaceDetector(), AgeClassifier()

    def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Takes an image, returns a row per face."""
        found = self.detector.find(row["image"])
        if not len(found):
            return []
        ages, _ = self.classifier.ages(np.stack([crop(row["image"], face) for face in found]))
        boxes = found[:, :4] / row["scale"]
        return [
            {"path": row["path"], "box": box, "age": age}
            for box, age in zip(boxes, ages, strict=True)
        ]


if __name__ == "__main__":
    images = sys.argv[1] if len(sys.argv) > 1 else str(package_folder("skimage") / "data")
    labels = sys.argv[2] if len(sys.argv) > 2 else "image-labels"
    ms.DataContext.get_current().backend = "local"
    (
        ms.read_images(images, mode="RGB", file_extensions=["jpg", "png"], include_paths=True)
        .map(resize)
        .flat_map(Faces, concurrency=1)
        .write_parquet(labels)
    )
    ms.read_parquet(labels).show()
