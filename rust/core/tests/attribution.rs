//! Where the time of workers goes, by hand: each test is a few events at chosen times.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use millstream_core::{
    Action, Activity, ActorId, BlockId, Bottleneck, Bytes, Config, Event, NodeId, OpSpec,
    OutputPlace, Plan, PoolSpec, Resources, Rows, Scheduler, Slots, Snapshot, Span, TaskId, Time,
    Times,
};

use common::source;

const NODE: NodeId = NodeId(0);
const CPU: u128 = Slots::PER_UNIT as u128;

fn actors(in_flight: u32) -> OpSpec {
    let pool = PoolSpec { actors_min: 1, actors_max: 1, tasks_in_flight_max: in_flight };
    common::actors(0, pool)
}

struct World {
    scheduler: Scheduler,
    block_next: u64,
}

impl World {
    fn new(ops: Vec<OpSpec>, store: u64) -> Self {
        let has = Resources { gpu: Slots::whole(1), ..Resources::cpu(Slots::whole(2)) };
        let config = Config { block_bytes_target: Bytes(100), ..Config::default() };
        let plan = Plan::new(ops, config).unwrap();
        let scheduler = Scheduler::submit(plan, vec![(NODE, has, Bytes(store))]).unwrap();
        let mut world = Self { scheduler, block_next: 0 };
        world.at(0, Event::TimePassed);
        world
    }

    fn at(&mut self, now: u64, event: Event) -> Vec<Action> {
        self.scheduler.handle(Time(now), event);
        std::iter::from_fn(|| self.scheduler.poll_action()).collect()
    }

    fn produce(&mut self, now: u64, task: u64) -> Vec<Action> {
        let block = BlockId(self.block_next);
        self.block_next += 1;
        let (rows, bytes) = (Rows(1), Bytes(100));
        self.at(
            now,
            Event::BlockProduced {
                task: TaskId(task),
                block,
                rows,
                bytes,
                node: NODE,
                partition: 0,
            },
        )
    }

    /// A task waits with its next block.
    fn wait(&mut self, now: u64, task: u64) -> Vec<Action> {
        self.at(now, Event::BlockReady { task: TaskId(task), ordinal: 1, bytes: Bytes(100) })
    }

    fn finish(&mut self, now: u64, task: u64, busy: u64) -> Vec<Action> {
        let heap_peak = Bytes::ZERO;
        self.at(now, Event::TaskFinished { task: TaskId(task), busy: Span(busy), heap_peak })
    }

    fn snapshot(&mut self, now: u64) -> Snapshot {
        self.at(now, Event::TimePassed);
        self.scheduler.snapshot()
    }
}

/// The activities that have time, in workers or whole slots times microseconds.
fn parts(times: &Times, unit: u128) -> Vec<(Activity, u128)> {
    let all = Activity::ALL.map(|activity| (activity, times.of(activity) / unit));
    all.into_iter().filter(|(_, time)| *time > 0).collect()
}

#[test]
fn what_a_task_neither_worked_nor_was_paused_is_its_start() {
    let mut world = World::new(vec![source(1)], 10_000);
    let before = world.snapshot(10);
    assert_eq!(parts(&before.ops[0].times, 1), [(Activity::Compute, 10)], "nothing is reported");
    world.finish(10, 0, 6);
    let after = world.snapshot(10);
    assert_eq!(
        parts(&after.ops[0].times, 1),
        [(Activity::Compute, 6), (Activity::Starting, 4)],
        "it worked for 6 of 10 us"
    );
    // The other CPU had nothing to do, and there is no work for the GPU.
    let idle = [(Activity::Compute, 6), (Activity::InputWait, 10), (Activity::Starting, 4)];
    assert_eq!(parts(&after.cpu_times, CPU), idle);
    assert_eq!(parts(&after.gpu_times, CPU), [(Activity::Idle, 10)]);
}

