//! Limits, unions and rows put side by side, driven by hand.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use millstream_core::{
    Action, BlockId, Bytes, Config, Event, FailCause, NodeId, OpId, OpKind, OpSpec, OpState,
    OutputPlace, Plan, Reason, Resources, Rows, Scheduler, Slice, Slots, Span, TaskFailure, TaskId,
    Time, Unit, Verdict, Work,
};

const NODE: NodeId = NodeId(0);

fn op(name: &str, kind: OpKind, inputs: &[u32]) -> OpSpec {
    let cpus = u64::from(matches!(kind, OpKind::Source { .. }));
    OpSpec {
        name: name.into(),
        inputs: inputs.iter().copied().map(OpId).collect(),
        kind,
        resources: Resources::cpu(Slots::whole(cpus)),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    }
}

fn read(units: usize) -> OpSpec {
    op("Read", OpKind::Source { units: vec![Unit::default(); units], is_open: false }, &[])
}

fn limit(rows: u64, input: u32) -> OpSpec {
    op("Limit", OpKind::Limit { rows: Rows(rows) }, &[input])
}

/// A run on one node with four CPUs, and all its orders so far.
struct Run {
    scheduler: Scheduler,
    actions: Vec<Action>,
}

impl Run {
    fn new(ops: Vec<OpSpec>) -> Self {
        let plan = Plan::new(ops, Config::default()).unwrap();
        let node = (NODE, Resources::cpu(Slots::whole(4)), Bytes(1 << 40));
        let mut run =
            Self { scheduler: Scheduler::submit(plan, vec![node]).unwrap(), actions: Vec::new() };
        run.tell(Event::TimePassed);
        run
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.scheduler.handle(Time(0), event);
        let actions: Vec<Action> = std::iter::from_fn(|| self.scheduler.poll_action()).collect();
        self.scheduler.assert_invariants();
        self.actions.extend(actions.clone());
        actions
    }

    fn produce(&mut self, task: u64, block: u64, rows: u64) -> Vec<Action> {
        let (task, block) = (TaskId(task), BlockId(block));
        self.tell(Event::BlockProduced {
            task,
            block,
            rows: Rows(rows),
            bytes: Bytes(8),
            node: NODE,
            partition: 0,
        })
    }

    fn finish(&mut self, task: u64) -> Vec<Action> {
        let (busy, heap_peak) = (Span(1_000), Bytes::ZERO);
        self.tell(Event::TaskFinished { task: TaskId(task), busy, heap_peak })
    }

    /// A task that makes one block and ends.
    fn make(&mut self, task: u64, block: u64, rows: u64) -> Vec<Action> {
        let mut actions = self.produce(task, block, rows);
        actions.extend(self.finish(task));
        actions
    }

    fn launched(&self, op: u32) -> Vec<(u64, Work)> {
        let launches = self.actions.iter().filter_map(|action| match action {
            Action::LaunchTask { task, op: at, work, .. } if at.0 == op => {
                Some((task.0, work.clone()))
            }
            _ => None,
        });
        launches.collect()
    }

    fn last_launch(&self) -> Option<Action> {
        let mut launches = self.actions.iter().rev();
        launches.find(|action| matches!(action, Action::LaunchTask { .. })).cloned()
    }

    fn emitted(&self) -> Vec<u64> {
        let emitted = self.actions.iter().filter_map(|action| match action {
            Action::EmitBlock { block, .. } => Some(block.0),
            _ => None,
        });
        emitted.collect()
    }
}

fn slice(block: u64, first: u64, rows: u64) -> Slice {
    Slice { block: BlockId(block), first: Rows(first), rows: Rows(rows) }
}

