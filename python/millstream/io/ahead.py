"""Requests whose answers are needed one after the other, made several at a time.

Owns the threads and how far they run ahead. Must not know what is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


@contextmanager
def ahead(
    ask: Callable[[Question], Answer], questions: Iterable[Question]
) -> Iterator[Iterator[Answer]]:
    """Gives the answers in the order of the questions, while the next ones are under way.

    Args:
        ask: Waits for an answer, on some thread.
        questions: Are asked when it is their turn, or a little before.
    """
    left = iter(questions)
    first = list(islice(left, 1))
    if not first:
        yield iter(())
        return
    pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="millstream-listing")
    try:
        yield _answers(pool, ask, left, first[0])
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _answers(
    pool: ThreadPoolExecutor,
    ask: Callable[[Question], Answer],
    left: Iterator[Question],
    first: Question,
) -> Iterator[Answer]:
    waiting: deque[Future[Answer]] = deque([pool.submit(ask, first)])
    while waiting:
        waiting.extend(pool.submit(ask, each) for each in islice(left, REQUESTS - len(waiting)))
        yield waiting.popleft().result()


#: Requests under way: as many answers as come in the time of one of them.
REQUESTS = 16
