"""Makes the Parquet files beside it: `python tests/io/ray_files/make.py`, with `ray[data]==2.60.0`.

They are kept, since tests should need neither Ray Data nor a cluster to read what it has written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import ray
import ray.data
from ray.data._internal.tensor_extensions.arrow import (
    FixedShapeTensorFormat,
)


def objects(*rows: object) -> np.ndarray:
    made = np.empty(len(rows), object)
    made[:] = rows
    return made


def fixed() -> dict[str, np.ndarray]:
    numbers = np.arange(18)
    return {
        "floats": numbers.reshape(3, 2, 3).astype(np.float32),
        "halves": numbers.reshape(3, 2, 3).astype(np.float16),
        "flags": numbers.reshape(3, 2, 3) % 2 == 0,
        "bytes": numbers[:12].reshape(3, 4).astype(np.uint8),
    }


BATCHES = {
    "fixed_v1": fixed(),
    "fixed_v2": fixed(),
    "fixed_native": fixed(),
    "ragged": {
        "planes": objects(np.ones((1, 2)), np.zeros((2, 2)), np.full((3, 1), 7.0)),
        "lines": objects(np.arange(1), np.arange(2), np.arange(3)),
        "flags": objects(np.ones((1, 2), bool), np.zeros((2, 2), bool), np.ones((3, 3), bool)),
    },
    "empty": {"x": np.ones((3, 2, 0))},
    "texts": {"x": np.array([["a", "b"], ["äö", ""], ["e", "long"]])},
    "pickled": {"x": objects({1, 2}, object, 3), "y": np.arange(3)},
}


def write(folder: Path, name: str, batch: dict[str, np.ndarray]) -> None:
    formats = FixedShapeTensorFormat
    chosen = {"fixed_v1": formats.V1, "fixed_native": formats.ARROW_NATIVE}.get(name, formats.V2)
    ray.data.DataContext.get_current().arrow_fixed_shape_tensor_format = chosen
    rows = ray.data.range(3, override_num_blocks=1)
    rows.map_batches(lambda _: batch, batch_size=None).write_parquet(
        str(folder / name), compression="none"
    )
    (written,) = (folder / name).glob("*.parquet")
    written.rename(folder / f"{name}.parquet")
    (folder / name).rmdir()


if __name__ == "__main__":
    assert ray.__version__ == "2.60.0"
    ray.init(num_cpus=1, object_store_memory=100 << 20, include_dashboard=False)
    for name, batch in BATCHES.items():
        write(Path(__file__).parent, name, batch)
