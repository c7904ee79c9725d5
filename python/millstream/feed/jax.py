"""Batches as arrays of JAX.

Owns which column becomes which array, and how it is laid out over devices. Loads JAX when the first
batch is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from millstream.errors import ArgumentError, SchemaError
from millstream.errors.packages import require_package
from millstream.feed.arrays import Array, are_tensors, check_numeric, check_range, of_column


class ToJax:
    """Makes arrays of JAX of a batch, a dict of column name to array.

    On several devices the rows of each array are divided among them, over all processes.

    Args:
        dtypes: The type of all arrays, or those of some columns by name; `None`: those of the
            columns, as far as JAX has them.
        paddings: What fills up a last batch that is shorter: for all columns, or by name; `None`:
            nothing does.
        batch_rows: How many rows a batch has.
        collate_fn: Makes an array, or a dict of them, of a batch before.

    Raises:
        ArgumentError: The rows of a batch cannot be divided among the devices.
        MissingPackageError: JAX is not installed.
    """

    def __init__(
        self,
        dtypes: Any,
        paddings: Any,
        batch_rows: int,
        collate_fn: Callable[[dict[str, Any]], Any] | None,
    ) -> None:
        require_package("jax", "iter_jax_batches", "JAX", "jax")
        import jax

        self._dtypes = dtypes
        self._paddings = paddings
        self._batch_rows = batch_rows
        self._collate = collate_fn
        self._devices = jax.local_device_count()
        if batch_rows % self._devices:
            raise ArgumentError(
                f"batch_size={batch_rows} must be a multiple of the {self._devices} devices of JAX "
                "in this process, which divide each batch among them"
            )

    def __call__(self, batch: dict[str, Any]) -> Any:
        """The arrays, by column.

        Raises:
            SchemaError: A column cannot be one.
        """
        made = batch if self._collate is None else self._collate(batch)
        if isinstance(made, Mapping):
            return {name: self._column(name, values) for name, values in made.items()}
        return self._column("collate_fn's result", made)

    def _column(self, name: str, values: Any) -> Any:
        if isinstance(values, np.ndarray) and are_tensors(values):
            if self._devices > 1:
                raise SchemaError(
                    f"column {name!r} has tensors of several shapes, which cannot be divided among "
                    f"{self._devices} devices: make them equal with collate_fn"
                )
            return [self._array(name, each) for each in values]
        check_numeric(name, np.asarray(values), "JAX")
        return self._array(name, self._padded(name, np.asarray(values)))

    def _padded(self, name: str, values: Array) -> Array:
        missing = self._batch_rows - len(values)
        padding = of_column(self._paddings, name)
        if padding is None or missing <= 0:
            return values
        fill = np.full((missing, *values.shape[1:]), padding, values.dtype)
        return np.concatenate([values, fill])

    def _array(self, name: str, values: Array) -> Any:
        import jax

        dtype = of_column(self._dtypes, name)
        # What JAX makes of the type, with 64 bits or without.
        target = jax.dtypes.canonicalize_dtype(values.dtype if dtype is None else dtype)
        if np.issubdtype(target, np.integer):
            held = np.iinfo(target)
            check_range(name, values, int(held.min), int(held.max), _WIDER)
        values = values.astype(target, copy=False)
        if jax.device_count() == 1:
            return jax.device_put(values)
        return self._divided(name, values)

    def _divided(self, name: str, values: Array) -> Any:
        import jax
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        if len(values) % self._devices:
            raise SchemaError(
                f"column {name!r}: a batch of {len(values)} rows cannot be divided among "
                f"{self._devices} devices: pass drop_last=True or paddings"
            )
        mesh = Mesh(np.array(jax.devices()), ("data",))
        whole = (len(values) * jax.process_count(), *values.shape[1:])
        sharding = NamedSharding(mesh, PartitionSpec("data"))
        return jax.make_array_from_process_local_data(sharding, values, whole)


_WIDER = (
    "switch 64 bits on (jax.config.update('jax_enable_x64', True)), or pass a type that holds it "
    "in dtypes"
)
