//! A large cluster that costs little: it answers each order after a virtual time.
//!
//! Owns the world in which cost is measured: a source, two stateless stages and a pool of actors
//! between them, on as many nodes and workers as are wanted. It honours credits as a backend does,
//! and judges nothing.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use millstream_core::{
    Action, ActorId, BlockId, Bytes, Config, Event, NodeId, OpId, OpKind, OpSpec, Plan, PoolSpec,
    Resources, Rows, Scheduler, Slots, Span, TaskFailure, TaskId, Time, Unit, Work,
};

use crate::random::Random;

/// How large a farm is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes, all alike.
    pub nodes: u32,
    /// Workers on each, four for the CPU and one for the GPU in five.
    pub workers_per_node: u32,
    /// Blocks that all operators make together.
    pub blocks: u64,
    /// Blocks for which a node has room.
    pub store_blocks: u64,
}

impl Size {
    /// 10,000 workers on 1,000 nodes, and a million blocks.
    pub const LARGE: Self =
        Self { nodes: 1_000, workers_per_node: 10, blocks: 1_000_000, store_blocks: 160 };

    /// The same on `nodes` nodes, with as many blocks for each worker.
    #[must_use]
    pub const fn on_nodes(self, nodes: u32) -> Self {
        let blocks = self.blocks * nodes as u64 / self.nodes as u64;
        Self { nodes, blocks, ..self }
    }
}

/// A cluster at work, and its virtual clock.
#[derive(Debug)]
pub struct Farm {
    plan: Plan,
    nodes: Vec<(NodeId, Resources, Bytes)>,
    now: Time,
    due: BinaryHeap<Reverse<(Time, u64, Due)>>,
    due_count: u64,
    jobs: HashMap<TaskId, Job>,
    actors: HashMap<ActorId, Seat>,
    block_next: u64,
}

/// A task at its worker.
#[derive(Debug)]
struct Job {
    node: NodeId,
    actor: Option<ActorId>,
    blocks_left: u64,
    span_each: Span,
    busy: Span,
    credit: Bytes,
    handed_over: u32,
    /// Whether it holds a finished block until it gets credit.
    holds: bool,
}

/// An actor: where it is, and its tasks, the first of which runs.
#[derive(Debug)]
struct Seat {
    node: NodeId,
    is_ready: bool,
    tasks: VecDeque<TaskId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A task has finished a block, or may hand over the one that it holds.
    Block(TaskId),
    Cancelled(TaskId),
    Loaded(ActorId),
    Taken(BlockId),
}

impl Farm {
    /// A farm at time zero.
    ///
    /// # Panics
    /// Never: its plan is a chain.
    #[must_use]
    pub fn new(size: &Size) -> Self {
        let gpus = u64::from(size.workers_per_node / 5);
        let cpus = u64::from(size.workers_per_node) - gpus;
        let has =
            Resources { cpu: Slots::whole(cpus), gpu: Slots::whole(gpus), ..Resources::default() };
        let store = Bytes(size.store_blocks * BLOCK_BYTES);
        let actors = size.nodes * (size.workers_per_node / 5);
        let config = Config { block_bytes_target: Bytes(BLOCK_BYTES), ..Config::default() };
        Self {
            plan: Plan::new(operators(size.blocks, actors), config)
                .expect("because the operators are a chain"),
            nodes: (0..size.nodes).map(|node| (NodeId(node), has.clone(), store)).collect(),
            now: Time::default(),
            due: BinaryHeap::new(),
            due_count: 0,
            jobs: HashMap::new(),
            actors: HashMap::new(),
            block_next: 0,
        }
    }

    /// The scheduler of a run on this farm.
    ///
    /// # Panics
    /// Never: each node can hold each operator.
    #[must_use]
    pub fn submit(&self) -> Scheduler {
        Scheduler::submit(self.plan.clone(), self.nodes.clone())
            .expect("because each node can hold each operator")
    }

