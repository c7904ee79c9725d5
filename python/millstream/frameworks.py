"""What the frameworks of training take: arrays of JAX, tensors of TensorFlow, datasets of torch.

Owns the public names and the checks of their arguments. `millstream.feed` owns what becomes of a
column.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from millstream.errors import ArgumentError
from millstream.errors.checks import check_count
from millstream.errors.packages import require_package
from millstream.iteration import Iteration, batch_options
from millstream.schema import Schema

if TYPE_CHECKING:
    from millstream.data_iterator import DataIterator
    from millstream.dataset import Dataset


class Frameworks(Iteration):
    """The part of what can be iterated over that feeds the frameworks of training."""

    @abstractmethod
    def schema(self) -> Schema | None:
        """The columns and their types; `None` if they are not known."""

    @abstractmethod
    def _for_loader(self) -> tuple[DataIterator, Dataset | None]:
        """What iterates in this process, and the dataset that workers of a loader divide."""

    def to_torch_dataset(
        self,
        *,
        batch_size: int | None = None,
        dtypes: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        prefetch_batches: int = 1,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Any:
        """A `torch.utils.data.IterableDataset` of the rows, for a `DataLoader`.

        Workers of the loader divide the rows: each reads its part of the files and runs the
        operators on the threads of its own process, so that each row comes once. After an operator
        that needs all rows, such as `limit` or `sort`, each runs all of it and gives its part.
        Without workers the dataset runs where it always does.

        It has `state_dict` and `load_state_dict`, with which torchdata's `StatefulDataLoader` goes
        on where it stopped, and `set_epoch`.

        Args:
            batch_size: Rows of each element, which is a batch of tensors as `iter_torch_batches`
                gives it: pass `batch_size=None` to the loader then. `None`: each element is a row,
                in which arrays of numbers are tensors, and the loader makes batches.
            dtypes: As in `iter_torch_batches`; of batches only.
            collate_fn: As in `iter_torch_batches`; of batches only.
            drop_last: As in `iter_batches`, for each worker; of batches only.
            prefetch_batches: As in `iter_batches`; of batches only.
            local_shuffle_buffer_size: As in `iter_batches`, within the part of each worker.
            local_shuffle_seed: As in `iter_batches`.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: torch is not installed.
        """
        shuffle = {
            "local_shuffle_buffer_size": local_shuffle_buffer_size,
            "local_shuffle_seed": local_shuffle_seed,
        }
        batches = batch_options(batch_size, drop_last, prefetch_batches, *shuffle.values())
        require_package("torch", "to_torch_dataset", "torch", "torch")
        from millstream.torch_dataset import TorchDataset, torch_batches, torch_rows

        source, dataset = self._for_loader()
        draws_anew = local_shuffle_buffer_size is not None and local_shuffle_seed is None
        if batch_size is not None:
            options = {"dtypes": dtypes, "collate_fn": collate_fn, **batches}
            make = partial(torch_batches, options=options)
            return TorchDataset(
                source, dataset, make, batch_size, drops_last=drop_last, draws_anew=draws_anew
            )
        only_batches = {"dtypes": dtypes, "collate_fn": collate_fn, "drop_last": drop_last or None}
        for name, value in only_batches.items():
            if value is not None:
                raise ArgumentError(f"{name}={value!r} is of batches: pass batch_size too")
        make_rows = partial(torch_rows, shuffle=shuffle)
        return TorchDataset(source, dataset, make_rows, draws_anew=draws_anew)

    def iter_jax_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int = 256,
        dtypes: Any = None,
        collate_fn: Callable[[dict[str, Any]], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        paddings: Any = None,
    ) -> Iterable[Any]:
        """Runs the dataset and gives its rows in batches, as arrays of JAX by column.

        Columns of numbers, booleans and tensors become arrays; tensors of several shapes a list of
        them. Other columns, and nulls, are an error that names the column, unless `collate_fn`
        makes numbers of them. Where JAX has several devices, each batch is divided among them by
        rows; with several processes the arrays are global, and each process gives its part.

        Without `jax_enable_x64` JAX has no types of 64 bits: floats become those of 32 bits, as JAX
        does it; an integer that needs more is an error that names the column.

        Args:
            prefetch_batches: As in `iter_batches`.
            batch_size: As in `iter_batches`, of each process: a multiple of its devices.
            dtypes: The JAX type of all arrays, or a dict of those of some columns; by default
                those of the columns.
            collate_fn: Makes of a batch, a dict of arrays, another one, or one array.
            drop_last: As in `iter_batches`.
            local_shuffle_buffer_size: As in `iter_batches`.
            local_shuffle_seed: As in `iter_batches`.
            paddings: A number that fills up a last batch that is shorter, or a dict of those of
                some columns; `None`: it stays shorter.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: JAX is not installed.
        """
        from millstream.feed.jax import ToJax

        check_count("batch_size", batch_size, optional=False)
        if collate_fn is not None and not callable(collate_fn):
            raise ArgumentError(f"collate_fn={collate_fn!r} must be a function of a dict of arrays")
        batches = batch_options(
            batch_size, drop_last, prefetch_batches, local_shuffle_buffer_size, local_shuffle_seed
        )
        convert = ToJax(dtypes, paddings, batch_size, collate_fn)
        return self._batches(batches, convert=convert)

    def iter_tf_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterable[dict[str, Any]]:
        """Runs the dataset and gives its rows in batches, as tensors of TensorFlow by column.

        Columns of numbers, booleans, texts, bytes and tensors become tensors, lists and tensors of
        several shapes a `tf.RaggedTensor`. Other columns, and nulls, are an error that names the
        column.

        Args:
            prefetch_batches: As in `iter_batches`.
            batch_size: As in `iter_batches`.
            dtypes: The TensorFlow type of all tensors, or a dict of those of some columns; by
                default those of the columns.
            drop_last: As in `iter_batches`.
            local_shuffle_buffer_size: As in `iter_batches`.
            local_shuffle_seed: As in `iter_batches`.

        Returns:
            An iterable; each iteration is a run of its own, and ends when it is left.

        Raises:
            ArgumentError: An argument makes no sense.
            MissingPackageError: TensorFlow is not installed.
        """
        from millstream.feed.tf import ToTf

        batches = batch_options(
            batch_size, drop_last, prefetch_batches, local_shuffle_buffer_size, local_shuffle_seed
        )
        return self._batches(batches, convert=ToTf("iter_tf_batches", dtypes))

    def to_tf(
        self,
        feature_columns: str | Sequence[str],
        label_columns: str | Sequence[str],
        *,
        additional_columns: str | Sequence[str] | None = None,
        prefetch_batches: int = 1,
        batch_size: int = 1,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
        feature_type_spec: Any = None,
        label_type_spec: Any = None,
        additional_type_spec: Any = None,
    ) -> Any:
        """A `tf.data.Dataset` of features and labels, as `tf.keras.Model.fit` takes it.

        Each iteration over it is a run of its own. Its element is a tuple of features, labels and,
        if they are asked for, additional columns: each one tensor, or a dict of them.

        Args:
            feature_columns: The column of features, or several, which then are a dict.
            label_columns: The column of labels, or several.
            additional_columns: A column of something else, such as weights, or several; `None`:
                none.
            prefetch_batches: As in `iter_batches`.
            batch_size: As in `iter_batches`.
            drop_last: As in `iter_batches`.
            local_shuffle_buffer_size: As in `iter_batches`.
            local_shuffle_seed: As in `iter_batches`.
            feature_type_spec: A `tf.TypeSpec`, or a dict of them; `None`: from the schema.
            label_type_spec: As `feature_type_spec`.
            additional_type_spec: As `feature_type_spec`.

        Raises:
            ArgumentError: An argument makes no sense, or types are neither known nor given.
            SchemaError: A column cannot be a tensor.
            MissingPackageError: TensorFlow is not installed.
        """
        from millstream.feed import tf

        check_count("batch_size", batch_size, optional=False)
        batches = batch_options(
            batch_size, drop_last, prefetch_batches, local_shuffle_buffer_size, local_shuffle_seed
        )
        parts = [
            tf.Parts("feature_columns", feature_columns, feature_type_spec),
            tf.Parts("label_columns", label_columns, label_type_spec),
        ]
        if additional_columns is not None:
            parts.append(tf.Parts("additional_columns", additional_columns, additional_type_spec))
        schema = self.schema()

        def run(convert: Callable[[Any], Any]) -> Iterable[Any]:
            return self._batches(batches, convert=convert)

        return tf.to_tf(parts, None if schema is None else schema.base_schema, run)
