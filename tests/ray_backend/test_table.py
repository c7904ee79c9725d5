"""The table at which runs meet: who is told what, and when."""

from __future__ import annotations

import pytest

from millstream.run.ray.table import Report, Share, Table


def share(cpu, store_bytes=0):
    return Share(float(cpu), 0.0, {}, store_bytes)


TOTAL = {"one": share(8, 800)}
NOTHING = {"one": share(0)}
ONE_MORE = share(1, 10)


def shares(answer):
    """The new shares of the runs, without the rest of what they are told."""
    return {run: told.shares for run, told in answer.items()}


def report(goes_by, held=NOTHING, *, weight=1, total=TOTAL, wanted=ONE_MORE, **minimum):
    return Report(weight, total, held, goes_by, wanted, **minimum)


@pytest.fixture
def table():
    """A table to which drivers `a` and `b` come."""
    return Table(lambda: {"a", "b"})


def test_nothing_is_divided_before_all_drivers_have_come(table):
    assert shares(table.exchange("b", {0: report(NOTHING)})) == {0: {}}
    assert shares(table.exchange("a", {0: report(TOTAL, TOTAL)})) == {0: {"one": share(4, 400)}}


def test_a_share_is_free_when_who_had_it_says_so(table):
    table.exchange("b", {0: report(NOTHING)})
    told = table.exchange("a", {0: report(TOTAL)})[0].shares
    assert shares(table.exchange("b", {0: report(NOTHING)})) == {0: {}}
    assert shares(table.exchange("a", {0: report(told, {"one": share(6)})})) == {0: {}}
    assert shares(table.exchange("b", {0: report(NOTHING)})) == {0: {"one": share(2, 400)}}


def test_what_was_told_is_told_until_the_run_goes_by_it(table):
    table.exchange("b", {0: report(NOTHING)})
    told = table.exchange("a", {0: report(TOTAL)})
    assert table.exchange("a", {0: report(TOTAL)}) == told
    assert shares(table.exchange("a", {0: report(told[0].shares)})) == {0: {}}


def test_weights_of_runs_of_one_driver():
    table = Table(lambda: {"a"})
    table.exchange("a", {0: report(NOTHING, weight=3), 1: report(NOTHING)})
    told = table.exchange("a", {0: report(NOTHING, weight=3), 1: report(NOTHING)})
    assert shares(told) == {0: {"one": share(6, 600)}, 1: {"one": share(2, 200)}}


def test_what_a_driver_had_that_is_gone_is_free():
    drivers = {"a", "b"}
    table = Table(lambda: set(drivers))
    table.exchange("a", {0: report(NOTHING)})
    half = {"one": share(4, 400)}
    assert shares(table.exchange("b", {0: report(NOTHING)})) == {0: half}
    drivers.remove("a")
    assert shares(table.exchange("b", {0: report(half, half)})) == {0: TOTAL}


def test_a_node_has_what_the_run_says_that_knows_of_most(table):
    table.exchange("a", {0: report(NOTHING, total={"one": share(8, 600)})})
    told = table.exchange("b", {0: report(NOTHING)})
    assert shares(told) == {0: {"one": share(4, 400)}}


def test_a_node_that_no_run_knows_any_more_is_forgotten():
    table = Table(lambda: {"a"})
    both = {**TOTAL, "two": share(2, 100)}
    told = table.exchange("a", {0: report({**NOTHING, "two": share(0)}, total=both)})
    assert shares(told) == {0: both}
    assert shares(table.exchange("a", {0: report(TOTAL)})) == {0: {}}


def pool(name, actors, *, node=None, at_rest=False):
    """What a run says that has a pool of actors of one CPU each, and a reader."""
    return {
        "name": name,
        "seats": ((share(1), node),) * actors,
        "tasks": (share(1),),
        "task_wanted": None if at_rest else share(1),
        "is_at_rest": at_rest,
    }


def test_a_run_waits_as_a_whole_until_its_pools_fit():
    table = Table(lambda: {"a"})
    first, second = pool("first", 5), pool("second", 4)
    reports = {0: report(NOTHING, **first), 1: report(NOTHING, **second)}
    told = table.exchange("a", reports)
    assert [told[run].is_admitted for run in (0, 1)] == [True, False]
    assert told[0].shares["one"].cpu == 8
    assert told[1].shares == {}, "nothing, which it goes by already"
    assert not told[1].is_stuck, "the first goes on"
    told = table.exchange("a", {1: report(NOTHING, **second)})
    assert told[1].is_admitted


def test_who_waits_for_runs_that_wait_for_their_consumers_hears_who_holds_what():
    table = Table(lambda: {"a"})
    resting = pool("first", 5, node="one", at_rest=True)
    reports = {
        0: report(TOTAL, {"one": share(5)}, **resting),
        1: report(NOTHING, **pool("second", 4)),
        2: report(NOTHING, **pool("third", 4)),
    }
    told = table.exchange("a", reports)
    assert [told[run].is_admitted for run in (0, 1, 2)] == [True, False, False]
    assert told[1].holders == (("first", share(5)),)
    assert str(told[1].holders[0][1]) == "5 CPU"
    assert [told[run].is_stuck for run in (0, 1, 2)] == [False, False, True], "the last one only"


def test_a_run_inside_a_loop_passes_one_that_does_not_fit():
    table = Table(lambda: {"a"})
    reports = {
        0: report(TOTAL, {"one": share(4)}, **pool("outer", 4, node="one", at_rest=True)),
        1: report(NOTHING, **pool("large", 6)),
        2: report(NOTHING, **pool("inner", 3)),
    }
    told = table.exchange("a", reports)
    assert [told[run].is_admitted for run in (0, 1, 2)] == [True, False, True]
