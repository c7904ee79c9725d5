//! The scheduler's promises, each as a named test, driven by hand and by random worlds.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream_core::{
    Action, ActorId, BlockId, Bytes, Config, Event, FailCause, NodeId, OpId, OpKind, OpSpec, Plan,
    PoolSpec, Resources, Rows, Scheduler, Slots, Span, SubmitError, TaskFailure, TaskId, Time,
    Unit, Work,
};
use proptest::prelude::*;

use common::{source, tasks};

const NODE: NodeId = NodeId(0);
const MIB: u64 = 1 << 20;
/// Rows of each block.
const ROWS: u64 = 10;

fn actors(input: u32, min: u32, max: u32) -> OpSpec {
    let pool = PoolSpec { actors_min: min, actors_max: max, tasks_in_flight_max: 2 };
    common::actors(input, pool)
}

fn config() -> Config {
    Config { block_bytes_target: Bytes(10 * MIB), ..Config::default() }
}

/// What a task is to do in a [`World`].
#[derive(Clone, Copy, Debug)]
struct Body {
    blocks: u32,
    bytes: u64,
}

/// A cluster of one node in which nothing happens until a test says so.
struct World {
    scheduler: Scheduler,
    body: Body,
    /// Live tasks: operator, actor, credit that is left, next ordinal.
    live: BTreeMap<TaskId, (OpId, Option<ActorId>, Bytes, u32)>,
    /// Tasks that wait with a finished block.
    waiting: BTreeSet<TaskId>,
    /// Blocks that each attempt handed over.
    made: BTreeMap<TaskId, u32>,
    starting: VecDeque<ActorId>,
    actions: Vec<Action>,
    emitted: VecDeque<BlockId>,
    outputs: Vec<BlockId>,
    cancelled: BTreeSet<TaskId>,
    dropped: BTreeSet<BlockId>,
    block_next: u64,
}

impl World {
    fn new(ops: Vec<OpSpec>, config: Config, cpus: u64, gpus: u64, store: u64) -> Self {
        Self { body: Body { blocks: 1, bytes: MIB }, ..Self::with(ops, config, cpus, gpus, store) }
    }

    fn with(ops: Vec<OpSpec>, config: Config, cpus: u64, gpus: u64, store: u64) -> Self {
        let has =
            Resources { cpu: Slots::whole(cpus), gpu: Slots::whole(gpus), ..Resources::default() };
        let plan = Plan::new(ops, config).unwrap();
        let scheduler = Scheduler::submit(plan, vec![(NODE, has, Bytes(store))]).unwrap();
        let mut world = Self {
            scheduler,
            body: Body { blocks: 1, bytes: MIB },
            live: BTreeMap::new(),
            waiting: BTreeSet::new(),
            made: BTreeMap::new(),
            starting: VecDeque::new(),
            actions: Vec::new(),
            emitted: VecDeque::new(),
            outputs: Vec::new(),
            cancelled: BTreeSet::new(),
            dropped: BTreeSet::new(),
            block_next: 0,
        };
        world.tell(Event::TimePassed);
        world
    }

