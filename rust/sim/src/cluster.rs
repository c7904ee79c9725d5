//! The simulated cluster: workers, actors, stores and a consumer on a virtual clock.
//!
//! Owns what physically happens, and honours the protocol of a backend: a worker puts a block into
//! the store only on credit, and until then holds it in its own memory and does not go on. Knows
//! nothing of why the scheduler orders what it orders, and judges nothing.

mod actors;
mod consumer;
mod heap;
mod network;
mod store;
mod workers;

use std::collections::{BTreeMap, BTreeSet};

use millstream_core::{
    Action, ActorId, BlockId, Bytes, Event, NodeId, OpId, Resources, Span, TaskFailure, TaskId,
    Time,
};

use crate::cluster::actors::Actor;
use crate::cluster::consumer::Reader;
use crate::cluster::heap::Heap;
use crate::cluster::network::Links;
pub use crate::cluster::store::Store;
pub use crate::cluster::workers::OpSpans;
use crate::cluster::workers::Worker;
use crate::listing::Lister;
use crate::random::Random;
use crate::rows::{Content, RowMap};
use crate::workload::Scenario;

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
    heaps: BTreeMap<NodeId, Heap>,
    blocks: BTreeMap<BlockId, Stored>,
    /// What was in blocks that are gone.
    lost: BTreeMap<BlockId, (usize, Content)>,
    block_next: u64,
    workers: BTreeMap<TaskId, Worker>,
    /// Tasks that ended with their actor or node and were not reported.
    unreported: BTreeSet<TaskId>,
    actors: BTreeMap<ActorId, Actor>,
    /// One for each consumer.
    consumers: Vec<Reader>,
    /// After so many blocks the consumers take no more.
    bar: Option<u64>,
    lister: Lister,
    links: Links,
    /// Workers without an actor that have nothing to do, by node.
    idle_workers: BTreeMap<NodeId, u64>,
    copies_max: u64,
    block_max: u64,
    attempts: u64,
    spans: Vec<OpSpans>,
}

#[derive(Clone, Debug)]
struct Stored {
    producer: usize,
    node: NodeId,
    bytes: u64,
    content: Content,
    /// Who made it.
    actor: Option<ActorId>,
    news: News,
}

