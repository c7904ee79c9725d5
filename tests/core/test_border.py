"""What crosses the border to Rust: conversions, refusals, traces, threads."""

import json
import threading

import pytest

from millstream import _core, sim
from millstream._core import Action, Config, Event, Kind, Node, OpSpec, Plan, Scheduler

NOT_AMOUNTS = [
    (-1, "must not be negative but is -1"),
    (float("nan"), "must be a number but is NaN"),
    (float("inf"), "must be below 900719925474 but is inf"),
    (0.00001, "must be zero or at least 0.0001, the smallest share there is, but is 0.00001"),
]


def source(**changes):
    return OpSpec(**{"name": "Read", "kind": Kind.Source([0])} | changes)


def plan(units=3):
    return Plan([source(cpu=1, kind=Kind.Source([0] * units))], Config())


def node(**changes):
    return Node(**{"node": 0, "cpu": 2, "store_bytes": 1 << 30} | changes)


@pytest.mark.parametrize(("amount", "words"), NOT_AMOUNTS)
@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_what_is_no_amount_of_a_resource_is_refused_by_name(name, amount, words):
    with pytest.raises(ValueError, match=f"^{name} {words}"):
        source(**{name: amount})
    with pytest.raises(ValueError, match=f"^{name} {words}"):
        node(**{name: amount})
    with pytest.raises(ValueError, match=words):
        source(custom={"licence": amount})


def test_amounts_are_multiples_of_a_ten_thousandth_rounded_as_in_ray():
    op = source(cpu=0.5, gpu=1 / 3, custom={"licence": 2 / 3})
    assert (op.cpu, op.gpu, op.custom) == (0.5, 0.3333, {"licence": 0.6667})


def test_what_was_put_in_can_be_read():
    actors = OpSpec(name="Map", kind=Kind.Actors(2, 5), inputs=[0])
    assert actors.kind == Kind.Actors(actors_min=2, actors_max=5, tasks_in_flight_max=2)
    read = source(kind=Kind.Source([5, 0]), concurrency_max=3)
    assert isinstance(read.kind, Kind.Source)
    assert (read.kind.unit_bytes, read.kind.is_open, read.concurrency_max) == ([5, 0], False, 3)
    config = Config(execution="bulk", preserve_order=False)
    whole = Plan([read, actors], config)
    assert whole.ops == [read, actors]
    assert whole.config == config != Config()
    assert (config.block_bytes_target, config.deaths_max) == (128 << 20, 4)
    assert node(custom={"licence": 1}).custom == {"licence": 1}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: Config(execution="eager"), "execution must be 'streaming' or 'bulk'"),
        (lambda: Plan([], Config()), "the plan has no operators"),
        (lambda: Plan([source(inputs=[0])], Config()), "operator 'Read' must have no input"),
        (lambda: Plan([source()], Config(deaths_max=0)), "deaths_max must be at least 1"),
        (lambda: Event.TaskFailed(1, "bored"), 'failure must be one of .*, not "bored"'),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()


ALL_KINDS = [
    Kind.Source([1, 0], is_open=True),
    Kind.Tasks(),
    Kind.Actors(1, 2, 3),
    Kind.Limit(4),
    Kind.Union(),
    Kind.Zip(),
    Kind.Sink(),
    Kind.Split(2, equal=True),
    Kind.Scatter(5),
    Kind.Gather(),
]


@pytest.mark.parametrize("kind", ALL_KINDS, ids=repr)
def test_each_kind_of_operator_is_a_class_that_says_what_it_has(kind):
    assert isinstance(kind, Kind)
    assert source(kind=kind).kind == kind
    assert source(kind=kind) == source(kind=eval(repr(kind)))
    with pytest.raises(TypeError):
        source(kind="tasks")


def test_all_kinds_are_tried():
    assert {type(kind) for kind in ALL_KINDS} == set(Kind.__subclasses__())


def test_a_plan_that_can_never_run_is_refused_with_the_arithmetic():
    with pytest.raises(_core.SubmitError, match="'Read' needs 3 CPU for each task") as refusal:
        Scheduler(Plan([source(cpu=3)], Config()), [node()])
    assert isinstance(refusal.value, ValueError)


