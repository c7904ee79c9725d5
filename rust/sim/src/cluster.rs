//! The simulated cluster: workers, actors, stores and a consumer on a virtual clock.
//!
//! Owns what physically happens, and honours the protocol of a backend: a worker hands over a block
//! only on credit, and holds at most one finished block beyond that. Knows nothing of why the
//! scheduler orders what it orders, and judges nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream_core::{
    Action, ActorId, BlockId, Bytes, Event, NodeId, OpId, Rows, Span, TaskFailure, TaskId, Time,
    Work,
};

use crate::faults::{Attempt, Blow, BlowKind};
use crate::random::Random;
use crate::rows::{Content, RowMap};
use crate::workload::{Piece, Scenario};

/// A cluster, and the clock that drives it.
#[derive(Debug)]
pub struct Cluster<'a> {
    scenario: &'a Scenario,
    rows: RowMap,
    random: Random,
    now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    queued: u64,
    /// Happenings in the queue that follow from no order of the scheduler.
    foreign: usize,
    stores: BTreeMap<NodeId, Store>,
    blocks: BTreeMap<BlockId, Stored>,
    block_next: u64,
    workers: BTreeMap<TaskId, Worker>,
    /// Tasks that ended with their actor or node and were not reported.
    unreported: BTreeSet<TaskId>,
    actors: BTreeMap<ActorId, Actor>,
    consumer: Reader,
    copies_max: u64,
    attempts: u64,
}

/// The object store of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// What fits.
    pub bytes_max: u64,
    /// What is there.
    pub bytes: u64,
    /// The most that was there.
    pub bytes_peak: u64,
    /// What had to be written to disk since it did not fit.
    pub bytes_spilled: u64,
}

impl Store {
    fn put(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.bytes_peak = self.bytes_peak.max(self.bytes);
        self.bytes_spilled += bytes.min(self.bytes.saturating_sub(self.bytes_max));
    }

    fn remove(&mut self, bytes: u64) {
        self.bytes -= bytes;
    }
}

#[derive(Clone, Debug)]
struct Stored {
    node: NodeId,
    bytes: u64,
    content: Content,
}

/// One attempt of a task, from its arrival at a worker to its end.
#[derive(Clone, Debug)]
struct Worker {
    node: NodeId,
    actor: Option<ActorId>,
    output: Content,
    pieces: VecDeque<Piece>,
    /// How long it works after its last block.
    tail: Span,
    busy: Span,
    credit: u32,
    handed_over: u32,
    /// Rows of its output that it left out or has finished.
    position: u64,
    held: Option<Piece>,
    /// Bytes of input that lie on other nodes and are copied to its own.
    copies: u64,
    blow: Option<Blow>,
    heap: u64,
    is_running: bool,
    /// When its last event reaches the driver; its events travel in order.
    reported: Time,
}

#[derive(Clone, Debug)]
struct Actor {
    node: NodeId,
    started: Time,
    is_ready: bool,
    tasks: VecDeque<TaskId>,
}

/// The consumer at work.
#[derive(Clone, Debug, Default)]
struct Reader {
    waiting: VecDeque<BlockId>,
    working_on: Option<BlockId>,
    blocks_taken: u64,
}

/// Something that is due.
#[derive(Clone, Debug)]
enum Happening {
    /// News reaches the driver.
    Arrived(Event),
    /// News from outside the run reaches the driver.
    Befell(Event),
    /// An order reaches its worker.
    Ordered(Action),
    /// A task has worked on its next block, or is at its end.
    Worked(TaskId),
    /// An attempt is hit by a fault.
    Hit(TaskId),
    /// An actor has loaded.
    Loaded(ActorId),
    /// An actor ends while it loads; whether its constructor raised.
    LoadFailed(ActorId, bool),
    /// The consumer is done with a block.
    Consumed,
}