    /// What runs.
    #[must_use]
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The nodes at the start.
    #[must_use]
    pub fn nodes(&self) -> &[(NodeId, Resources, Bytes)] {
        &self.nodes
    }

    /// The present.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass until something happens, or until `wakeup`, and answers with all that happens
    /// within a driver's turn. None: nothing is due.
    pub fn wait(&mut self, wakeup: Option<Time>) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        let first = self.due.peek().map(|Reverse((time, _, _))| time.after(TURN));
        let until = first.into_iter().chain(wakeup).min()?.max(self.now);
        while let Some((time, due)) = self.next_due(until) {
            self.now = self.now.max(time);
            self.happen(due, &mut events);
        }
        self.now = until;
        Some(events)
    }

    /// Does what the scheduler ordered.
    ///
    /// # Panics
    /// If the run fails.
    pub fn perform(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::LaunchTask { task, op, node, actor, work, credit, .. } => {
                    self.launch(*task, *op, *node, *actor, work, *credit);
                }
                Action::ResumeTask { task, credit } => self.resume(*task, *credit),
                Action::CancelTask { task } => self.schedule(self.now, Due::Cancelled(*task)),
                Action::StartActor { actor, node, .. } => {
                    let seat = Seat { node: *node, is_ready: false, tasks: VecDeque::new() };
                    self.actors.insert(*actor, seat);
                    self.schedule(self.now.after(LOAD), Due::Loaded(*actor));
                }
                Action::StopActor { actor } => {
                    self.actors.remove(actor);
                }
                Action::EmitBlock { block, .. } => {
                    self.schedule(self.now.after(CONSUMED), Due::Taken(*block));
                }
                Action::DropBlock { .. }
                | Action::CommitEpoch { .. }
                | Action::ExtendSource { .. } => {}
                Action::FailRun { cause, .. } => panic!("the run failed: {cause:?}"),
            }
        }
    }

    fn launch(
        &mut self,
        task: TaskId,
        op: OpId,
        node: NodeId,
        actor: Option<ActorId>,
        work: &Work,
        credit: Bytes,
    ) {
        let blocks_left = match work {
            Work::Units { count, .. } => count * UNIT_BLOCKS,
            Work::Blocks(_) | Work::Slices(_) => work.blocks().count() as u64,
        };
        let usual = SPANS[op.0 as usize];
        let span_each = Span(Random::of(&[u64::from(op.0), task.0]).around(usual.0, SPREAD));
        let busy = span_each.times(blocks_left);
        let (handed_over, holds) = (0, false);
        let job = Job { node, actor, blocks_left, span_each, busy, credit, handed_over, holds };
        self.jobs.insert(task, job);
        match actor.and_then(|id| self.actors.get_mut(&id)) {
            Some(seat) => {
                seat.tasks.push_back(task);
                let begins = seat.is_ready && seat.tasks.len() == 1;
                if begins {
                    self.begin(task);
                }
            }
            None => self.begin(task),
        }
    }

    fn begin(&mut self, task: TaskId) {
        let at = self.now.after(self.jobs[&task].span_each);
        self.schedule(at, Due::Block(task));
    }

    fn resume(&mut self, task: TaskId, credit: Bytes) {
        // It may have ended meanwhile.
        let Some(job) = self.jobs.get_mut(&task) else { return };
        job.credit += credit;
        if std::mem::take(&mut job.holds) {
            self.schedule(self.now, Due::Block(task));
        }
    }

    fn next_due(&mut self, until: Time) -> Option<(Time, Due)> {
        self.due.peek().filter(|Reverse((time, ..))| *time <= until)?;
        self.due.pop().map(|Reverse((time, _, due))| (time, due))
    }

    fn happen(&mut self, due: Due, events: &mut Vec<Event>) {
        match due {
            Due::Block(task) => self.hand_over(task, events),
            Due::Cancelled(task) => {
                if self.jobs.contains_key(&task) {
                    let failure = TaskFailure::Cancelled;
                    events.push(Event::TaskFailed { task, failure });
                    self.end(task);
                }
            }
            Due::Loaded(actor) => {
                let Some(seat) = self.actors.get_mut(&actor) else { return };
                seat.is_ready = true;
                events.push(Event::ActorReady { actor, node: seat.node, load: LOAD });
            }
            Due::Taken(block) => events.push(Event::OutputTaken { block }),
        }
    }

    fn hand_over(&mut self, task: TaskId, events: &mut Vec<Event>) {
        let Some(job) = self.jobs.get_mut(&task) else { return };
        let bytes = Bytes(BLOCK_BYTES);
        if job.credit < bytes {
            job.holds = true;
            events.push(Event::BlockReady { task, ordinal: job.handed_over, bytes });
            return;
        }
        job.credit -= bytes;
        job.handed_over += 1;
        job.blocks_left -= 1;
        let (block, node, busy) = (BlockId(self.block_next), job.node, job.busy);
        self.block_next += 1;
        let rows = Rows(BLOCK_ROWS);
        events.push(Event::BlockProduced { task, block, rows, bytes, node, partition: 0 });
        if job.blocks_left > 0 {
            return self.begin(task);
        }
        events.push(Event::TaskFinished { task, busy, heap_peak: Bytes(HEAP_BYTES) });
        self.end(task);
    }

    fn end(&mut self, task: TaskId) {
        let job = self.jobs.remove(&task).expect("because the caller found it");
        let Some(seat) = job.actor.and_then(|id| self.actors.get_mut(&id)) else { return };
        seat.tasks.retain(|queued| *queued != task);
        if let Some(next) = seat.tasks.front().copied() {
            self.begin(next);
        }
    }

    fn schedule(&mut self, at: Time, due: Due) {
        self.due.push(Reverse((at, self.due_count, due)));
        self.due_count += 1;
    }
}

