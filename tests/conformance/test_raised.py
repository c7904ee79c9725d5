"""Whatever user code raises ends the run with an error that says what; it never hangs."""

from __future__ import annotations

import asyncio
import sys

import pytest
from pipelines import batches, read, start

from millstream.errors import UserCodeError


def function(kind, text):
    def fails(batch):
        raise kind(text)

    return fails


def generator(kind, text):
    def fails(batch):
        yield batch
        raise kind(text)

    return fails


def coroutine(kind, text):
    async def fails(batch):
        await asyncio.sleep(0)
        raise kind(text)

    return fails


def async_generator(kind, text):
    async def fails(batch):
        yield batch
        raise kind(text)

    return fails


#: What takes programs, threads or coroutines down elsewhere.
RAISED = [
    (KeyboardInterrupt, "from a library"),
    (SystemExit, "no licence found"),
    (GeneratorExit, "left"),
    (BaseException, "bare"),
    (asyncio.CancelledError, "cancelled"),
    (StopIteration, "stopped"),
    (MemoryError, "large"),
]


@pytest.mark.parametrize("make", [function, generator, coroutine, async_generator])
@pytest.mark.parametrize(("kind", "text"), RAISED, ids=[kind.__name__ for kind, _ in RAISED])
def test_whatever_a_function_raises_is_an_error_of_it(backend, make, kind, text):
    run = start(backend, read(2, 1), batches(make(kind, text)))
    # Python itself makes this one of the other, but in plain functions.
    name = "RuntimeError" if kind is StopIteration and make is not function else kind.__name__
    with pytest.raises(UserCodeError, match=rf"batch 0 .* raised {name}") as caught:
        list(run)
    assert caught.value.operator == "MapBatches(fails)"


@pytest.mark.parametrize(("kind", "text"), RAISED, ids=[kind.__name__ for kind, _ in RAISED])
def test_whatever_a_constructor_raises_is_an_error_of_it(backend, kind, text):
    class Model:
        def __init__(self):
            raise kind(text)

        def __call__(self, batch):
            return batch

    model = batches(Model, kind="actors", actors_min=1, actors_max=1)
    with pytest.raises(
        UserCodeError, match=f"the constructor of Model raised {kind.__name__}: {text}"
    ):
        list(start(backend, read(2, 1), model))


def test_a_constructor_that_exits_tells_its_last_words(backend):
    class Model:
        def __init__(self):
            sys.exit("no licence found")

        def __call__(self, batch):
            return batch

    with pytest.raises(UserCodeError, match="SystemExit: no licence found") as caught:
        list(start(backend, read(2, 1), batches(Model, kind="actors")))
    assert caught.value.operator == "MapBatches(Model)"
