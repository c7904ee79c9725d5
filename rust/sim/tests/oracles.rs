//! Each oracle speaks up when a scheduler does what it must not.

use millstream_core::{
    Action, ActorId, BlockId, Bytes, Config, Epoch, Event, FailCause, NodeId, OpId, OutputPlace,
    Plan, Rows, Scheduler, Snapshot, Span, TaskFailure, TaskId, Time, Work,
};
use millstream_sim::checker::Checker;
use millstream_sim::tiny;
use millstream_sim::workload::Scenario;

/// Four units, three rows each, through one stateless operator, on one node with two CPUs.
fn world() -> Scenario {
    let (_, world) = tiny::worlds()
        .find(|(name, _)| name.starts_with("source -> [Tasks] on 1 nodes, 4 units, 50"))
        .expect("because all tiny worlds are there");
    world
}

fn snapshot(world: &Scenario) -> Snapshot {
    let nodes = world.nodes.iter().cloned().map(Into::into).collect();
    Scheduler::submit(world.plan.clone(), nodes).expect("because it fits").snapshot()
}

fn launch(task: u64, op: u32, work: Work) -> Action {
    Action::LaunchTask {
        task: TaskId(task),
        op: OpId(op),
        attempt: 0,
        node: NodeId(0),
        actor: None,
        work,
        rows_skipped: Rows::ZERO,
        rows_wanted: None,
        credit: Bytes(1),
        heap: Bytes::ZERO,
    }
}

fn read(task: u64, first: u64) -> Action {
    launch(task, 0, Work::Units { first, count: 1 })
}

fn made(task: u64, block: u64, rows: u64) -> Event {
    Event::BlockProduced {
        task: TaskId(task),
        block: BlockId(block),
        rows: Rows(rows),
        bytes: Bytes(1_000),
        node: NodeId(0),
        partition: 0,
    }
}

fn finished(task: u64) -> Event {
    Event::TaskFinished { task: TaskId(task), busy: Span(1), heap_peak: Bytes::ZERO }
}

/// The invariant that the last of some turns violates. Earlier turns are taken as they are: their
/// snapshots do not fit, so only what comes before the comparison with the snapshot is judged.
fn violated(turns: &[(Vec<Event>, Vec<Action>)]) -> (&'static str, String) {
    let world = world();
    let snapshot = snapshot(&world);
    let mut checker = Checker::new(&world);
    let mut last = ("nothing", String::new());
    for (events, actions) in turns {
        last = match checker.judge(Time(1), events, actions, &snapshot) {
            Ok(()) => ("nothing", String::new()),
            Err(violation) => (violation.invariant, violation.what),
        };
    }
    last
}

fn one_read(then: Vec<Event>, actions: Vec<Action>) -> (&'static str, String) {
    violated(&[(vec![], vec![read(0, 0)]), (then, actions)])
}

#[test]
fn i1_more_slots_than_a_node_has() {
    let (invariant, what) = violated(&[(vec![], vec![read(0, 0), read(1, 1), read(2, 2)])]);
    assert_eq!(invariant, "I1", "{what}");
}

#[test]
fn i1_books_that_do_not_agree() {
    let (invariant, what) = violated(&[(vec![], vec![read(0, 0)])]);
    assert_eq!(invariant, "I1", "{what}");
    assert!(what.contains("the scheduler's books say"), "{what}");
}

#[test]
fn i2_a_block_in_two_places() {
    let task = launch(1, 1, Work::Blocks(vec![BlockId(0), BlockId(0)]));
    let (invariant, what) = one_read(vec![made(0, 0, 2)], vec![task]);
    assert_eq!(invariant, "I2", "{what}");
    let (invariant, what) = one_read(
        vec![made(0, 0, 2)],
        vec![Action::EmitBlock {
            block: BlockId(0),
            instead_of: None,
            consumer: 0,
            at: OutputPlace::default(),
        }],
    );
    assert_eq!((invariant, what.contains("it is no output")), ("I2", true), "{what}");
    let (invariant, what) =
        one_read(vec![made(0, 0, 2)], vec![Action::DropBlock { block: BlockId(0) }]);
    assert_eq!(invariant, "I2", "{what}");
}

#[test]
fn i2_a_block_of_no_more_use_that_is_kept() {
    let late = made(99, 5, 1);
    let (invariant, what) = one_read(vec![late], vec![]);
    assert_eq!((invariant, what.contains("of no more use")), ("I2", true), "{what}");
}

#[test]
fn i3_a_unit_that_is_left_out_or_read_twice() {
    assert_eq!(violated(&[(vec![], vec![read(0, 1)])]).0, "I3");
    assert_eq!(one_read(vec![], vec![read(1, 0)]).0, "I3");
    let after_success = one_read(vec![made(0, 0, 3), finished(0)], vec![read(1, 0)]);
    assert_eq!(after_success.0, "I3", "{}", after_success.1);
}

#[test]
fn i7_a_stale_event_that_changes_something() {
    let world = world();
    let before = snapshot(&world);
    let after = Snapshot { output_rows: 7, stale_events: 1, ..before.clone() };
    let judged = Checker::judge_stale(Time(1), &finished(9), &[], &before, &after);
    assert_eq!(judged.map_err(|violation| violation.invariant), Err("I7"));
    let after = Snapshot { stale_events: 1, ..before.clone() };
    assert_eq!(Checker::judge_stale(Time(1), &finished(9), &[], &before, &after), Ok(()));
    let acted = Checker::judge_stale(Time(1), &finished(9), &[read(0, 0)], &before, &after);
    assert!(acted.is_err());
}

