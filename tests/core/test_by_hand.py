"""Driving the scheduler by hand: a plan in, events in, actions out, until it is done.

No Ray, no threads, no clock. This is all that a backend does, and how a stranger gets to know the
core.
"""

import itertools

from millstream._core import Action, Config, Event, Kind, Node, OpSpec, Plan, Scheduler

MIB = 1 << 20


def read_and_annotate(units=4, **config):
    """Files read by stateless tasks, and a model on a pool of actors."""
    read = OpSpec(name="Read", kind=Kind.Source([MIB] * units), cpu=1)
    annotate = OpSpec(name="Annotate", kind=Kind.Actors(1, 2), inputs=[0], gpu=1)
    return Plan([read, annotate], Config(**config))


def machine(**changes):
    return Node(**{"node": 0, "cpu": 4, "gpu": 2, "store_bytes": 64 * MIB} | changes)


class Hand:
    """A driver in a few lines: every task makes one block of two rows, and ends at once."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.seen = []
        self.emitted = []
        self.held = set()
        self.waiting = set()
        self.blocks = itertools.count()
        self.now = 0

    def run(self):
        events = []
        for _ in range(1_000):
            self.now += 1_000
            actions = self.scheduler.step(self.now, events)
            self.seen += actions
            events = [event for action in actions for event in self.answers(action)]
            if self.scheduler.is_done():
                return
            assert events, f"nothing to wait for: {self.scheduler.snapshot()}"
        raise AssertionError("the run does not end")

    def answers(self, action):
        match action:
            case Action.StartActor(actor=actor, node=node):
                return [Event.ActorReady(actor, node, load_us=500)]
            case Action.LaunchTask(task=task, credit=credit) if credit < MIB:
                self.waiting.add(task)
                return [Event.BlockReady(task, ordinal=0, bytes=MIB)]
            case Action.ResumeTask(task=task) if task not in self.waiting:
                return []  # more credit than it needs: it is through
            case Action.LaunchTask(task=task) | Action.ResumeTask(task=task):
                self.waiting.discard(task)
                block = next(self.blocks)
                self.held.add(block)
                made = Event.BlockProduced(task, block, rows=2, bytes=MIB, node=0)
                return [made, Event.TaskFinished(task, busy_us=900)]
            case Action.EmitBlock(block=block):
                self.emitted.append(block)
                return [Event.OutputTaken(block)]
            case Action.DropBlock(block=block):
                self.held.remove(block)
        return []


def test_a_run_by_hand_ends_with_every_row_out_and_nothing_held():
    hand = Hand(Scheduler(read_and_annotate(units=5), [machine()]))
    hand.run()

    snapshot = hand.scheduler.snapshot()
    read, annotate = snapshot.ops
    assert (read.units_done, read.units_total, read.rows_out) == (5, 5, 10)
    assert (annotate.rows_in, snapshot.output_rows) == (10, len(hand.emitted) * 2)
    assert [op.state for op in snapshot.ops] == ["done", "done"]
    assert hand.held == set()
    assert (snapshot.blocks, snapshot.stale_events) == (0, 0)
    node = snapshot.nodes[0]
    assert (node.cpu_used, node.gpu_used, node.store_used) == (0, 0, 0)
    started = {a.actor for a in hand.seen if isinstance(a, Action.StartActor)}
    stopped = {a.actor for a in hand.seen if isinstance(a, Action.StopActor)}
    assert started == stopped != set()


def test_the_first_step_starts_actors_and_sources():
    scheduler = Scheduler(read_and_annotate(units=1), [machine()])
    actions = scheduler.step(0, [])
    assert any(isinstance(action, Action.StartActor) for action in actions)
    launch = next(action for action in actions if isinstance(action, Action.LaunchTask))
    assert (launch.op, launch.first_unit, launch.unit_count, launch.blocks) == (0, 0, 1, [])
    assert (launch.attempt, launch.rows_skipped, launch.actor) == (0, 0, None)


def test_a_step_with_nothing_new_orders_nothing_new():
    scheduler = Scheduler(read_and_annotate(), [machine()])
    assert scheduler.step(0, [])
    assert scheduler.step(0, []) == []
    assert scheduler.step(5, [Event.TimePassed()]) == []


def test_a_dead_worker_costs_one_more_attempt_without_the_rows_that_are_out():
    scheduler = Scheduler(read_and_annotate(units=1), [machine()])
    actions = scheduler.step(0, [])
    task = next(action.task for action in actions if isinstance(action, Action.LaunchTask))
    made = Event.BlockProduced(task, block=0, rows=3, bytes=MIB, node=0)
    actions = scheduler.step(1, [made, Event.TaskFailed(task, "worker_died")])
    again = next(action for action in actions if isinstance(action, Action.LaunchTask))
    assert again.task != task
    assert (again.attempt, again.first_unit, again.rows_skipped) == (1, 0, 3)
    assert scheduler.snapshot().ops[0].tasks_retried == 1


def test_an_error_of_the_user_fails_the_run_and_the_stop_ends_it():
    read = OpSpec(name="Read", kind=Kind.Source([MIB] * 9), cpu=1)
    scheduler = Scheduler(Plan([read], Config()), [machine(store_bytes=1 << 32)])
    actions = scheduler.step(0, [])
    running = {action.task for action in actions if isinstance(action, Action.LaunchTask)}
    assert len(running) == 4
    task = min(running)
    (failed,) = scheduler.step(1, [Event.TaskFailed(task, "user_code")])
    assert failed == Action.FailRun(0, task, "user_code", {})

    actions = scheduler.step(2, [Event.StopRequested()])
    cancelled = {action.task for action in actions if isinstance(action, Action.CancelTask)}
    assert cancelled == running - {task}
    assert not scheduler.is_done()
    scheduler.step(3, [Event.TaskFailed(task, "cancelled") for task in cancelled])
    assert scheduler.is_done()


def test_events_of_the_dead_change_a_counter_and_their_blocks_are_dropped():
    scheduler = Scheduler(read_and_annotate(), [machine()])
    scheduler.step(0, [])
    assert scheduler.step(1, [Event.TaskFinished(999, busy_us=1)]) == []
    late = Event.BlockProduced(999, block=7, rows=1, bytes=1, node=0)
    assert scheduler.step(2, [late]) == [Action.DropBlock(7)]
    assert scheduler.snapshot().stale_events == 2


def test_a_new_node_gets_work():
    scheduler = Scheduler(read_and_annotate(units=40), [machine(cpu=1)])
    scheduler.step(0, [])
    actions = scheduler.step(1, [Event.NodeJoined(machine(node=1))])
    assert 1 in {action.node for action in actions if isinstance(action, Action.LaunchTask)}