/// What the driver knows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Word of it is on its way.
    Sent,
    /// The death of who made it was quicker.
    Overtaken,
    Arrived,
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
    /// A task has what it needs to begin.
    Prepared(TaskId),
    /// A task has worked on its next block, or is at its end.
    Worked(TaskId),
    /// An attempt is hit by a fault.
    Hit(TaskId),
    /// An actor has loaded.
    Loaded(ActorId),
    /// An actor ends while it loads.
    LoadFailed(ActorId, TaskFailure),
    /// A consumer is done with a block.
    Consumed(usize),
    /// A block is gone from its store.
    Gone(BlockId),
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
            heaps: BTreeMap::new(),
            blocks: BTreeMap::new(),
            lost: BTreeMap::new(),
            block_next: 0,
            workers: BTreeMap::new(),
            unreported: BTreeSet::new(),
            actors: BTreeMap::new(),
            consumers: vec![Reader::default(); scenario.consumers() as usize],
            bar: None,
            lister: Lister::default(),
            links: Links::default(),
            idle_workers: BTreeMap::new(),
            copies_max: 0,
            block_max: 0,
            attempts: 0,
            spans: vec![OpSpans::default(); scenario.models.len()],
        };
        for spec in &scenario.nodes {
            cluster.add_node(spec.node, &spec.resources, spec.store);
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

    /// The bytes of the largest block that a worker finished.
    #[must_use]
    pub const fn block_max(&self) -> u64 {
        self.block_max
    }

    /// The most bytes of input that one task had copied to its node.
    #[must_use]
    pub const fn copies_max(&self) -> u64 {
        self.copies_max
    }

    /// Lets the consumers take no more than so many blocks together, or all again.
    pub fn bar_consumers(&mut self, after: Option<u64>) {
        if self.bar != after {
            self.bar = after;
            (0..self.consumers.len()).for_each(|at| self.consume(at));
        }
    }

    /// Blocks that the consumers have taken.
    #[must_use]
    pub fn blocks_taken(&self) -> u64 {
        self.consumers.iter().map(|consumer| consumer.blocks_taken).sum()
    }

    /// What the workers of each operator did with their time.
    #[must_use]
    pub fn spans(&self) -> &[OpSpans] {
        &self.spans
    }

    /// Whether something is due that follows from what the scheduler ordered.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.queue.len() > self.foreign
    }

    /// When something is due next.
    #[must_use]
    pub fn due(&self) -> Option<Time> {
        self.queue.first_key_value().map(|((time, _), _)| *time)
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
            let by = self.scenario.delays.turn;
            if by > Span::ZERO {
                events.insert(0, Event::TurnDelayed { by });
            }
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
                Action::EmitBlock { block, instead_of, consumer, .. } => {
                    self.give(*consumer as usize, *block, *instead_of);
                }
                Action::CommitEpoch { .. } => {}
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
            Happening::Arrived(event) => {
                self.note_news(&event);
                return Some(event);
            }
            Happening::Befell(event) => {
                self.foreign -= 1;
                match &event {
                    Event::NodeJoined { node, resources, store } => {
                        self.add_node(*node, resources, *store);
                    }
                    Event::NodeLost { node } => self.lose_node(*node),
                    _ => {}
                }
                return Some(event);
            }
            Happening::Ordered(action) => self.obey(action),
            Happening::Prepared(task) => self.prepared(task),
            Happening::Worked(task) => self.worked(task),
            Happening::Hit(task) => self.hit(task),
            Happening::Loaded(actor) => self.loaded(actor),
            Happening::LoadFailed(actor, failure) => self.lose_actor(actor, failure),
            Happening::Consumed(consumer) => self.consumed(consumer),
            Happening::Gone(block) => self.lose_block(block),
        }
        None
    }

    fn obey(&mut self, action: Action) {
        match action {
            Action::LaunchTask {
                task,
                op,
                node,
                actor,
                work,
                rows_skipped,
                rows_wanted,
                credit,
                ..
            } => {
                let rows = (rows_skipped, rows_wanted);
                let worker = self.worker(op, node, actor, &work, rows, credit);
                self.launch(task, worker);
            }
            Action::ResumeTask { task, credit } => {
                if let Some(worker) = self.workers.get_mut(&task) {
                    worker.credit = worker.credit.saturating_add(credit.0);
                    self.hand_over(task);
                }
            }
            Action::CancelTask { task } if self.unreported.remove(&task) => {
                self.announce(Event::TaskFailed { task, failure: TaskFailure::Cancelled });
            }
            Action::CancelTask { task } => self.fail(task, TaskFailure::Cancelled),
            Action::StartActor { actor, op, node, .. } => self.start_actor(actor, op, node),
            Action::StopActor { actor } => self.stop_actor(actor),
            Action::ExtendSource { op, first, units } => self.list(op, first, units),
            Action::EmitBlock { .. }
            | Action::DropBlock { .. }
            | Action::CommitEpoch { .. }
            | Action::FailRun { .. } => {}
        }
    }

    /// Lists more units of a source, page by page.
    fn list(&mut self, op: OpId, first: u64, units: u64) {
        let Some(listing) = &self.scenario.listing else { return };
        let (random, most) = (&mut self.random, self.scenario.delays.event_max.0);
        let delay = || Span(random.between(0, most));
        let plan = &self.scenario.plan;
        let answer = self.lister.answer(listing, plan, (op, first, units), self.now, delay);
        for (at, event) in answer {
            self.arrive(at, event);
        }
    }

    /// Keeps apart what the driver cannot know to be there.
    fn note_news(&mut self, event: &Event) {
        match event {
            Event::BlockProduced { block, .. } => {
                if let Some(stored) = self.blocks.get_mut(block)
                    && stored.news == News::Sent
                {
                    stored.news = News::Arrived;
                }
            }
            Event::ActorLost { actor, .. } => {
                let made = |stored: &&mut Stored| stored.actor == Some(*actor);
                for stored in self.blocks.values_mut().filter(made) {
                    if stored.news == News::Sent {
                        stored.news = News::Overtaken;
                        if let Some(store) = self.stores.get_mut(&stored.node) {
                            store.bytes_unknown += stored.bytes;
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes a block out of its store.
    fn take_out(&mut self, block: &Stored) {
        self.remove(block.node, block.bytes);
        let overtaken = if block.news == News::Overtaken { block.bytes } else { 0 };
        if let Some(store) = self.stores.get_mut(&block.node) {
            store.bytes_unknown -= overtaken;
        }
    }

    /// A block is gone, and that becomes known. Of one that it was given the consumer finds it out.
    fn lose_block(&mut self, id: BlockId) {
        let Some(block) = self.blocks.remove(&id) else { return };
        self.take_out(&block);
        self.mark_lost(id, (block.producer, block.content));
        if !self.consumers.iter().any(|consumer| consumer.given.contains(&id)) {
            self.announce(Event::BlockLost { block: id });
        }
    }

    /// Remembers what was lost, and lets tasks that read it fail or, if they have it already, not.
    fn mark_lost(&mut self, id: BlockId, block: (usize, Content)) {
        self.lost.insert(id, block);
        let readers = self.workers.iter().filter(|(_, worker)| worker.input.contains(&id));
        for task in readers.map(|(task, _)| *task).collect::<Vec<TaskId>>() {
            let is_running = self.workers[&task].is_running;
            if is_running && self.random.chance(READERS_FAIL) {
                self.fail_without_input(task);
            }
        }
    }

    fn drop_block(&mut self, id: BlockId) {
        for consumer in &mut self.consumers {
            consumer.given.remove(&id);
        }
        if let Some(block) = self.blocks.remove(&id) {
            self.take_out(&block);
        }
    }

    /// Sends an event of an actor or of the consumer to the driver.
    fn announce(&mut self, event: Event) -> Time {
        let delay = Span(self.random.between(0, self.scenario.delays.event_max.0));
        let at = self.now.after(delay);
        self.arrive(at, event);
        at
    }

    /// News on its way, which may come twice.
    fn arrive(&mut self, at: Time, event: Event) {
        let faults = &self.scenario.faults;
        let chance = if faults.is_stormy(at) { faults.duplicate_event } else { 0 };
        if chance > 0 && self.random.chance(chance) {
            self.schedule(at, Happening::Arrived(event.clone()));
        }
        self.schedule(at, Happening::Arrived(event));
    }

    fn befall(&mut self, at: Time, event: Event) {
        self.foreign += 1;
        self.schedule(at, Happening::Befell(event));
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.queue.insert((at, self.queued), happening);
        self.queued += 1;
    }

    fn add_node(&mut self, node: NodeId, resources: &Resources, store: Bytes) {
        self.heaps.insert(node, Heap::new(resources.heap.0));
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
/// Running tasks that have not read all of a block when it is lost, in thousandths.
const READERS_FAIL: u64 = 500;
