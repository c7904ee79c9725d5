//! Several consumers that share the output, driven by hand.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use common::{op, source};
use millstream_core::{
    Action, BlockId, Bytes, Config, Event, NodeId, OpId, OpKind, OpSpec, OutputRows, Plan,
    PlanError, Reason, Resources, Rows, Scheduler, Slots, Span, TaskId, Time, Verdict, Work,
};

const NODE: NodeId = NodeId(0);

fn ops(consumers: u32, equal: bool) -> Vec<OpSpec> {
    ops_leaving_out(consumers, equal, &[])
}

fn ops_leaving_out(consumers: u32, equal: bool, rows: &[(u64, u64)]) -> Vec<OpSpec> {
    let left_out = rows.iter().map(|&(first, end)| OutputRows { first, end }).collect();
    let split = op("Split", OpKind::Split { consumers, equal, left_out }, vec![OpId(0)]);
    vec![source(1), OpSpec { resources: Resources::default(), ..split }]
}

/// A run whose source has one unit, on one node.
struct Run(Scheduler);

impl Run {
    fn new(consumers: u32, equal: bool) -> Self {
        Self::of(ops(consumers, equal))
    }

    fn of(ops: Vec<OpSpec>) -> Self {
        let plan = Plan::new(ops, Config::default()).unwrap();
        let node = (NODE, Resources::cpu(Slots::whole(4)), Bytes(1 << 40));
        let mut run = Self(Scheduler::submit(plan, vec![node]).unwrap());
        run.tell(Event::TimePassed);
        run
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.0.handle(Time(0), event);
        let actions: Vec<Action> = std::iter::from_fn(|| self.0.poll_action()).collect();
        self.0.assert_invariants();
        actions
    }

    /// Who is given which blocks after a task has made one more.
    fn make(&mut self, task: u64, block: u64, rows: u64) -> Vec<(u64, u32)> {
        given(&self.produce(task, block, rows))
    }

    fn produce(&mut self, task: u64, block: u64, rows: u64) -> Vec<Action> {
        let (task, block) = (TaskId(task), BlockId(block));
        let (rows, bytes, node) = (Rows(rows), Bytes(8), NODE);
        self.tell(Event::BlockProduced { task, block, rows, bytes, node, partition: 0 })
    }

    fn take(&mut self, block: u64) -> Vec<(u64, u32)> {
        given(&self.tell(Event::OutputTaken { block: BlockId(block) }))
    }

    fn finish(&mut self, task: u64) -> Vec<Action> {
        let (busy, heap_peak) = (Span(1_000), Bytes::ZERO);
        self.tell(Event::TaskFinished { task: TaskId(task), busy, heap_peak })
    }
}

fn given(actions: &[Action]) -> Vec<(u64, u32)> {
    let emitted = actions.iter().filter_map(|action| match action {
        Action::EmitBlock { block, consumer, .. } => Some((block.0, *consumer)),
        _ => None,
    });
    emitted.collect()
}

/// The number of the first row of each block that is given.
fn first_rows(actions: &[Action]) -> Vec<(u64, u64)> {
    let emitted = actions.iter().filter_map(|action| match action {
        Action::EmitBlock { block, at, .. } => Some((block.0, at.row)),
        _ => None,
    });
    emitted.collect()
}

#[test]
fn each_block_comes_with_the_number_of_its_first_row() {
    let mut run = Run::new(2, false);
    assert_eq!(first_rows(&run.produce(0, 0, 5)), [(0, 0)]);
    assert_eq!(first_rows(&run.produce(0, 1, 2)), [(1, 5)]);
    assert_eq!(first_rows(&run.produce(0, 2, 1)), [(2, 7)]);
    // What one has that goes keeps its place.
    let actions = run.tell(Event::ConsumerGone { consumer: 1 });
    assert_eq!(first_rows(&actions), [(1, 5)]);
    let actions = run.tell(Event::OutputTaken { block: BlockId(0) });
    assert_eq!(first_rows(&actions), [(2, 7)]);
}

