"""The progress display tells the truth, in its documented form."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

from moments import node, op, physical, plan, snapshot

from millstream.observe.display import LiveDisplay, LogDisplay, NotebookDisplay, open_display
from millstream.observe.estimate import Progress, Rate, Total
from millstream.observe.progress import Lines, meter_text, operator_line, usage_text

GIB = 2**30
CLUSTER = [
    node((20, 64), (2, 2), (30 * GIB, 40 * GIB)),
    node((5, 48), (0, 0), (3.2 * GIB, 24 * GIB)),
]
PLAN = plan(physical("ReadVideo", "source"), physical("MapBatches(Model)", "actors"))


class Terminal(io.StringIO):
    def isatty(self):
        return True


def rate_of(done, seconds):
    rate = Rate()
    rate.add(seconds, done)
    return rate


def line(done, total, seconds=100.0, outcome="running", nodes=CLUSTER):
    progress = Progress(done, total, "row")
    usage = usage_text(snapshot(op(), nodes=nodes), outcome)
    return f"{usage} {meter_text(progress, rate_of(done, seconds), seconds, outcome)}"


def test_the_line_of_a_run_reads_as_designed():
    assert line(285, Total(1000, is_exact=True)) == (
        "Running: 25.0/112.0 CPU, 2.0/2.0 GPU, 33.2 GiB/64.0 GiB object_store_memory: "
        "28%|██▊       | 285/1,000 [01:40<04:10, 2.85row/s]"
    )


def test_an_estimated_total_is_marked():
    assert "| 285/~1,000 [01:40<04:10, " in line(285, Total(1000, is_exact=False))


def test_an_unknown_total_is_shown_as_unknown():
    assert line(285, None).endswith("object_store_memory: 285/? [01:40, 2.85row/s]")


def test_before_the_first_row_neither_rate_nor_end_are_guessed():
    assert line(0, Total(10, is_exact=True), 5.0).endswith("| 0/10 [00:05<?, ?row/s]")


def test_a_finished_run_shows_its_mean_rate_and_no_remaining_time():
    shown = line(1000, Total(1000, is_exact=True), outcome="finished", nodes=[node(peak=GIB / 2)])
    assert shown.startswith("Finished: at most 512.0 MiB/1.0 GiB object_store_memory: 100%")
    assert shown.endswith("100%|██████████| 1,000/1,000 [01:40, 10.0row/s]")


def test_a_run_that_was_stopped_claims_no_total():
    shown = line(3, Total(1000, is_exact=True), 1.0, outcome="stopped")
    assert shown.startswith("Stopped: ")
    assert shown.endswith("3/1,000 [00:01, 3.00row/s]")


def test_clusters_without_gpus_are_not_told_of_them():
    assert line(0, None, nodes=[node()]).startswith("Running: 1.0/2.0 CPU, 0 B/1.0 GiB object")


def test_a_cluster_without_nodes_can_be_shown():
    assert line(0, None, nodes=[node((0, 0), (0, 0), (0, 0))]).startswith("Running: 0.0/0.0 CPU")


def test_the_line_of_an_operator_counts_what_it_has_and_says_what_holds_it():
    counts = op(
        tasks_running=3,
        tasks_paused=1,
        actors_ready=2,
        actors_starting=1,
        queued_blocks=4,
        queued_bytes=GIB,
        rows_out=1234,
        tasks_retried=1,
        reason="actors_busy",
        details={"actors": 2},
    )
    assert operator_line("ActorPoolMap[M]", counts, Total(5000, is_exact=False), []) == (
        "ActorPoolMap[M]: 3 tasks (1 paused), 3 actors (1 loading), 4 blocks queued (1.0 GiB), "
        "1,234/~5,000 rows, 1 retried",
        "all 2 actors are busy",
    )


def test_an_operator_that_is_done_says_only_that():
    done = op(state="done", rows_out=5, reason="done")
    assert operator_line("T", done, Total(5, is_exact=True), []) == ("T: done, 5/5 rows", "")


def test_without_a_terminal_there_are_plain_lines_now_and_then():
    stream = io.StringIO()
    display = open_display(PLAN, operators=True, stream=stream)
    assert isinstance(display, LogDisplay)
    moment = snapshot(op(reason="input_empty"), op())
    for tenth in range(205):
        display.show(tenth / 10, moment)
    display.end(20.5, moment, "finished")
    written = stream.getvalue()
    assert len(re.findall(r"^Running: ", written, re.M)) == 2
    assert len(re.findall(r"^Finished: ", written, re.M)) == 1
    assert "  TaskPoolMap[ReadVideo]: 0 tasks, 0/? rows · waits for input\n" in written
    assert "\x1b" not in written


def test_short_runs_write_nothing():
    stream = io.StringIO()
    display = LogDisplay(PLAN, True, stream)
    display.show(0.1, snapshot(op(), op()))
    display.end(0.2, snapshot(op(), op()), "finished")
    assert stream.getvalue() == ""


def test_on_a_terminal_lines_are_drawn_over_and_stay():
    stream = Terminal()
    display = open_display(PLAN, operators=True, stream=stream)
    assert isinstance(display, LiveDisplay)
    display.show(1.0, snapshot(op(rows_out=1), op()))
    display.end(2.0, snapshot(op(rows_out=7), op(), output_rows=7), "finished")
    written = stream.getvalue()
    assert "Running: " in written
    assert "TaskPoolMap[ReadVideo]" in written.rpartition("Finished: ")[2]


def test_while_one_display_draws_others_write_lines():
    first = open_display(PLAN, operators=True, stream=Terminal())
    second = open_display(PLAN, operators=True, stream=Terminal())
    assert isinstance(second, LogDisplay)
    first.end(1.0, snapshot(op(), op()), "finished")
    third = open_display(PLAN, operators=True, stream=Terminal())
    assert isinstance(third, LiveDisplay)
    third.end(1.0, snapshot(op(), op()), "finished")


def test_titles_of_many_operators_are_cut_in_the_middle():
    long = plan(physical("->".join(f"MapBatches(step_{n})" for n in range(9)), "source"))
    _, [(shown, _)] = Lines(long, operators=True).at(1.0, snapshot(op()))
    title = shown.rpartition(":")[0]
    assert (len(title), title[:12], title[-9:]) == (60, "TaskPoolMap[", "(step_8)]")


def test_operators_can_be_left_out():
    assert Lines(PLAN, operators=False).at(1.0, snapshot(op(), op()))[1] == []


class Shell:
    """IPython's shell in a notebook, and what was displayed by it."""

    def __init__(self, kernel):
        self.kernel = kernel
        self.drawn = []

    def modules(self):
        """What IPython would be."""
        package = SimpleNamespace(get_ipython=lambda: self)
        return {"IPython": package, "IPython.display": SimpleNamespace(display=self.display)}

    def display(self, shown, display_id):
        assert display_id is True
        self.drawn.append(shown)
        return SimpleNamespace(update=self.drawn.append)


def test_a_notebook_shows_one_output_that_is_drawn_over(monkeypatch):
    shell = Shell(kernel=object())
    for name, module in shell.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    display = open_display(PLAN, operators=True)
    assert isinstance(display, NotebookDisplay)
    moment = snapshot(op(reason="input_empty"), op())
    for tenth in range(5, 26):
        display.show(tenth / 10, moment)
    display.end(2.6, moment, "finished")
    assert len(shell.drawn) == 7, "an empty one, one each half second, and the last"
    assert repr(shell.drawn[1]).startswith("Running: ")
    assert "0/? rows · waits for input" in repr(shell.drawn[1])
    assert shell.drawn[1]._repr_html_().startswith("<pre>Running: ")
    assert repr(shell.drawn[-1]).startswith("Finished: ")


def test_the_shell_of_a_terminal_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", Shell(kernel=None).modules()["IPython"])
    assert not isinstance(open_display(PLAN, operators=True), NotebookDisplay)
