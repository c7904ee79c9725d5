//! Exchanges: rows are dealt out to partitions, and each of those is gathered when all are there.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use millstream_core::{
    Action, BlockId, Bytes, Config, Event, FailCause, NodeId, OpId, OpKind, OpSpec, Plan, Reason,
    Resources, Rows, Scheduler, Slots, Span, TaskId, Time, Verdict, Work,
};

use common::{op, source};

const SCATTER: OpId = OpId(1);
const GATHER: OpId = OpId(2);

/// A source, and an exchange of what it reads.
struct World {
    scheduler: Scheduler,
    next_block: u64,
    launches: Vec<(TaskId, OpId, Work, Option<Rows>)>,
}

impl World {
    fn new(units: usize, store: u64, nodes: u32) -> Self {
        let scatter = OpSpec {
            // Each task deals out one unit.
            concurrency_max: 1,
            ..op("Deal", OpKind::Scatter { partitions: 3 }, vec![OpId(0)])
        };
        let read = OpSpec { concurrency_max: 1, ..source(units) };
        let ops = vec![read, scatter, op("Gather", OpKind::Gather, vec![SCATTER])];
        let node = |node| (NodeId(node), Resources::cpu(Slots::whole(4)), Bytes(store));
        let config = Config { task_span_target: Span::ZERO, ..Config::default() };
        let plan = Plan::new(ops, config).unwrap();
        let scheduler = Scheduler::submit(plan, (0..nodes).map(node).collect()).unwrap();
        let mut world = Self { scheduler, next_block: 0, launches: Vec::new() };
        world.tell(Event::TimePassed);
        world
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.scheduler.handle(Time(0), event);
        let actions: Vec<Action> = std::iter::from_fn(|| self.scheduler.poll_action()).collect();
        self.scheduler.assert_invariants();
        for action in &actions {
            if let Action::LaunchTask { task, op, work, rows_wanted, .. } = action {
                self.launches.push((*task, *op, work.clone(), *rows_wanted));
            }
        }
        actions
    }

    /// The oldest launch of an operator that was not looked at.
    fn launched(&mut self, op: OpId) -> (TaskId, Work, Option<Rows>) {
        let at = self.launches.iter().position(|launch| launch.1 == op);
        let (task, _, work, wanted) = self.launches.remove(at.expect("nothing was launched"));
        (task, work, wanted)
    }

    fn is_launched(&self, op: OpId) -> bool {
        self.launches.iter().any(|launch| launch.1 == op)
    }

    fn produce(&mut self, task: TaskId, partition: u32, rows: u64, node: u32) -> BlockId {
        let block = BlockId(self.next_block);
        self.next_block += 1;
        let (rows, bytes, node) = (Rows(rows), Bytes(100 * rows), NodeId(node));
        self.tell(Event::BlockProduced { task, block, rows, bytes, node, partition });
        block
    }

    fn finish(&mut self, task: TaskId) -> Vec<Action> {
        self.tell(Event::TaskFinished { task, busy: Span(1), heap_peak: Bytes::ZERO })
    }

    /// Reads a unit of six rows, and deals them out.
    fn deal(&mut self, rows: &[(u32, u64)], node: u32) -> Vec<BlockId> {
        let (read, ..) = self.launched(OpId(0));
        self.produce(read, 0, 6, 0);
        self.finish(read);
        let (scatter, ..) = self.launched(SCATTER);
        let dealt =
            rows.iter().map(|(partition, rows)| self.produce(scatter, *partition, *rows, node));
        let dealt = dealt.collect();
        self.finish(scatter);
        dealt
    }

    fn verdict(&self) -> Verdict {
        self.scheduler.snapshot().ops[2].verdict.clone()
    }
}

#[test]
fn each_partition_is_gathered_by_one_task_when_the_map_side_has_ended() {
    let mut world = World::new(2, 1 << 30, 1);
    let first = world.deal(&[(0, 2), (2, 4)], 0);
    let barrier = Reason::Barrier { bytes: Bytes(600), aside: Bytes::ZERO };
    assert_eq!(world.verdict(), Verdict::Hold(barrier));
    assert!(!world.is_launched(GATHER));
    let second = world.deal(&[(0, 1), (2, 5)], 0);
    // Nobody gathers the partition that has no rows.
    let works = [vec![first[0], second[0]], vec![first[1], second[1]]];
    for blocks in works {
        let (task, work, _) = world.launched(GATHER);
        assert_eq!(work, Work::Blocks(blocks));
        let out = world.produce(task, 0, 6, 0);
        world.finish(task);
        world.tell(Event::OutputTaken { block: out });
    }
    assert!(world.scheduler.is_done());
}

#[test]
fn a_lost_block_closes_the_barrier_until_its_rows_alone_are_made_again() {
    let mut world = World::new(2, 1 << 30, 1);
    world.deal(&[(0, 2), (1, 4)], 0);
    let (read, ..) = world.launched(OpId(0));
    world.produce(read, 0, 6, 0);
    world.finish(read);
    let (scatter, ..) = world.launched(SCATTER);
    world.produce(scatter, 0, 1, 0);
    let lost = world.produce(scatter, 1, 5, 0);
    world.tell(Event::BlockLost { block: lost });
    world.finish(scatter);
    assert!(!world.is_launched(GATHER), "a block is missing");
    let (scatter, _, wanted) = world.launched(SCATTER);
    assert_eq!(wanted, Some(Rows(5)), "only the rows that were lost");
    let again = world.produce(scatter, 1, 5, 0);
    world.finish(scatter);
    let (_, second) = (world.launched(GATHER), world.launched(GATHER));
    assert_eq!(second.1, Work::Blocks(vec![BlockId(2), again]), "in its place");
}

#[test]
fn what_the_store_has_no_room_for_is_set_aside_and_declared() {
    let mut world = World::new(10, 4_000, 1);
    for _ in 0..10 {
        world.deal(&[(0, 6)], 0);
    }
    let snapshot = world.scheduler.snapshot();
    let node = &snapshot.nodes[0];
    assert_eq!(node.store_used, Bytes(6_000));
    assert!(
        node.store_used - node.store_aside <= Bytes(2_000),
        "the barrier has half of the store"
    );
    assert_eq!(snapshot.bytes_set_aside, node.store_aside);
    // The whole partition cannot be read within the store, which passes a limit.
    assert!(world.is_launched(GATHER));
    assert_eq!(snapshot.overshoots, 1);
}

#[test]
fn a_partition_that_there_is_not_fails_the_run() {
    let mut world = World::new(1, 1 << 30, 1);
    let (read, ..) = world.launched(OpId(0));
    world.produce(read, 0, 6, 0);
    let (task, ..) = world.launched(SCATTER);
    let (block, rows, bytes) = (BlockId(9), Rows(1), Bytes(1));
    let actions = world.tell(Event::BlockProduced {
        task,
        block,
        rows,
        bytes,
        node: NodeId(0),
        partition: 3,
    });
    let cause = FailCause::NoSuchPartition { partition: 3, partitions: 3 };
    assert!(actions.contains(&Action::FailRun { op: SCATTER, task: Some(task), cause }));
    assert!(actions.contains(&Action::DropBlock { block }));
}