#[test]
fn i8_work_after_the_stop() {
    let (invariant, what) = one_read(vec![Event::StopRequested], vec![read(1, 1)]);
    assert_eq!(invariant, "I8", "{what}");
    let cancel = Action::CancelTask { task: TaskId(0) };
    let (_, what) = one_read(vec![Event::StopRequested], vec![cancel]);
    assert!(!what.contains("after the stop"), "{what}");
}

#[test]
fn i9_rows_out_of_order_or_twice() {
    let through = |order: [u64; 2]| {
        let blocks = |id: u64| Work::Blocks(vec![BlockId(id)]);
        let events = vec![made(0, 0, 2), made(0, 1, 1), finished(0)];
        let launches = vec![launch(1, 1, blocks(0)), launch(2, 1, blocks(1))];
        let outputs = vec![made(1, 2, 2), made(2, 3, 1)];
        let emits = order.map(|block| Action::EmitBlock {
            block: BlockId(block),
            instead_of: None,
            consumer: 0,
            at: OutputPlace::default(),
        });
        violated(&[(vec![], vec![read(0, 0)]), (events, launches), (outputs, emits.to_vec())])
    };
    assert_eq!(through([3, 2]).0, "I9");
    assert_ne!(through([2, 3]).0, "I9");
    let again = Action::LaunchTask {
        task: TaskId(1),
        op: OpId(0),
        attempt: 1,
        node: NodeId(0),
        actor: None,
        work: Work::Units { first: 0, count: 1 },
        rows_skipped: Rows::ZERO,
        rows_wanted: None,
        credit: Bytes(1),
        heap: Bytes::ZERO,
    };
    let died = Event::TaskFailed { task: TaskId(0), failure: TaskFailure::WorkerDied };
    let (invariant, what) = one_read(vec![made(0, 0, 2), died], vec![again]);
    assert_eq!((invariant, what.contains("2 rows are out already")), ("I9", true), "{what}");
}

/// The world with each unit in an epoch of its own.
fn world_of_epochs() -> Scenario {
    let world = world();
    let config = Config { epoch_units: 1, ..*world.plan.config() };
    let plan = Plan::new(world.plan.ops().to_vec(), config).expect("because it was one before");
    Scenario { plan, ..world }
}

#[test]
fn epochs_committed_too_early_or_out_of_order() {
    let world = world_of_epochs();
    let commit = |epoch| Action::CommitEpoch { epoch: Epoch(epoch) };
    let cases = [
        (vec![commit(0)], "unit 0 of operator 0 was not read"),
        (vec![commit(1)], "0 is next"),
        (vec![read(0, 0), commit(0)], "work 0 of operator 0 is not done"),
    ];
    for (actions, words) in cases {
        let judged = Checker::new(&world).judge(Time(1), &[], &actions, &snapshot(&world));
        let violation = judged.expect_err(words);
        assert_eq!(violation.invariant, "epochs", "{}", violation.what);
        assert!(violation.what.contains(words), "{}", violation.what);
    }
}

#[test]
fn epochs_that_are_mixed_or_not_all_out() {
    let world = world_of_epochs();
    let mut checker = Checker::new(&world);
    let mut judge = |events: Vec<Event>, actions: Vec<Action>| {
        let judged = checker.judge(Time(1), &events, &actions, &snapshot(&world));
        judged.expect_err("its snapshot does not fit").what
    };
    let both = launch(2, 1, Work::Blocks(vec![BlockId(0), BlockId(1)]));
    judge(vec![], vec![read(0, 0), read(1, 1)]);
    let what = judge(vec![made(0, 0, 3), finished(0), made(1, 1, 3), finished(1)], vec![both]);
    assert!(what.contains("it works on {0, 1}"), "{what}");
    let commit = Action::CommitEpoch { epoch: Epoch(0) };
    let what = judge(vec![], vec![commit]);
    assert!(what.contains("a block of it exists"), "{what}");
}

#[test]
fn orders_that_make_no_sense() {
    let fail = Action::FailRun { op: OpId(0), task: None, cause: FailCause::UserCode };
    let cases = [
        (vec![], vec![Action::ResumeTask { task: TaskId(7), credit: Bytes(1) }], "does not run"),
        (vec![], vec![Action::StopActor { actor: ActorId(1) }], "no such actor"),
        (vec![], vec![fail], "nothing that happened is such a failure"),
        (
            vec![Event::TaskFailed { task: TaskId(0), failure: TaskFailure::UserCode }],
            vec![],
            "the run goes on in spite of",
        ),
    ];
    for (events, actions, words) in cases {
        let (invariant, what) = one_read(events, actions);
        assert_eq!(invariant, "protocol", "{what}");
        assert!(what.contains(words), "{what}");
    }
}

#[test]
fn attribution_of_less_time_than_there_was() {
    let world = world();
    let snapshot = snapshot(&world);
    let mut checker = Checker::new(&world);
    assert_eq!(checker.judge(Time(1), &[], &[], &snapshot), Ok(()));
    let violation = checker.judge(Time(4), &[], &[], &snapshot).expect_err("3 us are missing");
    assert_eq!(violation.invariant, "attribution", "{}", violation.what);
}
