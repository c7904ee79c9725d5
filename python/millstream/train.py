"""Ray Train fed by datasets: how they are divided among workers, and states in its checkpoints.

Owns these names. What Ray Train asks of a dataset is in `millstream.training`. Importing this loads
Ray Train.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from millstream.errors import ArgumentError, MissingPackageError
from millstream.errors.checks import check_flag

try:
    from ray.train import DataConfig as _DataConfig
except ImportError as error:
    raise MissingPackageError(
        f"millstream.train needs Ray Train: pip install 'ray[train]' ({error})"
    ) from error

if TYPE_CHECKING:
    from millstream.data_iterator import DataIterator
    from millstream.dataset import Dataset

__all__ = ["DataConfig", "load_state", "save_state"]


class DataConfig(_DataConfig):  # type: ignore[misc] # Ray says no types
    """How Ray Train divides datasets among its workers.

    `DataParallelTrainer(…, dataset_config=DataConfig(…))`. Without it they are divided as here by
    default, but for options of Ray Data that Ray Train then sets.

    Args:
        datasets_to_split: Names of the datasets that workers share; `"all"`. Of the others each
            worker gets all rows.
        equal: Whether workers that share a dataset get equally many rows; see `streaming_split`.
        preserve_order: Whether blocks keep the order of the dataset; `None`: as the dataset's
            context says. States need it.

    Raises:
        ArgumentError: An argument makes no sense.

    Example:
        >>> import millstream.train                                 # doctest: +SKIP
        >>> config = millstream.train.DataConfig(["train"])         # doctest: +SKIP
    """

    def __init__(
        self,
        datasets_to_split: Literal["all"] | list[str] = "all",
        *,
        equal: bool = True,
        preserve_order: bool | None = None,
    ) -> None:
        is_list = isinstance(datasets_to_split, list | tuple)
        are_names = is_list and all(isinstance(name, str) for name in datasets_to_split)
        if datasets_to_split != "all" and not are_names:
            raise ArgumentError(
                f"datasets_to_split={datasets_to_split!r} must be 'all' or a list of names"
            )
        check_flag("equal", equal)
        if preserve_order is not None:
            check_flag("preserve_order", preserve_order)
        super().__init__(datasets_to_split=list(datasets_to_split) if is_list else "all")
        self._equal = equal
        self._preserve_order = preserve_order

    def configure(
        self,
        datasets: Mapping[str, Dataset],
        world_size: int,
        worker_handles: Sequence[Any] | None = None,
        worker_node_ids: Sequence[str] | None = None,
        **_options: Any,
    ) -> list[dict[str, DataIterator]]:
        """Divides the datasets. Ray Train calls this.

        Args:
            datasets: By name.
            world_size: How many workers there are.
            worker_handles: Without effect.
            worker_node_ids: Where the workers are.

        Returns:
            For each worker its iterators, by name.
        """
        output: list[dict[str, DataIterator]] = [{} for _ in range(world_size)]
        for name, dataset in datasets.items():
            own = dataset.copy()
            if self._preserve_order is not None:
                own.context.preserve_order = self._preserve_order
            if self._datasets_to_split == "all" or name in self._datasets_to_split:
                parts = own.streaming_split(
                    world_size, equal=self._equal, locality_hints=worker_node_ids
                )
            else:
                parts = [own.iterator() for _ in range(world_size)]
            for worker, part in zip(output, parts, strict=True):
                worker[name] = part
        return output


def save_state(shard: DataIterator, folder: str | Path, name: str = "train") -> None:
    """Writes a worker's state into the folder of a checkpoint that it reports.

    All workers report at the same step; Ray Train puts their files together into one checkpoint.

    Args:
        shard: What `ray.train.get_dataset_shard(name)` gave.
        folder: The folder, as `Checkpoint.from_directory` takes it.
        name: The name of the dataset.

    Raises:
        ArgumentError: An iteration cannot go on from a state; or the name is none of a file.
    """
    _check_name(name)
    state = shard.state_dict()
    path = Path(folder) / f"{_PREFIX}{name}-{state['consumer']:05}.json"
    path.write_text(json.dumps(state))


def load_state(shard: DataIterator, folder: str | Path, name: str = "train") -> bool:
    """Has a worker's next iteration go on where the workers were that saved their states.

    There may be other numbers of workers now.

    Args:
        shard: What `ray.train.get_dataset_shard(name)` gave.
        folder: The folder of the checkpoint, as `checkpoint.as_directory()` gives it.
        name: The name of the dataset.

    Returns:
        Whether there were states.

    Raises:
        ArgumentError: They are not those of all workers at one step, or of another dataset; or the
            name is none of a file.
    """
    _check_name(name)
    paths = [path for path in Path(folder).iterdir() if re.fullmatch(_FILE.format(name), path.name)]
    if not paths:
        return False
    try:
        states = [json.loads(path.read_text()) for path in sorted(paths)]
    except ValueError as error:
        raise ArgumentError(f"load_state: a state in {folder} is not JSON: {error}") from error
    shard.load_state_dict(states)
    return True


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        raise ArgumentError(f"name={name!r} must be letters, digits, '_', '-' and '.'")


#: How the files of states are called.
_PREFIX = "millstream-"
_FILE = _PREFIX + r"{}-\d{{5}}\.json"