impl<'a> Cluster<'a> {
    /// A cluster at time zero, with nothing on it.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        let mut cluster = Self {
            scenario,
            rows: scenario.row_map(),
            random: Random::of(&[scenario.seed, CHANCE]),
            now: Time::default(),
            queue: BTreeMap::new(),
            queued: 0,
            foreign: 0,
            stores: BTreeMap::new(),
            blocks: BTreeMap::new(),
            block_next: 0,
            workers: BTreeMap::new(),
            unreported: BTreeSet::new(),
            actors: BTreeMap::new(),
            consumer: Reader::default(),
            copies_max: 0,
            attempts: 0,
        };
        for spec in &scenario.nodes {
            cluster.add_store(spec.node, spec.store);
        }
        for (time, spec) in &scenario.faults.joins {
            let event = Event::NodeJoined {
                node: spec.node,
                resources: spec.resources.clone(),
                store: spec.store,
            };
            cluster.befall(*time, event);
        }
        for (time, node) in &scenario.faults.drains {
            cluster.befall(*time, Event::NodeDraining { node: *node });
        }
        for (time, node) in &scenario.faults.losses {
            cluster.befall(*time, Event::NodeLost { node: *node });
        }
        if let Some(time) = scenario.faults.stop_at {
            cluster.befall(time, Event::StopRequested);
        }
        cluster
    }

    /// The present.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The stores.
    #[must_use]
    pub const fn stores(&self) -> &BTreeMap<NodeId, Store> {
        &self.stores
    }

    /// The most bytes of input that one task had copied to its node.
    #[must_use]
    pub const fn copies_max(&self) -> u64 {
        self.copies_max
    }

    /// Whether something is due that follows from what the scheduler ordered.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.queue.len() > self.foreign
    }

    /// Lets time pass until news reaches the driver, or until `wakeup`. None: nothing is due.
    pub fn wait(&mut self, wakeup: Option<Time>) -> Option<Vec<Event>> {
        let mut events = Vec::new();
        let mut until = None;
        while let Some(next) = self.queue.first_entry() {
            let time = next.key().0;
            let is_later = until.is_some_and(|until| time > until);
            if is_later || (events.is_empty() && wakeup.is_some_and(|wakeup| wakeup < time)) {
                break;
            }
            let happening = next.remove();
            self.now = self.now.max(time);
            if let Some(event) = self.happen(happening) {
                events.push(event);
                until.get_or_insert(self.now.after(self.scenario.delays.turn));
            }
        }
        if let Some(until) = until {
            self.now = until;
            return Some(events);
        }
        let wakeup = wakeup?;
        self.now = self.now.max(wakeup);
        Some(events)
    }

    /// Does what the scheduler ordered.
    pub fn perform(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::DropBlock { block } => self.drop_block(*block),
                Action::EmitBlock { block } => {
                    self.consumer.waiting.push_back(*block);
                    self.consume();
                }
                Action::FailRun { .. } => self.befall(self.now, Event::StopRequested),
                order => {
                    let at = self.now.after(self.scenario.delays.order);
                    self.schedule(at, Happening::Ordered(order.clone()));
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening) -> Option<Event> {
        match happening {
            Happening::Arrived(event) => return Some(event),
            Happening::Befell(event) => {
                self.foreign -= 1;
                match &event {
                    Event::NodeJoined { node, store, .. } => self.add_store(*node, *store),
                    Event::NodeLost { node } => self.lose_node(*node),
                    _ => {}
                }
                return Some(event);
            }
            Happening::Ordered(action) => self.obey(action),
            Happening::Worked(task) => self.worked(task),
            Happening::Hit(task) => self.hit(task),
            Happening::Loaded(actor) => self.loaded(actor),
            Happening::LoadFailed(actor, user_code) => self.lose_actor(actor, user_code),
            Happening::Consumed => self.consumed(),
        }
        None
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::LaunchTask { task, op, node, actor, work, rows_skipped, credit, .. } => {
                let worker = self.worker(op, node, actor, &work, rows_skipped, credit);
                self.launch(task, worker);
            }
            Action::ResumeTask { task, credit } => {
                if let Some(worker) = self.workers.get_mut(&task) {
                    worker.credit += credit;
                    self.hand_over(task);
                }
            }
            Action::CancelTask { task } if self.unreported.remove(&task) => {
                self.announce(Event::TaskFailed { task, failure: TaskFailure::Cancelled });
            }
            Action::CancelTask { task } => self.fail(task, TaskFailure::Cancelled),
            Action::StartActor { actor, op, node } => self.start_actor(actor, op, node),
            Action::StopActor { actor } => self.stop_actor(actor),
            Action::EmitBlock { .. } | Action::DropBlock { .. } | Action::FailRun { .. } => {}
        }
    }

    fn worker(
        &mut self,
        op: OpId,
        node: NodeId,
        actor: Option<ActorId>,
        work: &Work,
        rows_skipped: Rows,
        credit: u32,
    ) -> Worker {
        let (seed, op_number) = (self.scenario.seed, u64::from(op.0));
        let position = op.0 as usize;
        let model = &self.scenario.models[position];
        let (items, output) = match work {
            Work::Units { first, count } => {
                (Content::of(*first, first + count), self.rows.of_units(*first, *count))
            }
            Work::Blocks(blocks) => {
                let mut input = Content::default();
                for block in blocks.iter().filter_map(|block| self.blocks.get(block)) {
                    input.append(&block.content);
                }
                let output = self.rows.of_input(position, &input);
                (input, output)
            }
        };
        let busy = model.span(seed, op_number, &items);
        let (pieces, tail) = model.pieces(seed, op_number, busy, &output, rows_skipped.0);
        let first = items.stretches().first().map_or(0, |stretch| stretch.first);
        let attempt = Attempt {
            number: self.attempts,
            work: [op_number, first],
            is_on_actor: actor.is_some(),
            span: busy,
        };
        self.attempts += 1;
        let blow = self.scenario.faults.attempt(&mut self.random, seed, &attempt);
        let copies = match work {
            Work::Units { .. } => 0,
            Work::Blocks(blocks) => {
                let elsewhere = blocks.iter().filter_map(|block| self.blocks.get(block));
                elsewhere.filter(|block| block.node != node).map(|block| block.bytes).sum()
            }
        };
        self.copies_max = self.copies_max.max(copies);
        Worker {
            node,
            actor,
            output,
            pieces: pieces.into(),
            tail,
            busy,
            credit,
            handed_over: 0,
            position: rows_skipped.0,
            held: None,
            copies,
            blow,
            heap: model.heap,
            is_running: false,
            reported: self.now,
        }
    }

    fn launch(&mut self, task: TaskId, worker: Worker) {
        let (node, actor) = (worker.node, worker.actor);
        self.put(node, worker.copies);
        self.workers.insert(task, worker);
        match actor {
            _ if !self.stores.contains_key(&node) => self.fail(task, TaskFailure::NotRun),
            None => self.begin(task),
            Some(id) => match self.actors.get_mut(&id) {
                Some(actor) => {
                    actor.tasks.push_back(task);
                    self.begin_next(id);
                }
                None => self.fail(task, TaskFailure::NotRun),
            },
        }
    }

    /// An actor runs its tasks one at a time, in the order in which they came.
    fn begin_next(&mut self, actor: ActorId) {
        let Some(actor) = self.actors.get(&actor).filter(|actor| actor.is_ready) else { return };
        let next = actor.tasks.front().copied();
        if let Some(task) = next.filter(|task| !self.workers[task].is_running) {
            self.begin(task);
        }
    }

    fn begin(&mut self, task: TaskId) {
        let worker = self.workers.get_mut(&task).expect("because a task begins once, alive");
        worker.is_running = true;
        if let Some(blow) = worker.blow {
            let at = self.now.after(blow.after);
            self.schedule(at, Happening::Hit(task));
        }
        self.work_on(task);
    }

    /// Works on the next block, or towards the end.
    fn work_on(&mut self, task: TaskId) {
        let worker = self.workers.get_mut(&task).expect("because only live tasks work");
        let span = match worker.pieces.front() {
            Some(piece) => piece.work,
            None => std::mem::take(&mut worker.tail),
        };
        let at = self.now.after(span);
        self.schedule(at, Happening::Worked(task));
    }

    fn worked(&mut self, task: TaskId) {
        let Some(worker) = self.workers.get_mut(&task) else { return };
        match worker.pieces.pop_front() {
            Some(piece) => {
                worker.held = Some(piece);
                let node = worker.node;
                self.put(node, piece.bytes);
                self.hand_over(task);
            }
            None => self.finish(task),
        }
    }

    /// Hands over the finished block if there is credit, and goes on.
    fn hand_over(&mut self, task: TaskId) {
        let worker = self.workers.get_mut(&task).expect("because the caller found it alive");
        if worker.handed_over == worker.credit {
            return;
        }
        let Some(piece) = worker.held.take() else { return };
        worker.handed_over += 1;
        let (node, block) = (worker.node, BlockId(self.block_next));
        let content = worker.output.part(worker.position, piece.rows);
        worker.position += piece.rows;
        self.block_next += 1;
        self.blocks.insert(block, Stored { node, bytes: piece.bytes, content });
        let (rows, bytes) = (Rows(piece.rows), Bytes(piece.bytes));
        self.report(task, Event::BlockProduced { task, block, rows, bytes, node });
        self.work_on(task);
    }

    fn finish(&mut self, task: TaskId) {
        let worker = &self.workers[&task];
        let event = Event::TaskFinished { task, busy: worker.busy, heap_peak: Bytes(worker.heap) };
        self.report(task, event);
        self.end(task);
    }

    fn fail(&mut self, task: TaskId, failure: TaskFailure) {
        if self.workers.contains_key(&task) {
            self.report(task, Event::TaskFailed { task, failure });
            self.end(task);
        }
    }

    /// Frees a worker and lets its actor go on.
    fn end(&mut self, task: TaskId) {
        let worker = self.workers.remove(&task).expect("because a task ends once");
        let held = worker.held.map_or(0, |piece| piece.bytes);
        self.remove(worker.node, held + worker.copies);
        let Some(id) = worker.actor else { return };
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.tasks.retain(|queued| *queued != task);
            self.begin_next(id);
        }
    }

    fn hit(&mut self, task: TaskId) {
        let Some(worker) = self.workers.get(&task) else { return };
        let (actor, blow) = (worker.actor, worker.blow.expect("because it was due"));
        match (blow.kind, actor) {
            (BlowKind::Actor, Some(actor)) => self.lose_actor(actor, false),
            (BlowKind::Actor, None) => self.fail(task, TaskFailure::WorkerDied),
            (BlowKind::Task(failure), _) => self.fail(task, failure),
        }
    }

    fn start_actor(&mut self, id: ActorId, op: OpId, node: NodeId) {
        let model = &self.scenario.models[op.0 as usize];
        let load = Span(self.random.around(model.load.0, model.pace_spread));
        if !self.stores.contains_key(&node) {
            self.announce(Event::ActorLost { actor: id, user_code: false });
            return;
        }
        let tasks = VecDeque::new();
        self.actors.insert(id, Actor { node, started: self.now, is_ready: false, tasks });
        match self.scenario.faults.load(&mut self.random, load) {
            Some((after, user_code)) => {
                let at = self.now.after(after);
                self.schedule(at, Happening::LoadFailed(id, user_code));
            }
            None => self.schedule(self.now.after(load), Happening::Loaded(id)),
        }
    }

    fn loaded(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.is_ready = true;
        let (node, load) = (actor.node, self.now.since(actor.started));
        self.announce(Event::ActorReady { actor: id, node, load });
        self.begin_next(id);
    }

    /// Ends an actor that was ordered to stop, and what is left of its tasks.
    fn stop_actor(&mut self, id: ActorId) {
        let Some(actor) = self.actors.remove(&id) else { return };
        for task in actor.tasks {
            self.fail(task, TaskFailure::Cancelled);
        }
    }

    fn lose_actor(&mut self, id: ActorId, user_code: bool) {
        let Some(actor) = self.actors.remove(&id) else { return };
        let lost = self.announce(Event::ActorLost { actor: id, user_code });
        for task in actor.tasks {
            let worker = self.workers.get_mut(&task).expect("because it is in its actor's list");
            let failure =
                if worker.is_running { TaskFailure::WorkerDied } else { TaskFailure::NotRun };
            worker.reported = worker.reported.max(lost);
            self.lose(task, failure);
        }
    }

    /// Ends everything on a node.
    fn lose_node(&mut self, node: NodeId) {
        let on_node = |actor: &Actor| actor.node == node;
        self.stores.remove(&node);
        self.blocks.retain(|_, block| block.node != node);
        self.actors.retain(|_, actor| !on_node(actor));
        let tasks = self.workers.iter().filter(|(_, worker)| worker.node == node);
        for task in tasks.map(|(task, _)| *task).collect::<Vec<TaskId>>() {
            self.lose(task, TaskFailure::WorkerDied);
        }
    }

    /// Ends a task with its actor or node. The scheduler knows from their loss; a driver may or may
    /// not report the task as well, but it always answers an order to cancel it.
    fn lose(&mut self, task: TaskId, failure: TaskFailure) {
        if self.scenario.faults.reports_lost_tasks {
            self.fail(task, failure);
        } else {
            self.end(task);
            self.unreported.insert(task);
        }
    }

    fn consume(&mut self) {
        if self.consumer.working_on.is_some() {
            return;
        }
        self.consumer.working_on = self.consumer.waiting.pop_front();
        if self.consumer.working_on.is_some() {
            let model = &self.scenario.consumer;
            let rest = model.rest.filter(|(after, _)| *after == self.consumer.blocks_taken);
            let span = model.block + rest.map_or(Span::ZERO, |(_, span)| span);
            let at = self.now.after(span);
            self.schedule(at, Happening::Consumed);
        }
    }

    fn consumed(&mut self) {
        let Some(block) = self.consumer.working_on.take() else { return };
        self.consumer.blocks_taken += 1;
        self.announce(Event::OutputTaken { block });
        if self.scenario.consumer.blocks_max == Some(self.consumer.blocks_taken) {
            self.befall(self.now, Event::StopRequested);
        }
        self.consume();
    }

    fn drop_block(&mut self, id: BlockId) {
        if let Some(block) = self.blocks.remove(&id) {
            self.remove(block.node, block.bytes);
        }
    }

    /// Sends an event of a task to the driver, after those that it sent before.
    fn report(&mut self, task: TaskId, event: Event) {
        let delay = Span(self.random.between(0, self.scenario.delays.event_max.0));
        let worker = self.workers.get_mut(&task).expect("because only live tasks report");
        worker.reported = worker.reported.max(self.now.after(delay));
        let at = worker.reported;
        self.schedule(at, Happening::Arrived(event));
    }

    /// Sends an event of an actor or of the consumer to the driver.
    fn announce(&mut self, event: Event) -> Time {
        let delay = Span(self.random.between(0, self.scenario.delays.event_max.0));
        let at = self.now.after(delay);
        self.schedule(at, Happening::Arrived(event));
        at
    }

    fn befall(&mut self, at: Time, event: Event) {
        self.foreign += 1;
        self.schedule(at, Happening::Befell(event));
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.queue.insert((at, self.queued), happening);
        self.queued += 1;
    }

    fn add_store(&mut self, node: NodeId, store: Bytes) {
        self.stores.insert(node, Store { bytes_max: store.0, ..Store::default() });
    }

    fn put(&mut self, node: NodeId, bytes: u64) {
        if let Some(store) = self.stores.get_mut(&node) {
            store.put(bytes);
        }
    }

    /// A node that is gone has nothing to remove.
    fn remove(&mut self, node: NodeId, bytes: u64) {
        if let Some(store) = self.stores.get_mut(&node) {
            store.remove(bytes);
        }
    }
}

/// Keeps these draws apart from those of the models.
const CHANCE: u64 = 4;