    /// Reports an event, obeys the orders that follow, and returns them.
    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.at(Time(0), event)
    }

    fn at(&mut self, now: Time, event: Event) -> Vec<Action> {
        self.scheduler.handle(now, event);
        let actions: Vec<Action> = std::iter::from_fn(|| self.scheduler.poll_action()).collect();
        self.scheduler.assert_invariants();
        for action in &actions {
            self.obey(action);
        }
        self.actions.extend(actions.clone());
        actions
    }

    fn obey(&mut self, action: &Action) {
        match action {
            Action::LaunchTask { task, op, actor, credit, rows_skipped, .. } => {
                let skipped = u32::try_from(rows_skipped.0 / ROWS).unwrap();
                self.live.insert(*task, (*op, *actor, *credit, skipped));
                self.made.insert(*task, 0);
            }
            Action::ResumeTask { task, credit } => {
                self.live.get_mut(task).unwrap().2 += *credit;
                self.waiting.remove(task);
            }
            Action::StartActor { actor, .. } => self.starting.push_back(*actor),
            Action::EmitBlock { block, .. } => {
                self.emitted.push_back(*block);
                self.outputs.push(*block);
            }
            Action::DropBlock { block } => assert!(self.dropped.insert(*block), "{block} twice"),
            Action::CancelTask { task } => assert!(self.cancelled.insert(*task), "{task} twice"),
            Action::StopActor { .. }
            | Action::CommitEpoch { .. }
            | Action::ExtendSource { .. }
            | Action::FailRun { .. } => {}
        }
    }

    /// Lets a task finish its next block, and hand it over if it has the credit.
    fn work_on(&mut self, task: TaskId) {
        let bytes = Bytes(self.body.bytes);
        if self.live[&task].2 >= bytes {
            self.produce(task);
        } else {
            self.waiting.insert(task);
            self.tell(Event::BlockReady { task, ordinal: self.made[&task], bytes });
        }
    }

    /// Lets a task hand over its next block.
    fn produce(&mut self, task: TaskId) -> BlockId {
        let block = BlockId(self.block_next);
        self.block_next += 1;
        let state = self.live.get_mut(&task).unwrap();
        let (rows, bytes) = (Rows(ROWS), Bytes(self.body.bytes));
        assert!(state.2 >= bytes, "{task} has no credit");
        state.2 -= bytes;
        state.3 += 1;
        *self.made.get_mut(&task).unwrap() += 1;
        self.tell(Event::BlockProduced { task, block, rows, bytes, node: NODE, partition: 0 });
        block
    }

    fn finish(&mut self, task: TaskId) {
        self.live.remove(&task);
        self.tell(Event::TaskFinished { task, busy: Span(1_000), heap_peak: Bytes::ZERO });
    }

    /// Lets each task of the source hand over a block and end.
    fn read_all(&mut self) {
        for task in self.live_of(0) {
            self.produce(task);
            self.finish(task);
        }
    }

    fn fail(&mut self, task: TaskId, failure: TaskFailure) -> Vec<Action> {
        self.live.remove(&task);
        self.waiting.remove(&task);
        self.tell(Event::TaskFailed { task, failure })
    }

    fn ready(&mut self) {
        while let Some(actor) = self.starting.pop_front() {
            self.tell(Event::ActorReady { actor, node: NODE, load: Span(0) });
        }
    }

    fn live_of(&self, op: u32) -> Vec<TaskId> {
        self.live.iter().filter(|(_, state)| state.0 == OpId(op)).map(|(task, _)| *task).collect()
    }

    /// Whether a task can do something: hand over a block, or end.
    fn can_step(&self, task: TaskId) -> bool {
        let actor = self.live[&task].1;
        let is_head = actor.is_none_or(|actor| {
            self.live
                .iter()
                .find(|(_, s)| s.1 == Some(actor))
                .is_some_and(|(head, _)| *head == task)
        });
        self.cancelled.contains(&task) || is_head && !self.waiting.contains(&task)
    }

    /// One step of the world, the `choice`-th of those possible; false when nothing can happen.
    fn step(&mut self, choice: usize) -> bool {
        let tasks: Vec<TaskId> =
            self.live.keys().copied().filter(|task| self.can_step(*task)).collect();
        let kinds = tasks.len() + usize::from(!self.emitted.is_empty()) + self.starting.len();
        if kinds == 0 {
            return false;
        }
        let pick = choice % kinds;
        if let Some(task) = tasks.get(pick) {
            if self.cancelled.contains(task) {
                self.fail(*task, TaskFailure::Cancelled);
            } else if self.live[task].3 < self.body.blocks {
                self.work_on(*task);
            } else {
                self.finish(*task);
            }
        } else if let Some(actor) = self.starting.pop_front() {
            self.tell(Event::ActorReady { actor, node: NODE, load: Span(0) });
        } else if let Some(block) = self.emitted.pop_front() {
            self.tell(Event::OutputTaken { block });
        }
        true
    }

    fn run_to_the_end(&mut self, choices: &[usize]) {
        for choice in choices.iter().copied().cycle().take(100_000) {
            if !self.step(choice) {
                break;
            }
        }
        assert!(self.scheduler.is_done(), "I4: {:#?}", self.scheduler.snapshot());
    }
}

