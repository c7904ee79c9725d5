"""Batches as tensors of TensorFlow, and as its datasets.

Owns which column becomes which tensor. Loads TensorFlow when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from millstream.blocks import tensor
from millstream.errors import ArgumentError, SchemaError
from millstream.errors.packages import require_package
from millstream.feed.arrays import Array, are_tensors, check_range, is_numeric, of_column, unfit

Columns = str | Sequence[str]


class ToTf:
    """Makes tensors of TensorFlow of a batch, a dict of column name to array.

    Args:
        user: The method that is called, for errors.
        dtypes: The type of all tensors, or those of some columns by name; `None`: those of the
            columns.
        ragged: Columns whose tensors are ragged, and no others; `None`: those whose tensors have
            several shapes.

    Raises:
        MissingPackageError: TensorFlow is not installed.
    """

    def __init__(self, user: str, dtypes: Any = None, ragged: frozenset[str] | None = None) -> None:
        require_package("tensorflow", user, "TensorFlow", "tensorflow")
        self._dtypes = dtypes
        self._ragged = ragged

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors, by column.

        Raises:
            SchemaError: A column cannot be one.
        """
        return {name: self._tensor(name, values) for name, values in batch.items()}

    def _tensor(self, name: str, values: Array) -> Any:
        import tensorflow as tf

        dtype = of_column(self._dtypes, name)
        has_shapes = are_tensors(values)
        is_ragged = has_shapes if self._ragged is None else name in self._ragged
        if is_ragged and (has_shapes or is_numeric(values)):
            stacked = tf.ragged.stack([self._numbers(name, each, dtype) for each in values])
            return stacked.with_row_splits_dtype(tf.int64)
        if has_shapes:
            raise SchemaError(
                f"column {name!r} has tensors of several shapes: pass a tf.RaggedTensorSpec for it"
            )
        if is_numeric(values):
            return self._numbers(name, values, dtype)
        if _is_text(values):
            return tf.convert_to_tensor(values, dtype)
        raise SchemaError(unfit(name, values, "TensorFlow", "make lists of numbers of it"))

    def _numbers(self, name: str, values: Array, dtype: Any) -> Any:
        import tensorflow as tf

        made = tf.convert_to_tensor(values)
        if dtype is None:
            return made
        target = tf.as_dtype(dtype)
        if target.is_integer:
            check_range(name, values, target.min, target.max, "pass a wider type in dtypes")
        return tf.cast(made, target)


class Parts:
    """What one place of an element of a TensorFlow dataset is made of.

    Args:
        argument: The argument that names the columns.
        columns: One column, whose tensor it is, or several, of which it is a dict.
        spec: What is known of its type: a `tf.TypeSpec`, or a dict of them; `None`: nothing.

    Raises:
        ArgumentError: The columns are none, or the spec is not of their form.
    """

    def __init__(self, argument: str, columns: Columns, spec: Any) -> None:
        self.names = [columns] if isinstance(columns, str) else list(columns)
        self._is_one = isinstance(columns, str)
        self._argument = argument
        if not self.names or not all(isinstance(name, str) for name in self.names):
            raise ArgumentError(
                f"{argument}={columns!r} must be the name of a column or several names"
            )
        if spec is not None and isinstance(spec, Mapping) == self._is_one:
            form = "one tf.TypeSpec" if self._is_one else "a dict with a tf.TypeSpec for each"
            raise ArgumentError(f"{argument}={columns!r} needs {form}, not {spec!r}")
        self._given = {columns: spec} if isinstance(columns, str) else dict(spec or {})

    def specs(self, schema: pa.Schema | None) -> Any:
        """The type of its tensors, as TensorFlow wants it beforehand.

        Raises:
            ArgumentError: There is no such column, or its type is not known.
            SchemaError: A column cannot be a tensor.
        """
        return self.put({name: self._spec(name, schema) for name in self.names})

    def put(self, tensors: Mapping[str, Any]) -> Any:
        """Its tensors in their form."""
        if self._is_one:
            return tensors[self.names[0]]
        return {name: tensors[name] for name in self.names}

    def _spec(self, name: str, schema: pa.Schema | None) -> Any:
        given = self._given.get(name)
        if given is not None:
            return given
        option = self._argument.replace("_columns", "_type_spec")
        if schema is None:
            raise ArgumentError(
                f"to_tf: the columns are not known before the dataset runs: pass {option} for "
                f"{name!r}"
            )
        index = schema.get_field_index(name)
        if index < 0:
            raise ArgumentError(
                f"{self._argument}: there is no column {name!r}; there are "
                f"{', '.join(map(repr, schema.names))}"
            )
        return _spec_of(name, schema.field(index).type, option)


def to_tf(
    parts: Sequence[Parts],
    schema: pa.Schema | None,
    batches: Callable[[Callable[[Any], Any]], Iterable[Any]],
) -> Any:
    """A `tf.data.Dataset` whose elements are tuples of parts.

    Args:
        parts: What an element is made of.
        schema: The columns, if they are known.
        batches: Gives batches, of which a function has made tensors.
    """
    require_package("tensorflow", "to_tf", "TensorFlow", "tensorflow")
    import tensorflow as tf

    signature = tuple(part.specs(schema) for part in parts)
    names = {name for part in parts for name in part.names}
    specs = {
        name: spec
        for part, found in zip(parts, signature, strict=True)
        for name, spec in (found if isinstance(found, dict) else {part.names[0]: found}).items()
    }
    ragged = {name for name, spec in specs.items() if isinstance(spec, tf.RaggedTensorSpec)}
    dtypes = {name: getattr(spec, "dtype", None) for name, spec in specs.items()}
    convert = ToTf("to_tf", dtypes, frozenset(ragged))

    def element(batch: Mapping[str, Any]) -> tuple[Any, ...]:
        found = convert({name: batch[name] for name in names})
        return tuple(part.put(found) for part in parts)

    made = tf.data.Dataset.from_generator(
        lambda: iter(batches(element)), output_signature=signature
    )
    # The rows are divided already: TensorFlow must not leave some of them out.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return made.with_options(options)


def _spec_of(name: str, type: pa.DataType, option: str) -> Any:
    import tensorflow as tf

    if tensor.is_tensor(type):
        dtype = _dtype_of(type.value_type)
        if isinstance(type, pa.FixedShapeTensorType):
            return tf.TensorSpec((None, *type.shape), dtype, name)
        dimensions = tensor.dimensions_of(type)
        if dtype is not None and dimensions is not None:
            # Each block may have its own shape: which, only the run knows.
            return tf.TensorSpec((None,) * (dimensions + 1), dtype, name)
    elif pa.types.is_list(type) or pa.types.is_large_list(type):
        dtype = _dtype_of(type.value_type)
        if dtype is not None:
            return tf.RaggedTensorSpec((None, None), dtype, 1)
    elif (dtype := _dtype_of(type)) is not None:
        return tf.TensorSpec((None,), dtype, name)
    raise SchemaError(
        f"column {name!r} is of type {type}, of which to_tf makes no tensor by itself: pass "
        f"{option}, leave it out, or make numbers of it (cast)"
    )


def _dtype_of(type: pa.DataType) -> Any:
    import tensorflow as tf

    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary)
    if any(is_kind(type) for is_kind in (*texts, pa.types.is_large_binary)):
        return tf.string
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
    is_known = any(is_kind(type) for is_kind in numbers)
    return tf.as_dtype(type.to_pandas_dtype()) if is_known else None


def _is_text(values: Array) -> bool:
    is_object = values.dtype == object
    return values.dtype.kind in "US" or (
        is_object and all(isinstance(each, str | bytes) for each in values)
    )
