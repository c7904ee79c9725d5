//! Lost blocks are made again: the same rows, once, in their place.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use millstream_core::{
    Action, BlockId, Bytes, Config, Event, FailCause, NodeId, OpId, OpSpec, OutputPlace, Plan,
    Resources, Rows, Scheduler, Slots, Span, TaskFailure, TaskId, Time, Work,
};

use common::{source, tasks};

const ROWS: Rows = Rows(10);

/// A source of `units` and a map, on two nodes of which each can run everything.
fn scheduler(units: usize) -> Scheduler {
    let one_at_a_time = |op: OpSpec| OpSpec { concurrency_max: 1, ..op };
    let ops = vec![one_at_a_time(source(units)), one_at_a_time(tasks(0))];
    let node = |node| (NodeId(node), Resources::cpu(Slots::whole(4)), Bytes(1 << 30));
    Scheduler::submit(Plan::new(ops, Config::default()).unwrap(), vec![node(0), node(1)]).unwrap()
}

fn tell(scheduler: &mut Scheduler, event: Event) -> Vec<Action> {
    scheduler.handle(Time(0), event);
    let actions = std::iter::from_fn(|| scheduler.poll_action()).collect();
    scheduler.assert_invariants();
    actions
}

fn launched(actions: &[Action]) -> TaskId {
    let launch = actions.iter().find_map(|action| match action {
        Action::LaunchTask { task, .. } => Some(*task),
        _ => None,
    });
    launch.unwrap_or_else(|| panic!("nothing was launched: {actions:?}"))
}

fn produce(scheduler: &mut Scheduler, task: TaskId, block: u64, node: u32) -> Vec<Action> {
    let (block, rows, bytes, node) = (BlockId(block), ROWS, Bytes(100), NodeId(node));
    tell(scheduler, Event::BlockProduced { task, block, rows, bytes, node, partition: 0 })
}

fn finish(scheduler: &mut Scheduler, task: TaskId) -> Vec<Action> {
    tell(scheduler, Event::TaskFinished { task, busy: Span(1), heap_peak: Bytes::ZERO })
}

/// What was ordered to be made again: the operator, the work, and the rows.
fn remakes(actions: &[Action]) -> Vec<(OpId, Work, u64, u64)> {
    let remake = |action: &Action| match action {
        Action::LaunchTask { op, work, rows_skipped, rows_wanted: Some(wanted), .. } => {
            Some((*op, work.clone(), rows_skipped.0, wanted.0))
        }
        _ => None,
    };
    actions.iter().filter_map(remake).collect()
}

/// One unit has been read and mapped; the map's block 1 is with the consumer.
fn emitted() -> Scheduler {
    let mut scheduler = scheduler(1);
    let read = launched(&tell(&mut scheduler, Event::TimePassed));
    let map = launched(&produce(&mut scheduler, read, 0, 0));
    finish(&mut scheduler, read);
    let actions = produce(&mut scheduler, map, 1, 0);
    assert!(actions.contains(&Action::EmitBlock {
        block: BlockId(1),
        instead_of: None,
        consumer: 0,
        at: OutputPlace::default()
    }));
    finish(&mut scheduler, map);
    scheduler
}

#[test]
fn a_block_that_the_consumer_finds_gone_is_made_again_from_the_source_on() {
    let mut scheduler = emitted();
    assert!(remakes(&tell(&mut scheduler, Event::NodeLost { node: NodeId(0) })).is_empty());
    let actions = tell(&mut scheduler, Event::BlockLost { block: BlockId(1) });
    let units = Work::Units { first: 0, count: 1 };
    assert_eq!(remakes(&actions), [(OpId(0), units, 0, ROWS.0)]);
    let read = launched(&actions);
    let map = launched(&produce(&mut scheduler, read, 2, 1));
    finish(&mut scheduler, read);
    let actions = produce(&mut scheduler, map, 3, 1);
    let instead = Action::EmitBlock {
        block: BlockId(3),
        instead_of: Some(BlockId(1)),
        consumer: 0,
        at: OutputPlace::default(),
    };
    assert!(actions.contains(&instead), "{actions:?}");
    finish(&mut scheduler, map);
    tell(&mut scheduler, Event::OutputTaken { block: BlockId(3) });
    assert!(scheduler.is_done());
    let ops = scheduler.snapshot().ops;
    assert_eq!((ops[1].blocks_lost, ops[1].blocks_remade, ops[1].rows_out), (1, 1, ROWS.0));
}

#[test]
fn a_loss_after_the_consumer_has_the_block_changes_nothing() {
    let mut scheduler = emitted();
    tell(&mut scheduler, Event::OutputTaken { block: BlockId(1) });
    let actions = tell(&mut scheduler, Event::BlockLost { block: BlockId(1) });
    assert_eq!(actions, []);
    assert_eq!(scheduler.snapshot().stale_events, 1);
    assert!(scheduler.is_done());
}

#[test]
fn a_running_task_may_have_read_what_is_lost_so_only_its_failure_has_it_made_again() {
    let mut scheduler = scheduler(1);
    let read = launched(&tell(&mut scheduler, Event::TimePassed));
    let map = launched(&produce(&mut scheduler, read, 0, 0));
    finish(&mut scheduler, read);
    let actions = tell(&mut scheduler, Event::BlockLost { block: BlockId(0) });
    assert_eq!(actions, [Action::DropBlock { block: BlockId(0) }]);
    let failed = Event::TaskFailed { task: map, failure: TaskFailure::NotRun };
    let actions = tell(&mut scheduler, failed);
    let units = Work::Units { first: 0, count: 1 };
    assert_eq!(remakes(&actions), [(OpId(0), units, 0, ROWS.0)]);
}

#[test]
fn an_attempt_that_dies_when_it_has_made_all_lost_rows_again_is_not_repeated() {
    let mut scheduler = emitted();
    let read = launched(&tell(&mut scheduler, Event::BlockLost { block: BlockId(1) }));
    let map = launched(&produce(&mut scheduler, read, 2, 0));
    let died = Event::TaskFailed { task: read, failure: TaskFailure::WorkerDied };
    assert_eq!(remakes(&tell(&mut scheduler, died)), []);
    produce(&mut scheduler, map, 3, 0);
    finish(&mut scheduler, map);
    tell(&mut scheduler, Event::OutputTaken { block: BlockId(3) });
    assert!(scheduler.is_done());
}

#[test]
fn rows_that_do_not_come_out_the_second_time_fail_the_run() {
    let mut scheduler = emitted();
    let read = launched(&tell(&mut scheduler, Event::BlockLost { block: BlockId(1) }));
    let actions = finish(&mut scheduler, read);
    let cause = FailCause::BlockLost { rows: ROWS };
    let is_failure =
        |action: &Action| matches!(action, Action::FailRun { cause: c, .. } if *c == cause);
    assert!(actions.iter().any(is_failure), "{actions:?}");
}