#[test]
fn what_is_nearest_to_the_output_goes_first() {
    let mut world = World::new(vec![source(4), tasks(0)], config(), 1, 0, 1 << 30);
    let read = world.live_of(0)[0];
    world.produce(read);
    world.finish(read);
    assert_eq!((world.live_of(0).len(), world.live_of(1).len()), (0, 1));
}

#[test]
fn a_task_larger_than_every_node_is_refused_with_the_arithmetic() {
    let plan = Plan::new(vec![source(1), actors(0, 1, 1)], config()).unwrap();
    let node = (NODE, Resources::cpu(Slots::whole(2)), Bytes(1 << 30));
    let error = Scheduler::submit(plan, vec![node]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "operator 'Infer' needs 1 GPU for each actor, but no node has that; the largest amounts on \
         one node are 2 CPU"
    );
}

#[test]
fn a_store_without_room_for_a_block_of_each_operator_is_refused_where_that_is_asked_for() {
    let submit = |store: u64, strict_memory: bool| {
        let ops = vec![source(1), tasks(0), tasks(1)];
        let plan = Plan::new(ops, Config { strict_memory, ..config() }).unwrap();
        let node = |id: u32| (NodeId(id), Resources::cpu(Slots::whole(2)), Bytes(store));
        Scheduler::submit(plan, vec![node(0), node(1)]).map_err(|error| error.to_string())
    };
    assert_eq!(
        submit(19 * MIB, true).unwrap_err(),
        "3 operators need a block of 10.0 MiB each in the object store at a time, 30.0 MiB in all, but \
         the nodes have room for 2 such blocks; allow more memory, make blocks smaller, or turn \
         strict_memory off"
    );
    assert!(submit(20 * MIB, true).is_ok());
    assert!(submit(19 * MIB, false).is_ok());
}

#[test]
fn pools_that_do_not_fit_together_are_refused_with_the_arithmetic() {
    let plan = Plan::new(vec![source(1), actors(0, 2, 2), actors(1, 1, 1)], config()).unwrap();
    let has = Resources { gpu: Slots::whole(2), ..Resources::cpu(Slots::whole(2)) };
    let error = Scheduler::submit(plan, vec![(NODE, has, Bytes(1 << 30))]).unwrap_err();
    assert!(matches!(error, SubmitError::Pools { placed: 0, wanted: 1, .. }), "{error}");
    assert!(error.to_string().contains("need 3 GPU, the cluster has 2 CPU, 2 GPU"), "{error}");
}

#[test]
fn pools_that_leave_no_cpu_for_a_task_are_refused() {
    let greedy = OpSpec { resources: Resources::cpu(Slots::whole(2)), ..actors(0, 1, 1) };
    let plan = Plan::new(vec![source(1), greedy], config()).unwrap();
    let node = (NODE, Resources::cpu(Slots::whole(2)), Bytes(1 << 30));
    let error = Scheduler::submit(plan, vec![node]).unwrap_err();
    assert!(
        error.to_string().starts_with("operator 'Read' needs 1 CPU for each task, but"),
        "{error}"
    );
}

#[test]
fn a_source_is_held_while_there_would_be_no_room_for_its_output() {
    let config = Config { block_bytes_target: Bytes(MIB), ..config() };
    let world = World::new(vec![source(9), tasks(0)], config, 9, 0, 8 * MIB);
    assert_eq!(world.live_of(0).len(), 7, "one block's room is kept for the map");
    let verdict = world.scheduler.snapshot().ops[0].verdict.to_string();
    let expected = "will need 1.0 MiB of object store when its next task ends, 0 B will be free";
    assert_eq!(verdict, expected);
}