#[test]
fn a_limit_passes_whole_blocks_cuts_the_last_one_and_ends_what_is_above() {
    let mut run = Run::new(vec![read(1_000), limit(15, 0)]);
    run.produce(0, 0, 10);
    assert_eq!(run.emitted(), [0], "a whole block needs no task");
    run.finish(0);
    let reading: Vec<u64> = run.launched(0).iter().map(|(task, _)| *task).skip(1).collect();
    let [second] = reading[..] else { panic!("one more unit is enough, not {reading:?}") };
    let actions = run.produce(second, 1, 10);
    let [(cut, work)] = &run.launched(1)[..] else { panic!("one task cuts: {actions:?}") };
    assert_eq!(*work, Work::Slices(vec![vec![slice(1, 0, 5)]]));
    let cancel = Action::CancelTask { task: TaskId(second) };
    assert!(actions.contains(&cancel), "{actions:?}");

    let cut = *cut;
    run.tell(Event::TaskFailed { task: TaskId(second), failure: TaskFailure::UserCode });
    run.make(cut, 2, 5);
    assert_eq!(run.emitted(), [0, 2]);
    for block in [0, 2] {
        run.tell(Event::OutputTaken { block: BlockId(block) });
    }
    let snapshot = run.scheduler.snapshot();
    assert!(run.scheduler.is_done(), "{snapshot:#?}");
    assert_eq!((snapshot.ops[0].tasks_failed, snapshot.output_rows), (0, 15));
    assert_eq!(snapshot.ops[0].state, OpState::Done);
    let reached = Reason::LimitReached { rows: Rows(15) };
    assert_eq!(snapshot.ops[0].verdict, Verdict::Hold(reached));
}

#[test]
fn a_limit_of_no_rows_runs_nothing() {
    let run = Run::new(vec![read(9), limit(0, 0)]);
    assert!(run.scheduler.is_done() && run.actions.is_empty(), "{:?}", run.actions);
}

#[test]
fn sources_above_a_limit_read_no_more_than_it_wants() {
    let mut run = Run::new(vec![read(1_000), limit(35, 0)]);
    assert_eq!(run.launched(0).len(), 1, "nobody knows what a unit has");
    run.make(0, 0, 10);
    let more = Work::Units { first: 1, count: 3 };
    assert_eq!(run.launched(0)[1..], [(1, more)], "three more units of ten rows are enough");
    let Verdict::Hold(Reason::LimitCovered { wanted, .. }) =
        run.scheduler.snapshot().ops[0].verdict
    else {
        panic!("it waits for the limit")
    };
    assert_eq!(wanted, Rows(25));
}

#[test]
fn a_union_in_order_reads_its_inputs_one_after_the_other() {
    let union = op("Union", OpKind::Union, &[0, 1]);
    let mut run = Run::new(vec![read(2), read(1), union]);
    assert_eq!((run.launched(0).len(), run.launched(1).len()), (2, 1));
    run.make(2, 0, 1);
    run.make(1, 1, 1);
    assert_eq!(run.emitted(), [] as [u64; 0]);
    run.make(0, 2, 1);
    assert_eq!(run.emitted(), [2, 1, 0]);

    let union = op("Union", OpKind::Union, &[0, 1]);
    let run = Run::new(vec![read(9), read(1), union]);
    assert_eq!((run.launched(0).len(), run.launched(1).len()), (4, 0));
    let held = Verdict::Hold(Reason::EarlierInput { first: OpId(0) });
    assert_eq!(run.scheduler.snapshot().ops[1].verdict, held);
}

#[test]
fn rows_are_put_side_by_side_whatever_their_blocks() {
    let zip = op("Zip", OpKind::Zip, &[0, 1]);
    let mut run = Run::new(vec![read(1), read(2), zip]);
    let of = |run: &Run, op| run.launched(op).iter().map(|(task, _)| *task).collect::<Vec<u64>>();
    let (left, right) = (of(&run, 0)[0], of(&run, 1));
    run.make(left, 0, 5);
    run.make(right[0], 1, 2);
    run.make(right[1], 2, 3);
    let work: Vec<Work> = run.launched(2).into_iter().map(|(_, work)| work).collect();
    let first = Work::Slices(vec![vec![slice(0, 0, 2)], vec![slice(1, 0, 2)]]);
    let second = Work::Slices(vec![vec![slice(0, 2, 3)], vec![slice(2, 0, 3)]]);
    assert_eq!(work, [first, second]);
    let tasks = of(&run, 2);
    let dropped = run.make(tasks[0], 3, 2);
    let keeps = !dropped.contains(&Action::DropBlock { block: BlockId(0) });
    assert!(keeps, "the second task still reads it: {dropped:?}");
    let dropped = run.make(tasks[1], 4, 3);
    assert!(dropped.contains(&Action::DropBlock { block: BlockId(0) }), "{dropped:?}");
    assert_eq!(run.emitted(), [3, 4]);
}

