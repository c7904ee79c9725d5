//! Epochs and sinks, driven by hand.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use common::{op, source, tasks};
use millstream_core::{
    Action, BlockId, Bytes, Config, Epoch, Event, NodeId, OpId, OpKind, OpSpec, Plan, Resources,
    Rows, Scheduler, Slots, Span, TaskId, Time, Work,
};

const NODE: NodeId = NodeId(0);

/// A run of which two units are an epoch, on one node with four CPUs.
struct Run {
    scheduler: Scheduler,
}

impl Run {
    fn new(ops: Vec<OpSpec>) -> Self {
        let plan = Plan::new(ops, Config { epoch_units: 2, ..Config::default() }).unwrap();
        let node = (NODE, Resources::cpu(Slots::whole(4)), Bytes(1 << 40));
        let mut run = Self { scheduler: Scheduler::submit(plan, vec![node]).unwrap() };
        run.tell(Event::TimePassed);
        run
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.scheduler.handle(Time(0), event);
        let actions = std::iter::from_fn(|| self.scheduler.poll_action()).collect();
        self.scheduler.assert_invariants();
        actions
    }

    /// A task makes a block of the same number with one row, and ends.
    fn make(&mut self, task: u64) -> Vec<Action> {
        let (block, rows, bytes, node) = (BlockId(task), Rows(1), Bytes(8), NODE);
        let task = TaskId(task);
        let mut actions =
            self.tell(Event::BlockProduced { task, block, rows, bytes, node, partition: 0 });
        actions.extend(self.finish(task.0));
        actions
    }

    fn finish(&mut self, task: u64) -> Vec<Action> {
        let (busy, heap_peak) = (Span(1_000_000), Bytes::ZERO);
        self.tell(Event::TaskFinished { task: TaskId(task), busy, heap_peak })
    }

    fn take(&mut self, block: u64) -> Vec<u32> {
        commits(&self.tell(Event::OutputTaken { block: BlockId(block) }))
    }
}

fn commits(actions: &[Action]) -> Vec<u32> {
    let commits = actions.iter().filter_map(|action| match action {
        Action::CommitEpoch { epoch: Epoch(epoch) } => Some(*epoch),
        _ => None,
    });
    commits.collect()
}

fn bundles(actions: &[Action]) -> Vec<Vec<u64>> {
    let bundles = actions.iter().filter_map(|action| match action {
        Action::LaunchTask { work: Work::Blocks(blocks), .. } => {
            Some(blocks.iter().map(|block| block.0).collect())
        }
        _ => None,
    });
    bundles.collect()
}

fn sink(input: u32) -> OpSpec {
    op("Write", OpKind::Sink, vec![OpId(input)])
}

#[test]
fn epochs_are_committed_in_order_once_the_consumer_has_all_of_them() {
    let mut run = Run::new(vec![source(5)]);
    for task in [0, 1, 2, 3, 4] {
        assert_eq!(commits(&run.make(task)), []);
    }
    assert_eq!(run.take(2), []);
    assert_eq!(run.take(3), [], "the first epoch comes first");
    assert_eq!(run.take(0), []);
    assert_eq!(run.take(1), [0, 1]);
    assert!(!run.scheduler.is_done());
    assert_eq!(run.take(4), [2], "the last epoch has one unit only");
    assert!(run.scheduler.is_done());
    assert_eq!(run.scheduler.snapshot().epochs_committed, 3);
}

#[test]
fn what_a_sink_writes_counts_when_its_task_has_finished_and_its_report_is_taken() {
    let mut run = Run::new(vec![source(2), sink(0)]);
    let mut writes = bundles(&run.make(0));
    writes.extend(bundles(&run.make(1)));
    assert_eq!(writes, [[0], [1]]);
    assert_eq!(commits(&run.finish(2)), [], "the other one still writes");
    assert_eq!(commits(&run.make(3)), [], "its report is not taken");
    assert_eq!(run.take(3), [0]);
}

#[test]
fn rows_that_are_lost_are_there_again_before_the_commit() {
    let mut run = Run::new(vec![source(2)]);
    run.make(0);
    run.make(1);
    assert_eq!(run.take(0), []);
    let actions = run.tell(Event::BlockLost { block: BlockId(1) });
    assert!(matches!(actions[..], [_, Action::LaunchTask { task: TaskId(2), .. }]), "{actions:?}");
    assert_eq!(commits(&run.make(2)), []);
    assert_eq!(run.take(2), [0]);
}

#[test]
fn after_a_stop_nothing_is_committed() {
    let mut run = Run::new(vec![source(2)]);
    run.make(0);
    run.make(1);
    run.take(0);
    assert_eq!(commits(&run.tell(Event::StopRequested)), []);
    assert_eq!(run.take(1), []);
}

#[test]
fn no_task_works_on_two_epochs() {
    let map = OpSpec { concurrency_max: 1, ..tasks(0) };
    let mut run = Run::new(vec![source(6), map]);
    assert_eq!(bundles(&run.make(0)), [[0]], "by task 3, of the map");
    for task in [1, 2, 4] {
        run.make(task);
    }
    // It is so quick that any number of blocks is worth a task.
    let (busy, heap_peak) = (Span(1), Bytes::ZERO);
    let actions = run.tell(Event::TaskFinished { task: TaskId(3), busy, heap_peak });
    assert_eq!(bundles(&actions), [[1]], "2 and 4 are of the next epoch: {actions:?}");
}

#[test]
fn a_batch_is_not_waited_for_beyond_the_end_of_an_epoch() {
    let map = OpSpec { bundle_rows_min: Rows(3), ..tasks(0) };
    let mut run = Run::new(vec![source(6), map]);
    assert_eq!(bundles(&run.make(0)), Vec::<Vec<u64>>::new());
    assert_eq!(bundles(&run.make(1)), Vec::<Vec<u64>>::new());
    assert_eq!(bundles(&run.make(2)), [[0, 1]]);
}

#[test]
fn plans_whose_epochs_or_sinks_make_no_sense_are_refused() {
    let zip = op("Zip", OpKind::Zip, vec![OpId(0), OpId(1)]);
    let cases = [
        (vec![source(1), sink(0), tasks(1)], "'Write' writes the output of the plan, so it must"),
        (vec![source(1), source(1), zip], "'Zip' brings rows of several units together"),
    ];
    for (ops, words) in cases {
        let config = Config { epoch_units: 1, ..Config::default() };
        let error = Plan::new(ops, config).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