#[test]
fn a_paused_task_is_blocked_by_its_output() {
    // The store holds one block, and the first stays with the consumer.
    let mut world = World::new(vec![source(1)], 100);
    assert_eq!(
        world.produce(10, 0),
        [Action::EmitBlock {
            block: BlockId(0),
            instead_of: None,
            consumer: 0,
            at: OutputPlace::default()
        }]
    );
    assert_eq!(world.wait(10, 0), []);
    let taken = world.at(40, Event::OutputTaken { block: BlockId(0) });
    assert!(
        taken.contains(&Action::ResumeTask { task: TaskId(0), credit: Bytes(100) }),
        "{taken:?}"
    );
    world.produce(50, 0);
    world.finish(50, 0, 20);
    let times = world.snapshot(50).ops[0].times;
    assert_eq!(parts(&times, 1), [(Activity::Compute, 20), (Activity::OutputBlocked, 30)]);
    assert_eq!(
        world.scheduler.snapshot().bottleneck().map(|found| found.bottleneck),
        Some(Bottleneck::SlowConsumer),
        "for 30 of 50 us the room was the consumer's"
    );
}

#[test]
fn a_task_that_worked_while_it_was_thought_paused_was_not_blocked() {
    let mut world = World::new(vec![source(1)], 100);
    world.produce(10, 0);
    world.wait(10, 0);
    world.at(40, Event::OutputTaken { block: BlockId(0) });
    world.finish(50, 0, 45);
    let times = world.snapshot(50).ops[0].times;
    assert_eq!(parts(&times, 1), [(Activity::Compute, 45), (Activity::OutputBlocked, 5)]);
}

#[test]
fn an_actor_loads_waits_and_works() {
    let mut world = World::new(vec![source(1), actors(1)], 10_000);
    world.at(30, Event::ActorReady { actor: ActorId(0), node: NODE, load: Span(30) });
    world.produce(40, 0);
    world.finish(40, 0, 40);
    world.finish(65, 1, 20);
    let times = world.snapshot(65).gpu_times;
    assert_eq!(
        parts(&times, CPU),
        [
            (Activity::Compute, 20),
            (Activity::InputWait, 10),
            (Activity::Starting, 5),
            (Activity::Loading, 30)
        ]
    );
}

#[test]
fn tasks_of_an_actor_that_are_reported_together_count_for_what_they_worked() {
    let mut world = World::new(vec![source(2), actors(2)], 10_000);
    world.at(0, Event::ActorReady { actor: ActorId(0), node: NODE, load: Span(0) });
    for task in [0, 1] {
        world.produce(0, task);
        world.finish(0, task, 0);
    }
    // The driver hears of both at 30, of which the actor worked for 24 without a break.
    world.finish(30, 2, 12);
    world.finish(30, 3, 12);
    let times = world.snapshot(30).ops[1].times;
    assert_eq!(parts(&times, 1), [(Activity::Compute, 24), (Activity::Starting, 6)]);
}

#[test]
fn the_time_of_a_node_counts_from_when_it_joins_until_it_is_lost() {
    let mut world = World::new(vec![source(1)], 10_000);
    let resources = Resources::cpu(Slots::whole(3));
    world.at(10, Event::NodeJoined { node: NodeId(1), resources, store: Bytes(1) });
    world.at(14, Event::NodeLost { node: NodeId(1) });
    let times = world.snapshot(20).cpu_times;
    assert_eq!(times.total(), CPU * (2 * 20 + 3 * 4));
}

#[test]
fn each_operator_tells_how_long_which_reason_held_it() {
    let mut world = World::new(vec![source(1), actors(1)], 10_000);
    world.at(5, Event::ActorReady { actor: ActorId(0), node: NODE, load: Span(5) });
    world.produce(20, 0);
    world.finish(20, 0, 20);
    let held = world.snapshot(50).ops[1].held.clone();
    assert_eq!(held.get("input_empty"), Some(&Span(50)), "{held:?}");
}
