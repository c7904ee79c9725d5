"""How an operator gets its workers: stateless tasks, or a pool of actors.

Owns the two strategies and the checks of their numbers. Knows nothing of operators or backends.
"""

from __future__ import annotations

from dataclasses import dataclass

from millstream.errors import ArgumentError
from millstream.errors.checks import check_count

#: One task that runs and one that waits at the same actor, so that its input is there in time.
TASKS_IN_FLIGHT_DEFAULT = 2
#: What an unbounded pool tells the core: the largest number that it takes.
ACTORS_UNBOUNDED = 2**32 - 1


@dataclass(frozen=True)
class TaskPoolStrategy:
    """Run an operator as stateless tasks.

    Args:
        size: How many tasks may run at a time; `None`: as many as there is room for.

    Raises:
        ArgumentError: `size` is not a whole number of at least 1.

    Example:
        >>> import millstream as ms
        >>> ds = ms.range(10).map_batches(lambda b: b, compute=ms.TaskPoolStrategy(size=2))
    """

    size: int | None = None

    def __post_init__(self) -> None:
        check_count("size", self.size)


@dataclass(frozen=True, init=False)
class ActorPoolStrategy:
    """Run an operator on a pool of actors, each of which constructs the user's class once.

    The pool grows when work waits, and is bounded by `min_size` and `max_size`.

    Args:
        size: A fixed number of actors. Excludes the other three sizes.
        min_size: The smallest pool; default 1. A cluster on which it can never fit is refused
            before anything starts.
        max_size: The largest pool; `None`: as many as there is room for.
        initial_size: With how many actors the pool starts; it then is the smallest pool too. Where
            so many never fit, `min_size` is both.
        max_tasks_in_flight_per_actor: Tasks that run or wait at one actor; default 2.

    Raises:
        ArgumentError: A size is not a whole number of at least 1, or they contradict each other.

    Example:
        >>> import millstream as ms
        >>> ms.ActorPoolStrategy(min_size=1, max_size=4)
        ActorPoolStrategy(min_size=1, max_size=4)
    """

    min_size: int
    max_size: int | None
    initial_size: int
    max_tasks_in_flight_per_actor: int

    def __init__(
        self,
        *,
        size: int | None = None,
        min_size: int | None = None,
        max_size: int | None = None,
        initial_size: int | None = None,
        max_tasks_in_flight_per_actor: int | None = None,
    ) -> None:
        check_count("size", size)
        check_count("min_size", min_size)
        check_count("max_size", max_size)
        check_count("initial_size", initial_size)
        check_count("max_tasks_in_flight_per_actor", max_tasks_in_flight_per_actor)
        if size is not None:
            if (min_size, max_size, initial_size) != (None, None, None):
                raise ArgumentError(
                    f"size={size} fixes the pool: leave out min_size, max_size and initial_size"
                )
            min_size = max_size = size
        least = min_size or 1
        first = initial_size or least
        most = max_size
        if most is not None and least > most:
            raise ArgumentError(f"min_size={least} is more than max_size={most}")
        if first < least or (most is not None and first > most):
            raise ArgumentError(
                f"initial_size={first} is not between min_size={least} and max_size={most}"
            )
        object.__setattr__(self, "min_size", least)
        object.__setattr__(self, "max_size", most)
        object.__setattr__(self, "initial_size", first)
        object.__setattr__(
            self,
            "max_tasks_in_flight_per_actor",
            max_tasks_in_flight_per_actor or TASKS_IN_FLIGHT_DEFAULT,
        )

    def __repr__(self) -> str:
        parts = [f"min_size={self.min_size}", f"max_size={self.max_size}"]
        if self.initial_size != self.min_size:
            parts.append(f"initial_size={self.initial_size}")
        if self.max_tasks_in_flight_per_actor != TASKS_IN_FLIGHT_DEFAULT:
            parts.append(f"max_tasks_in_flight_per_actor={self.max_tasks_in_flight_per_actor}")
        return f"ActorPoolStrategy({', '.join(parts)})"


ComputeStrategy = TaskPoolStrategy | ActorPoolStrategy