/// A source on 8 CPUs of which a unit is as large as half of the store, and a map.
fn large_units() -> World {
    units_of(Bytes(5 * MIB))
}

/// A source on 8 CPUs of whose units so much is declared, and a map.
fn units_of(bytes: Bytes) -> World {
    let read = OpSpec {
        kind: OpKind::Source { units: vec![Unit { bytes }; 20], is_open: false },
        ..source(0)
    };
    let config = Config { block_bytes_target: Bytes(MIB), ..config() };
    World::new(vec![read, tasks(0)], config, 8, 0, 10 * MIB)
}

/// When more tasks of the source are launched while nothing else happens, in seconds.
fn later_launches(world: &mut World) -> Vec<u64> {
    let mut launches = vec![];
    while let Some(due) = world.scheduler.next_wakeup() {
        let before = world.live_of(0).len();
        world.at(due, Event::TimePassed);
        assert_eq!(world.live_of(0).len(), before + 1);
        assert_eq!(due.0 % 1_000_000, 0);
        launches.push(due.0 / 1_000_000);
    }
    launches
}

#[test]
fn unknown_tasks_that_last_are_joined_by_others_at_growing_distances() {
    let mut world = units_of(Bytes(3 * MIB));
    assert_eq!(world.live_of(0).len(), 4, "half of the slots");
    assert_eq!(later_launches(&mut world), [1, 2, 4], "a slot is left for the map");
}

#[test]
fn unknown_tasks_are_no_more_than_the_stores_are_declared_to_hold_and_later_twice_as_many() {
    let mut world = large_units();
    assert_eq!(world.live_of(0).len(), 2, "as many as the store holds the output of");
    assert_eq!(later_launches(&mut world), [1, 2], "twice what the store holds is on its way");
}

#[test]
fn of_tasks_that_end_together_the_oldest_hands_over_all_its_blocks_first() {
    let mut world = large_units();
    world.body = Body { blocks: 9, bytes: MIB };
    world.scheduler.handle(Time(1_000_000), Event::TimePassed);
    for _ in 0..9 {
        for task in world.live_of(0) {
            if world.can_step(task) && world.made[&task] < 9 {
                world.work_on(task);
            }
        }
    }
    let made: Vec<u32> = world.live_of(0).iter().map(|task| world.made[task]).collect();
    assert!(made[0] > 3 * made[1].max(1), "{made:?}");
}

#[test]
fn a_block_without_credit_waits_until_there_is_room() {
    let config = Config { block_bytes_target: Bytes(MIB), ..config() };
    let mut world = World::new(vec![source(2)], config, 1, 0, 2 * MIB);
    world.body = Body { blocks: 2, bytes: 2 * MIB };
    let read = world.live_of(0)[0];
    world.work_on(read);
    let first = world.produce(read);
    world.work_on(read);
    assert_eq!(world.scheduler.snapshot().ops[0].tasks_paused, 1);
    let actions = world.tell(Event::OutputTaken { block: first });
    let resumed = Action::ResumeTask { task: read, credit: Bytes(2 * MIB) };
    assert!(actions.contains(&resumed), "{actions:?}");
}

/// The credits that a task on a store of 1 GiB gets beside that of its launch, if each of its blocks is taken
/// at once.
fn credits(blocks: u32, bytes: u64) -> Vec<u64> {
    let config = Config { block_bytes_target: Bytes(bytes), ..config() };
    let mut world = World::new(vec![source(1)], config, 1, 0, 1 << 30);
    world.body = Body { blocks, bytes };
    let task = world.live_of(0)[0];
    for _ in 0..blocks {
        world.work_on(task);
        if world.emitted.is_empty() {
            world.produce(task);
        }
        let block = world.emitted.pop_front().unwrap();
        world.tell(Event::OutputTaken { block });
    }
    let credit = |action: &Action| match action {
        Action::ResumeTask { credit, .. } => Some(credit.0),
        _ => None,
    };
    world.actions.iter().filter_map(credit).collect()
}