/// A source, a stage, a pool of actors and a last stage, each making a quarter of the blocks.
fn operators(blocks: u64, actors: u32) -> Vec<OpSpec> {
    let units = usize::try_from(blocks / 4 / UNIT_BLOCKS).unwrap_or(usize::MAX);
    let bytes = Bytes(UNIT_BLOCKS * BLOCK_BYTES);
    let pool = PoolSpec { actors_min: actors, actors_max: actors, tasks_in_flight_max: 2 };
    let kinds = [
        ("Read", OpKind::Source { units: vec![Unit { bytes }; units], is_open: false }),
        ("Decode", OpKind::Tasks),
        ("Infer", OpKind::Actors(pool)),
        ("Write", OpKind::Tasks),
    ];
    let spec = |(position, (name, kind)): (u32, (&str, OpKind))| OpSpec {
        name: name.to_owned(),
        inputs: position.checked_sub(1).map(OpId).into_iter().collect(),
        resources: match kind {
            OpKind::Actors(_) => Resources::gpu(Slots::whole(1)),
            _ => Resources::cpu(Slots::whole(1)),
        },
        kind,
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    (0u32..).zip(kinds).map(spec).collect()
}

/// What one block takes in each operator. The CPU stages need the four fifths of the workers that
/// are theirs, and the actors the last fifth.
const SPANS: [Span; 4] = [Span(1_500_000), Span(1_500_000), Span(1_000_000), Span(1_000_000)];
/// By how much that varies, in thousandths.
const SPREAD: u64 = 500;
/// A task of the source is paused between its blocks when memory is short.
const UNIT_BLOCKS: u64 = 4;
const BLOCK_ROWS: u64 = 1_000;
const BLOCK_BYTES: u64 = 64 << 20;
const HEAP_BYTES: u64 = 1 << 30;
const LOAD: Span = Span(5_000_000);
/// How long the consumer keeps a block.
const CONSUMED: Span = Span(10_000);
/// What happens within a turn of the driver comes in one batch.
const TURN: Span = Span(1_000);