#[test]
fn inputs_of_different_lengths_fail_the_run_with_both_counts() {
    let zip = op("Zip", OpKind::Zip, &[0, 1]);
    let mut run = Run::new(vec![read(1), read(1), zip]);
    let tasks = [run.launched(0)[0].0, run.launched(1)[0].0];
    run.make(tasks[0], 0, 5);
    let actions = run.make(tasks[1], 1, 7);
    let cause = FailCause::RowsDiffer {
        ended: 0,
        rows: Rows(5),
        longer: 1,
        rows_longer: Rows(7),
        is_open: true,
    };
    assert!(actions.contains(&Action::FailRun { op: OpId(2), task: None, cause }), "{actions:?}");
}

#[test]
fn what_is_lost_behind_a_union_is_made_again_in_its_place() {
    let union = op("Union", OpKind::Union, &[0, 1]);
    let map = op("Map", OpKind::Tasks, &[2]);
    let map = OpSpec { bundle_rows_min: Rows(1_000), ..map };
    let mut run = Run::new(vec![read(1), read(1), union, map]);
    let [first, second] = [run.launched(0)[0].0, run.launched(1)[0].0];
    run.make(second, 0, 5);
    run.make(first, 1, 4);
    let Work::Blocks(blocks) = run.launched(3)[0].1.clone() else { panic!("the map reads blocks") };
    assert_eq!(blocks, [BlockId(1), BlockId(0)], "those of the first input come first");

    let map = run.launched(3)[0].0;
    run.tell(Event::BlockLost { block: BlockId(1) });
    run.tell(Event::TaskFailed { task: TaskId(map), failure: TaskFailure::NotRun });
    let (again, _) = run.launched(0)[1];
    run.produce(again, 2, 1);
    run.make(again, 3, 3);
    let Work::Blocks(blocks) = run.launched(3)[1].1.clone() else { panic!("the map reads blocks") };
    assert_eq!(blocks, [BlockId(2), BlockId(3), BlockId(0)]);
}

#[test]
fn of_what_a_limit_has_ended_only_rows_that_passed_it_are_made_again() {
    let mut run = Run::new(vec![read(2), limit(15, 0)]);
    let first = run.launched(0)[0].0;
    run.make(first, 0, 10);
    let second = run.launched(0)[1].0;
    run.produce(second, 1, 10);
    let cut = run.launched(1)[0].0;
    run.tell(Event::TaskFailed { task: TaskId(second), failure: TaskFailure::Cancelled });
    assert_eq!(run.launched(0).len(), 2);

    run.tell(Event::BlockLost { block: BlockId(0) });
    let (again, work) = run.launched(0)[2].clone();
    assert_eq!(work, Work::Units { first: 0, count: 1 });
    let actions = run.make(again, 2, 10);
    let instead = Action::EmitBlock {
        block: BlockId(2),
        instead_of: Some(BlockId(0)),
        consumer: 0,
        at: OutputPlace::default(),
    };
    assert!(actions.contains(&instead), "{actions:?}");

    run.tell(Event::BlockLost { block: BlockId(1) });
    run.tell(Event::TaskFailed { task: TaskId(cut), failure: TaskFailure::NotRun });
    let Some(Action::LaunchTask { task, rows_skipped, rows_wanted, .. }) = run.last_launch() else {
        panic!("the input of the cut is made again")
    };
    assert_eq!((rows_skipped, rows_wanted), (Rows::ZERO, Some(Rows(5))));
    run.make(task.0, 3, 5);
    let (cut, work) = run.launched(1)[1].clone();
    assert_eq!(work, Work::Slices(vec![vec![slice(3, 0, 5)]]));
    run.make(cut, 4, 5);
    for block in [2, 4] {
        run.tell(Event::OutputTaken { block: BlockId(block) });
    }
    assert!(run.scheduler.is_done(), "{:#?}", run.scheduler.snapshot());
}
