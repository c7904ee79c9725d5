"""1,200 JPEG of 640 x 480, made to 224 x 224, times a matrix in an actor: beside four others.

The pictures are scikit-image's, recompressed. The sums of what comes out must agree, as far as
decoders and ways to resize do. Daft needs an environment of its own, since it wants an older
pyarrow: `DAFT_PYTHON=/path/to/python python benches/images.py`; it is left out without.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from harness import Benchmark, Cluster, Numbers, by_daft, quiet_peer

PICTURES = 1200
SIDE = 224
CLASSES = 64
CLUSTER = Cluster(cpus=os.cpu_count() or 1, store_bytes=1 << 30)
NAMES = ("astronaut", "chelsea", "coffee", "rocket")


class Model:
    """A matrix product over batches of pictures."""

    def __init__(self) -> None:
        numbers = np.random.default_rng(0).random((SIDE * SIDE * 3, CLASSES), np.float32)
        self.weights = numbers / len(numbers)

    def __call__(self, batch: Any) -> Any:
        """The scores of each picture."""
        pixels = np.asarray(batch["image"]).reshape(len(batch["image"]), -1)
        return {"score": (pixels.astype(np.float32) @ self.weights).sum(axis=1)}


def written(folder: str) -> None:
    """Makes the pictures."""
    import skimage.data
    from PIL import Image

    shots = [Image.fromarray(getattr(skimage.data, name)()).resize((640, 480)) for name in NAMES]
    for number in range(PICTURES):
        shot = shots[number % len(shots)].rotate(number % 7)
        data = io.BytesIO()
        shot.save(data, "JPEG", quality=85)
        Path(folder, f"{number:05}.jpg").write_bytes(data.getvalue())


def millstream(folder: str, backend: str) -> Iterator[float]:
    """Its defaults."""
    import millstream as ms

    context = ms.DataContext.get_current()
    context.backend, context.enable_progress_bars = backend, False
    ds = ms.read_images(folder, size=(SIDE, SIDE), mode="RGB")
    scored = ds.map_batches(Model, batch_size=64, concurrency=1)
    for batch in scored.iter_batches(batch_size=None):
        yield from batch["score"]


def ray_data(folder: str) -> Iterator[float]:
    """Its defaults."""
    import ray.data

    with quiet_peer():
        ds = ray.data.read_images(folder, size=(SIDE, SIDE), mode="RGB")
        scored = ds.map_batches(Model, batch_size=64, concurrency=1)
        for batch in scored.iter_batches(batch_size=None):
            yield from batch["score"]


def _decoded(paths: list[str]) -> np.ndarray[Any, Any]:
    from PIL import Image

    size = (SIDE, SIDE)
    return np.stack([np.asarray(Image.open(path).convert("RGB").resize(size, 2)) for path in paths])


def pillow(folder: str) -> Iterator[float]:
    """Two processes of Pillow, and the model in this one."""
    model = Model()
    paths = sorted(str(path) for path in Path(folder).iterdir())
    groups = [paths[start : start + 64] for start in range(0, len(paths), 64)]
    with ProcessPoolExecutor(2) as pool:
        for images in pool.map(_decoded, groups):
            yield from model({"image": images})["score"]


def daft(folder: str) -> Iterator[float]:
    """Its own runner, with the model as a class of its own kind."""
    import daft as engine
    from daft import col

    @engine.udf(return_dtype=engine.DataType.float32(), batch_size=64, concurrency=1)
    class Scores:
        def __init__(self) -> None:
            self.model = Model()

        def __call__(self, images: Any) -> Any:
            pixels = np.stack([np.asarray(image) for image in images.to_pylist()])
            return self.model({"image": pixels})["score"]

    frame = engine.from_glob_path(f"{folder}/*.jpg")
    image = col("path").download().decode_image(mode="RGB").resize(SIDE, SIDE)
    frame = frame.with_column("image", image).with_column("score", Scores(col("image")))
    yield from frame.select("score").to_pydict()["score"]


def measured(scores: Callable[[str], Iterator[float]], *, on_ray: bool = False) -> Numbers:
    """Runs it once; Ray runs before the time counts."""
    import contextlib

    with tempfile.TemporaryDirectory() as folder:
        written(folder)
        with CLUSTER.running() if on_ray else contextlib.nullcontext():
            started_s = time.monotonic()
            found = list(scores(folder))
            wall_s = time.monotonic() - started_s
    if len(found) != PICTURES:
        raise SystemExit(f"{len(found)} pictures came out instead of {PICTURES}")
    return {"wall": wall_s, "sum": float(np.sum(found))}


def elsewhere() -> Numbers:
    """Daft, in its own environment."""
    return by_daft("images", "images.measured(images.daft)")


CONTESTANTS: dict[str, Callable[[], Numbers]] = {
    "millstream local": lambda: measured(lambda folder: millstream(folder, "local")),
    "millstream Ray": lambda: measured(lambda folder: millstream(folder, "ray"), on_ray=True),
    "ray_data": lambda: measured(ray_data, on_ray=True),
    "pillow": lambda: measured(pillow),
    **({"daft": elsewhere} if "DAFT_PYTHON" in os.environ else {}),
}

if __name__ == "__main__":
    sys.modules["images"] = sys.modules["__main__"]
    Benchmark(
        name="images",
        contestants=CONTESTANTS,
        units={"wall": "s", "sum": ""},
        pairs=[
            (mine, peer)
            for mine in ("millstream local", "millstream Ray")
            for peer in ("ray_data", "pillow", "daft")
        ],
    ).main()