#[test]
fn rows_that_are_left_out_count_as_none() {
    // Of the first block two rows count, of the second none, of the third all.
    let mut run = Run::of(ops_leaving_out(2, false, &[(1, 4), (5, 7)]));
    assert_eq!(run.make(0, 0, 5), [(0, 0)]);
    assert_eq!(run.make(0, 1, 2), [(1, 1)]);
    assert_eq!(run.make(0, 2, 1), [(2, 1)]);
    assert_eq!(run.0.snapshot().consumer_rows, [2, 1]);

    let mut run = Run::of(ops_leaving_out(2, true, &[(1, 4)]));
    assert_eq!(run.make(0, 0, 5), []);
    assert_eq!(run.make(0, 1, 4), [(0, 0)]);
    let actions = run.finish(0);
    let cut = actions.iter().find_map(|action| match action {
        Action::LaunchTask { task, work: Work::Slices(parts), .. } => {
            Some((task.0, parts[0][0].rows))
        }
        _ => None,
    });
    let (task, rows) = cut.unwrap();
    assert_eq!(rows, Rows(3));
    assert_eq!(first_rows(&run.produce(task, 2, 3)), [(2, 5)]);
}

#[test]
fn a_block_goes_to_who_has_the_fewest_rows_and_not_two_in_hand() {
    let mut run = Run::new(2, false);
    assert_eq!(run.make(0, 0, 5), [(0, 0)]);
    assert_eq!(run.make(0, 1, 2), [(1, 1)]);
    assert_eq!(run.make(0, 2, 1), [(2, 1)]);
    assert_eq!(run.make(0, 3, 1), [(3, 0)], "the other one has two in hand");
    assert_eq!(run.make(0, 4, 1), []);
    assert_eq!(run.take(1), [(4, 1)], "a slow consumer keeps nobody waiting");
    assert_eq!(run.0.snapshot().consumer_rows, [6, 4]);
}

#[test]
fn what_a_consumer_has_that_goes_is_for_the_others() {
    let mut run = Run::new(2, false);
    run.make(0, 0, 1);
    run.make(0, 1, 1);
    let actions = run.tell(Event::ConsumerGone { consumer: 0 });
    assert_eq!(given(&actions), [(0, 1)]);
    run.make(0, 2, 1);
    assert_eq!(run.take(1), [(2, 1)]);
    let actions = run.tell(Event::ConsumerGone { consumer: 1 });
    assert!(actions.contains(&Action::CancelTask { task: TaskId(0) }), "nobody is left");
}

#[test]
fn equal_parts_wait_for_each_other_and_the_rest_is_cut_and_dropped() {
    let mut run = Run::new(2, true);
    assert_eq!(run.make(0, 0, 5), [], "the other one would have nothing");
    assert_eq!(
        run.0.snapshot().ops[1].verdict,
        Verdict::Hold(Reason::ConsumersUneven { rows: Rows(5), wanted: Rows(10) })
    );
    assert_eq!(run.make(0, 1, 6), [(0, 0)]);
    let actions = run.finish(0);
    let cut = actions.iter().find_map(|action| match action {
        Action::LaunchTask { task, work: Work::Slices(parts), .. } => Some((task.0, parts.clone())),
        _ => None,
    });
    let (task, parts) = cut.unwrap();
    assert_eq!((parts[0][0].block, parts[0][0].rows), (BlockId(1), Rows(5)));
    assert_eq!(run.make(task, 2, 5), [(2, 1)]);
    run.finish(task);
    run.take(0);
    run.take(2);
    let snapshot = run.0.snapshot();
    assert_eq!((snapshot.consumer_rows, snapshot.rows_dropped), (vec![5, 5], 1));
    assert!(run.0.is_done());
}

#[test]
fn splits_that_cannot_be_are_refused() {
    let refused = |ops, config| Plan::new(ops, config).map(drop).unwrap_err();
    let is_split = |error| matches!(error, PlanError::Split { .. });
    assert!(is_split(refused(ops(0, false), Config::default())));
    for rows in [&[(3, 3)][..], &[(0, 3), (3, 4)], &[(5, 6), (0, 3)]] {
        assert!(is_split(refused(ops_leaving_out(2, false, rows), Config::default())), "{rows:?}");
    }
    let mut more = ops(2, false);
    more.push(OpSpec { kind: OpKind::Tasks, inputs: vec![OpId(1)], ..more[0].clone() });
    assert!(is_split(refused(more, Config::default())));
}