def test_events_and_actions_are_values_that_print_as_they_are_written():
    event = Event.TaskFailed(task=3, failure="out_of_memory")
    assert repr(event) == "Event.TaskFailed(task=3, failure='out_of_memory')"
    assert event == Event.TaskFailed(3, "out_of_memory") != Event.TaskFailed(4, "out_of_memory")
    assert isinstance(event, Event)
    assert isinstance(event, Event.TaskFailed)
    assert repr(Action.DropBlock(7)) == "Action.DropBlock(block=7)"
    joined = Event.NodeJoined(node(gpu=0.5))
    assert (
        repr(joined) == "Event.NodeJoined(node=<Node 0: 2 CPU, 0.5 GPU, 1.0 GiB of object store>)"
    )


def test_what_is_no_event_is_refused():
    scheduler = Scheduler(plan(), [node()])
    with pytest.raises(TypeError):
        scheduler.step(0, ["TimePassed"])
    with pytest.raises(OverflowError):
        scheduler.step(-1, [])


def test_every_kind_of_event_is_taken():
    scheduler = Scheduler(plan(), [node()])
    (launched,) = {a.task for a in scheduler.step(0, []) if a.first_unit == 0}
    events = [
        Event.BlockProduced(launched, block=0, rows=1, bytes=1, node=0),
        Event.TaskFinished(launched, busy_us=1, heap_peak_bytes=1 << 20),
        Event.ActorReady(77, node=0, load_us=1),
        Event.ActorLost(77),
        Event.NodeJoined(node(node=1)),
        Event.NodeDraining(1),
        Event.NodeLost(2),
        Event.BlockLost(88),
        Event.OutputTaken(99),
        Event.TimePassed(),
    ]
    actions = scheduler.step(1, events)
    assert Action.EmitBlock(0) in actions
    assert scheduler.snapshot().ops[0].heap_peak_bytes == 1 << 20
    scheduler.step(2, [Event.StopRequested()])


def test_a_snapshot_may_be_asked_for_from_another_thread():
    scheduler = Scheduler(plan(units=500), [node()])
    stop, seen = threading.Event(), []

    def watch():
        while not stop.is_set():
            seen.append(scheduler.snapshot().ops[0].units_done)

    watcher = threading.Thread(target=watch)
    watcher.start()
    actions, blocks, now = scheduler.step(0, []), 0, 0
    while not scheduler.is_done():
        now += 1
        events = []
        for action in actions:
            match action:
                case Action.LaunchTask(task=task):
                    events.append(Event.BlockProduced(task, blocks, rows=1, bytes=1, node=0))
                    events.append(Event.TaskFinished(task, busy_us=200_000))
                    blocks += 1
                case Action.EmitBlock(block=block):
                    events.append(Event.OutputTaken(block))
        actions = scheduler.step(now, events)
    stop.set()
    watcher.join(timeout=10)
    assert seen == sorted(seen)


def test_a_trace_has_the_plan_and_every_step_and_replays(tmp_path):
    path = tmp_path / "run.jsonl"
    scheduler = Scheduler(plan(units=1), [node()], trace=str(path))
    (launch,) = scheduler.step(10, [])
    made = Event.BlockProduced(launch.task, block=0, rows=1, bytes=1, node=0)
    scheduler.step(20, [made, Event.TaskFinished(launch.task, busy_us=5)])
    scheduler.step(30, [Event.OutputTaken(0)])
    assert scheduler.is_done()

    header, *steps = map(json.loads, path.read_text().splitlines())
    assert (header["version"], header["plan"]["ops"][0]["name"]) == (2, "Read")
    assert [step["now"] for step in steps] == [10, 20, 30]
    assert steps[0]["actions"][0]["LaunchTask"]["task"] == launch.task
    replayed = sim.replay(path)
    assert replayed["is_done"]
    assert (replayed["turns"], replayed["events"]) == (3, 3)


def test_a_trace_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    with pytest.raises(OSError, match=r"the trace .* cannot be written"):
        Scheduler(plan(), [node()], trace=tmp_path / "missing" / "run.jsonl")


def test_a_changed_trace_is_found(tmp_path):
    path = tmp_path / "run.jsonl"
    Scheduler(plan(units=1), [node()], trace=path).step(10, [])
    path.write_text(path.read_text().replace('"attempt":0', '"attempt":1'))
    with pytest.raises(_core.ReplayError, match="the replay differs from line 2 of the trace"):
        sim.replay(path)


def test_the_extension_says_how_it_was_built():
    assert _core.build_profile == "release", "tests and benchmarks need a release build"