#[test]
fn a_task_of_many_tiny_blocks_gets_credit_for_as_many_as_it_has_made() {
    let tiny = credits(1000, 8);
    assert!(tiny.len() <= 25 && tiny.is_sorted(), "{tiny:?}");
    assert!(tiny.iter().sum::<u64>() <= 2 * 1000 * 8, "{tiny:?}");
    let small = credits(1000, 1 << 10);
    assert!(small.len() <= 50 && small.iter().all(|credit| *credit <= 64 << 10), "{small:?}");
    let large = credits(100, MIB);
    assert!(large.len() >= 99 && large.iter().all(|credit| *credit == MIB), "{large:?}");
}

#[test]
fn a_retry_leaves_out_the_rows_that_were_handed_over() {
    let mut world = World::new(vec![source(1)], config(), 1, 0, 1 << 30);
    world.body.blocks = 3;
    let first = world.live_of(0)[0];
    world.produce(first);
    let actions = world.fail(first, TaskFailure::WorkerDied);
    let [Action::LaunchTask { task, attempt, rows_skipped, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!((*attempt, *rows_skipped), (1, Rows(10)));
    assert_ne!(*task, first);
}

#[test]
fn output_of_a_dead_attempt_is_dropped_and_counted() {
    let mut world = World::new(vec![source(1)], config(), 1, 0, 1 << 30);
    let first = world.live_of(0)[0];
    world.fail(first, TaskFailure::WorkerDied);
    let before = world.scheduler.snapshot();
    let (rows, bytes) = (Rows(1), Bytes(MIB));
    let late = Event::BlockProduced {
        task: first,
        block: BlockId(77),
        rows,
        bytes,
        node: NODE,
        partition: 0,
    };
    assert_eq!(world.tell(late), [Action::DropBlock { block: BlockId(77) }]);
    let mut after = world.scheduler.snapshot();
    assert_eq!(after.stale_events, before.stale_events + 1);
    after.stale_events = before.stale_events;
    assert_eq!(after, before, "I7");
}

#[test]
fn a_task_whose_worker_dies_four_times_fails_the_run() {
    let mut world = World::new(vec![source(1)], config(), 1, 0, 1 << 30);
    for _ in 0..3 {
        let task = world.live_of(0)[0];
        assert!(matches!(
            world.fail(task, TaskFailure::WorkerDied)[..],
            [Action::LaunchTask { .. }]
        ));
    }
    let task = world.live_of(0)[0];
    let cause = FailCause::TaskDeaths { count: 4 };
    assert_eq!(
        world.fail(task, TaskFailure::OutOfMemory),
        [Action::FailRun { op: OpId(0), task: Some(task), cause }]
    );
}

#[test]
fn losing_a_turn_uses_up_no_retries() {
    let mut world = World::new(vec![source(1)], config(), 1, 0, 1 << 30);
    for _ in 0..20 {
        let task = world.live_of(0)[0];
        world.fail(task, TaskFailure::NotRun);
    }
    world.run_to_the_end(&[0]);
}

#[test]
fn user_errors_fail_the_run_once() {
    let mut world = World::new(vec![source(2)], config(), 2, 0, 1 << 30);
    let both = world.live_of(0);
    let actions = world.fail(both[0], TaskFailure::UserCode);
    assert!(matches!(actions[..], [Action::FailRun { cause: FailCause::UserCode, .. }]));
    assert_eq!(world.fail(both[1], TaskFailure::UserCode), []);
}

#[test]
fn a_pool_loads_its_smallest_size_before_there_is_input_and_grows_when_work_waits() {
    let mut world = World::new(vec![source(12), actors(0, 1, 3)], config(), 8, 3, 1 << 30);
    assert_eq!(world.starting.len(), 1);
    world.read_all();
    assert_eq!(world.starting.len(), 2, "four tasks wait for actors that take two each");
    world.run_to_the_end(&[0]);
    let stopped = world.actions.iter().filter(|a| matches!(a, Action::StopActor { .. })).count();
    assert_eq!(stopped, 3);
}

#[test]
fn when_an_actor_dies_only_the_task_it_ran_is_charged() {
    let mut world = World::new(vec![source(8), actors(0, 1, 1)], config(), 8, 1, 1 << 30);
    world.ready();
    world.read_all();
    for actor in (0..3).map(ActorId) {
        assert_eq!(world.live_of(1).len(), 2);
        world.live.retain(|_, state| state.0 != OpId(1));
        let actions =
            world.tell(Event::ActorLost { actor, user_code: false, out_of_memory: false });
        assert!(matches!(actions[..], [Action::StartActor { .. }]), "{actions:?}");
        world.ready();
    }
    let snapshot = world.scheduler.snapshot();
    assert_eq!((snapshot.ops[1].tasks_failed, snapshot.ops[1].actors_lost), (6, 3));
    world.run_to_the_end(&[0]);
}

#[test]
fn work_behind_a_younger_task_that_has_no_room_goes_first() {
    let config = Config { block_bytes_target: Bytes(MIB), ..config() };
    let mut world = World::new(vec![source(2), actors(0, 2, 2)], config, 2, 2, 5 * MIB);
    world.ready();
    world.body = Body { blocks: 9, bytes: MIB };
    world.read_all();
    let [older, younger] = world.live_of(1)[..] else { panic!("one task for each actor") };
    world.live.remove(&older);
    world.made.remove(&older);
    world.tell(Event::ActorLost { actor: ActorId(0), user_code: false, out_of_memory: false });
    let retry = *world.live_of(1).last().unwrap();
    assert_eq!(world.live[&retry].1, Some(ActorId(1)), "it waits at the actor that is left");
    while !world.waiting.contains(&younger) {
        world.work_on(younger);
    }
    assert!(world.cancelled.is_empty(), "an actor starts, so something will happen");
    world.ready();
    assert!(world.cancelled.contains(&younger), "{:#?}", world.scheduler.snapshot());
    world.run_to_the_end(&[0]);
    assert_eq!(world.scheduler.snapshot().overshoots, 0);
}

#[test]
fn actors_that_die_loading_four_times_in_a_row_fail_the_run() {
    let mut world = World::new(vec![source(1), actors(0, 1, 1)], config(), 1, 1, 1 << 30);
    for _ in 0..3 {
        let actor = world.starting.pop_front().unwrap();
        world.tell(Event::ActorLost { actor, user_code: false, out_of_memory: false });
    }
    let actor = world.starting.pop_front().unwrap();
    let actions = world.tell(Event::ActorLost { actor, user_code: false, out_of_memory: false });
    let cause = FailCause::ActorDeaths { count: 4 };
    assert_eq!(actions, [Action::FailRun { op: OpId(1), task: None, cause }]);
}

#[test]
fn a_batch_waits_for_its_rows_unless_no_more_come() {
    let batched = OpSpec { bundle_rows_min: Rows(25), ..tasks(0) };
    let mut world = World::new(vec![source(3), batched], config(), 8, 0, 1 << 30);
    let reads = world.live_of(0);
    world.produce(reads[0]);
    world.finish(reads[0]);
    world.produce(reads[1]);
    world.finish(reads[1]);
    assert_eq!(world.live_of(1).len(), 0);
    let verdict = world.scheduler.snapshot().ops[1].verdict.to_string();
    assert_eq!(verdict, "waits for a full batch: 20 of 25 rows");
    let last = world.live_of(0)[0];
    world.produce(last);
    assert_eq!(world.live_of(1).len(), 1, "30 rows wait");
    world.finish(last);
    world.run_to_the_end(&[0]);
}

#[test]
fn one_cpu_is_enough_for_two_operators_whose_tasks_must_be_paused() {
    let config = Config { block_bytes_target: Bytes(MIB), ..config() };
    let mut world = World::new(vec![source(2), tasks(0)], config, 1, 0, 8 * MIB);
    world.body.blocks = 20;
    world.run_to_the_end(&[0]);
    let snapshot = world.scheduler.snapshot();
    assert_eq!(snapshot.ops[0].rows_out, 400);
    assert!(snapshot.nodes[0].store_used_peak <= Bytes(8 * MIB));
}

#[test]
fn after_a_stop_there_are_only_cancel_drop_and_stop() {
    let mut world = World::new(vec![source(50), actors(0, 1, 1)], config(), 4, 1, 1 << 30);
    world.ready();
    for task in world.live_of(0) {
        world.produce(task);
    }
    let mut actions = world.tell(Event::StopRequested);
    for task in world.live.keys().copied().collect::<Vec<_>>() {
        actions.extend(world.fail(task, TaskFailure::Cancelled));
    }
    assert!(!actions.is_empty());
    for action in &actions {
        let allowed = matches!(
            action,
            Action::CancelTask { .. } | Action::DropBlock { .. } | Action::StopActor { .. }
        );
        assert!(allowed, "I8: {action:?}");
    }
    assert!(world.scheduler.is_done());
    assert_eq!(world.scheduler.snapshot().nodes[0].store_reserved, Bytes::ZERO);
}

#[test]
fn a_stop_does_not_forget_actors_that_the_same_turn_stops() {
    let mut world = World::new(vec![source(1), actors(0, 1, 1)], config(), 1, 1, 1 << 30);
    world.ready();
    world.scheduler.handle(Time(1), Event::NodeDraining { node: NODE });
    let actions = world.at(Time(1), Event::StopRequested);
    assert!(actions.contains(&Action::StopActor { actor: ActorId(0) }), "{actions:?}");
}

#[test]
fn small_units_are_bundled_once_their_cost_is_known() {
    let mut world = World::new(vec![source(10_000)], config(), 2, 0, 1 << 30);
    world.read_all();
    let bundled = world.actions.iter().find_map(|action| match action {
        Action::LaunchTask { work: Work::Units { count, .. }, .. } if *count > 1 => Some(*count),
        _ => None,
    });
    assert_eq!(bundled, Some(10), "ten blocks of 1 MiB make a full one of 10 MiB");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_schedule_ends_in_order_within_the_store(
        units in 1usize..12,
        blocks in 0u32..5,
        cpus in 1u64..4,
        maps in 0u32..3,
        with_actors in any::<bool>(),
        store_blocks in 1u64..6,
        choices in proptest::collection::vec(0usize..100, 1..40),
    ) {
        let mut ops = vec![source(units)];
        ops.extend((0..maps).map(tasks));
        if with_actors {
            ops.push(actors(maps, 1, 2));
        }
        let count = ops.len() as u64;
        // One block for each operator, and a little more.
        let store = (count + store_blocks) * MIB;
        let config = Config { block_bytes_target: Bytes(MIB), ..config() };
        let mut world = World::new(ops, config, cpus, 2, store);
        world.body.blocks = blocks;
        world.run_to_the_end(&choices);
        let snapshot = world.scheduler.snapshot();
        prop_assert_eq!(snapshot.overshoots, 0);
        prop_assert!(snapshot.nodes[0].store_used_peak <= Bytes(store), "I5");
        prop_assert_eq!(snapshot.output_rows, snapshot.ops.last().unwrap().rows_out);
        prop_assert_eq!(world.dropped.len() as u64, world.block_next, "I2: every block is dropped once");
    }
}

#[test]
fn a_turn_with_many_orders_is_cut_and_goes_on_at_once() {
    let mut world = World::new(vec![source(2_000)], config(), 2_000, 0, 1 << 40);
    assert!((1..2_000).contains(&world.live.len()), "{} in one turn", world.live.len());
    for _ in 0..10 {
        if world.scheduler.next_wakeup() == Some(Time(0)) {
            world.tell(Event::TimePassed);
        }
    }
    assert_eq!((world.live.len(), world.scheduler.next_wakeup()), (2_000, None));
}
