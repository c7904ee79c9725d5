"""Totals are exact where they are known, marked where they are estimates, and absent otherwise."""

from __future__ import annotations

from moments import op, physical, plan, snapshot

from millstream.observe.estimate import Progress, Rate, Total, progress_of, total_rows

READ = physical("Read", "source")
MAP = physical("Map")


def test_a_source_whose_rows_are_known_has_an_exact_total():
    known = plan(physical("Read", "source", rows_out=500))
    assert total_rows(known, snapshot(op(units_total=9))) == [Total(500, is_exact=True)]


def test_nothing_is_known_of_a_source_before_its_first_unit_is_done():
    assert total_rows(plan(READ), snapshot(op(units_total=9, rows_out=3))) == [None]


def test_a_source_is_extrapolated_from_its_units():
    moment = snapshot(op(units_total=10, units_done=4, tasks_running=2, rows_out=500))
    assert total_rows(plan(READ), moment) == [Total(1000, is_exact=False)]


def test_a_source_whose_functions_may_change_the_rows_is_estimated_until_its_units_tell():
    probable = plan(physical("Read->Map", "source", rows_out=500, is_rows_out_certain=False))
    early = op(units_total=100, units_done=3, tasks_running=2, rows_out=10)
    assert total_rows(probable, snapshot(early)) == [Total(500, is_exact=False)]
    later = op(units_total=100, units_done=49, tasks_running=2, rows_out=100)
    assert total_rows(probable, snapshot(later)) == [Total(200, is_exact=False)]


def test_what_is_done_is_exact():
    moment = snapshot(op(state="done", rows_out=7), op(rows_in=2, rows_out=6))
    assert total_rows(plan(READ, MAP), moment) == [
        Total(7, is_exact=True),
        Total(21, is_exact=False),
    ]


def test_an_operator_that_has_consumed_nothing_has_no_total():
    moment = snapshot(op(state="done", rows_out=7), op(rows_out=1))
    assert total_rows(plan(READ, MAP), moment)[1] is None


def test_a_total_is_never_less_than_what_is_there():
    moment = snapshot(op(units_total=10, units_done=10, tasks_running=9, rows_out=500))
    assert total_rows(plan(READ), moment) == [Total(500, is_exact=False)]


def test_progress_counts_the_rows_of_the_consumer():
    moment = snapshot(op(state="done", rows_out=8), output_rows=2)
    assert progress_of(plan(READ), moment) == Progress(2, Total(8, is_exact=True), "row")


def test_progress_of_a_write_counts_the_rows_that_are_written():
    moment = snapshot(op(state="done", rows_out=8), op(rows_in=6, rows_out=1))
    assert progress_of(plan(READ, MAP, writes=True), moment).done == 6


def test_progress_of_a_write_within_a_source_counts_units():
    moment = snapshot(op(units_total=8, units_done=6, rows_out=1))
    progress = progress_of(plan(READ, writes=True), moment)
    assert (progress.done, progress.unit, progress.share) == (6, "unit", 0.75)


def test_the_share_of_nothing_is_all_of_it():
    assert Progress(0, Total(0, is_exact=True), "row").share == 1.0
    assert Progress(5, None, "row").share is None


def test_the_rate_is_that_of_the_last_seconds():
    rate = Rate()
    assert rate.per_second() is None
    for second in range(1, 101):
        rate.add(float(second), 10 * min(second, 50))
    assert rate.per_second() == 0
    rate.add(101.0, 530)
    assert 0 < rate.per_second() < 2


def test_totals_of_limits_unions_and_zips_follow_from_those_above():
    reads = [physical(f"Read{rows}", "source", rows_out=rows) for rows in (500, 300)]
    union = physical("Union", "union", inputs=(0, 1))
    limit = physical("limit=600", "limit", limit_rows=600)
    other = physical("Read600", "source", rows_out=600)
    zipped = physical("Zip", "zip", inputs=(3, 4))
    made = plan(*reads, union, limit, other, zipped)
    totals = total_rows(made, snapshot(*[op(units_total=9) for _ in made.ops]))
    assert [total.count for total in totals] == [500, 300, 800, 600, 600, 600]
    assert [total.is_exact for total in totals] == [True, True, True, False, True, False]
