"""Several consumers that go on where others, of another number, stopped: each row once in all."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import millstream as ms
from millstream.errors import ArgumentError


def steps(part, count, batch_size=5):
    """The first batches of the next iteration, and the state after them."""
    rows = []
    for batch in part.iter_batches(batch_size=batch_size):
        rows += batch["id"].tolist()
        count -= 1
        if not count:
            break
    return rows, part.state_dict()


def train(dataset, consumers, count, states=None, *, equal=False, batch_size=5):
    """What each consumer got in so many steps, and the states then, as a checkpoint has them."""
    parts = dataset.streaming_split(consumers, equal=equal)
    for part in parts if states is not None else []:
        part.load_state_dict(json.loads(json.dumps(states)))
    with ThreadPoolExecutor(consumers) as pool:
        found = list(pool.map(lambda part: steps(part, count, batch_size), parts))
    return [rows for rows, _ in found], [state for _, state in found]


def pipeline():
    numbers = ms.range(300, override_num_blocks=60)
    pieces = numbers.flat_map(lambda row: [row] * (row["id"] % 3)).filter(lambda r: r["id"] % 5)
    return pieces.map_batches(Same, concurrency=2, batch_size=4)


class Same:
    def __call__(self, batch):
        return batch


WHOLE = sorted(number for number in range(300) for _ in range(number % 3) if number % 5)


def are_over(states):
    return all(state["is_over"] or state["epoch"] == 1 for state in states)


resizes = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 6)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=15)
@given(resizes, st.integers(1, 4), st.booleans(), st.integers(1, 9))
def test_each_row_comes_once_however_many_go_on(before, last, equal, batch_size):
    found, states = [], None
    for consumers, count in before:
        rows, states = train(
            pipeline(), consumers, count, states, equal=equal, batch_size=batch_size
        )
        assert all(part == sorted(part) for part in rows)
        found += chain(*rows)
        if are_over(states):
            break
    else:
        consumers = last
        rows, states = train(pipeline(), last, 10_000, states, equal=equal)
        found += chain(*rows)
    assert are_over(states)
    if equal:
        assert len({len(part) for part in rows}) == 1
    assert len(WHOLE) - len(found) < (consumers if equal else 1)
    assert not Counter(found) - Counter(WHOLE)
    rows, _ = train(pipeline(), last, 10_000, states)
    assert sorted(chain(*rows)) == WHOLE


@pytest.mark.parametrize(
    "make",
    [
        lambda: ms.range(150, override_num_blocks=12).random_shuffle(seed=4),
        lambda: ms.range(150, override_num_blocks=12).sort("id", descending=True),
        lambda: ms.range(200, override_num_blocks=12).limit(150),
        lambda: ms.range(70).union(ms.range(220).filter(lambda row: row["id"] >= 70).limit(80)),
        lambda: ms.range(150).zip(ms.range(150).rename_columns({"id": "other"})),
        lambda: ms.range(150, override_num_blocks=12).randomize_block_order(seed=2),
    ],
    ids=["shuffle", "sort", "limit", "union", "zip", "order"],
)
def test_behind_operators_that_mix_units(make):
    first, states = train(make(), 3, 4)
    second, states = train(make(), 2, 5, states)
    rest, _ = train(make(), 1, 1000, states)
    assert sorted(chain(*first, *second, *rest)) == list(range(150))


def test_one_consumer_goes_on_after_several_and_the_other_way():
    iterator = ms.range(200, override_num_blocks=20).iterator()
    first, state = steps(iterator, 9)
    second, states = train(ms.range(200, override_num_blocks=20), 3, 4, state)
    iterator = ms.range(200, override_num_blocks=20).iterator()
    iterator.load_state_dict(states)
    assert first == list(range(45))
    assert sorted([*first, *chain(*second), *steps(iterator, 1000)[0]]) == list(range(200))


def folder_of(path, files=40, rows=25):
    path.mkdir()
    for number in range(files):
        ids = range(number * rows, (number + 1) * rows)
        (path / f"{number:03}.csv").write_text("id\n" + "".join(f"{value}\n" for value in ids))
    return path


@pytest.mark.parametrize("consumers", [1, 2])
def test_files_that_were_had_are_not_read_again(tmp_path, consumers):
    folder = folder_of(tmp_path / "data")

    def read():
        return ms.read_csv(folder, override_num_blocks=40).map_batches(Same, concurrency=1)

    before, states = train(read(), consumers, 80 // consumers, states=None, batch_size=10)
    assert sorted(chain(*before)) == list(range(800))
    # Who reads those of the first half again gets other rows.
    for number in range(20):
        path = folder / f"{number:03}.csv"
        path.write_text("".join("7" if each.isdigit() else each for each in path.read_text()))
    rest, _ = train(read(), consumers, 1000, states)
    assert sorted([*chain(*before), *chain(*rest)]) == list(range(1000))


def test_other_units_with_the_same_rows_are_read_from_the_beginning():
    first, states = train(ms.range(200, override_num_blocks=20), 2, 5)
    assert states[0]["unit"] is not None
    rest, _ = train(ms.range(200, override_num_blocks=7), 2, 1000, states)
    assert sorted(chain(*first, *rest)) == list(range(200))


def test_columns_that_only_rows_before_had_are_there():
    def some(batch):
        return {**batch, "early": batch["id"]} if batch["id"][0] < 30 else batch

    def make():
        return ms.range(60, override_num_blocks=60).map_batches(some)

    iterator = make().iterator()
    rows = iterator.iter_batches(batch_size=10, batch_format="pyarrow")
    names = [next(iter(rows)).column_names]
    iterator = make().iterator()
    for batch in iterator.iter_batches(batch_size=10, batch_format="pyarrow"):
        if batch["id"][0].as_py() == 40:
            break
    again = make().iterator()
    again.load_state_dict(iterator.state_dict())
    names += [batch.column_names for batch in again.iter_batches(batch_format="pyarrow")]
    assert names == [["id", "early"]] * 2


def test_states_that_do_not_belong_together():
    _, states = train(ms.range(200, override_num_blocks=20), 3, 4)
    _, others = train(ms.range(200, override_num_blocks=20), 3, 1000)
    others[2].update(epoch=1, is_over=False)
    (part,) = ms.range(200, override_num_blocks=20).streaming_split(1)
    with pytest.raises(ArgumentError, match=r"consumers \[0, 2\] were passed, and 3 consumers"):
        part.load_state_dict([states[0], states[2]])
    with pytest.raises(ArgumentError, match=r"consumers \[0, 0, 1\] were passed"):
        part.load_state_dict([states[0], states[0], states[1]])
    with pytest.raises(ArgumentError, match=r"states are of epochs \[0, 1\]"):
        part.load_state_dict([states[0], states[1], others[2]])


def test_all_consumers_go_on_from_the_same_states():
    _, states = train(ms.range(200, override_num_blocks=20), 2, 4)
    first, second = ms.range(200, override_num_blocks=20).streaming_split(2)
    first.load_state_dict(states)
    begun = iter(first.iter_rows())
    next(begun)
    with pytest.raises(ArgumentError, match="consumer 1 begins epoch 0 from another state"):
        next(iter(second.iter_rows()))
    begun.close()


def test_a_local_shuffle_of_one_of_several_has_no_state():
    part, other = ms.range(200).streaming_split(2)
    other.iter_rows()
    rows = iter(part.iter_batches(batch_size=5, local_shuffle_buffer_size=9, local_shuffle_seed=1))
    next(rows)
    with pytest.raises(ArgumentError, match="shuffle the dataset before it is split"):
        part.state_dict()
    rows.close()
    whole = ms.range(200).iterator()
    shuffled = whole.iter_batches(batch_size=5, local_shuffle_buffer_size=9, local_shuffle_seed=1)
    next(iter(shuffled))
    with pytest.raises(ArgumentError, match="only a consumer of all rows can go on"):
        part.load_state_dict(whole.state_dict())
