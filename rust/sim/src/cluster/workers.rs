//! Attempts of tasks at their workers: they work, hand over blocks on credit, and end.

use std::collections::VecDeque;

use millstream_core::{
    ActorId, BlockId, Bytes, Event, NodeId, OpId, Rows, Slice, Span, TaskFailure, TaskId, Time,
    Work,
};

use crate::cluster::heap::Process;
use crate::cluster::{Cluster, Happening, News, Stored};
use crate::faults::{Attempt, Blow, BlowKind};
use crate::random::scaled;
use crate::rows::Content;
use crate::workload::{OpModel, Piece, PieceOrder};

/// One attempt of a task, from its arrival at a worker to its end.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    pub(super) op: OpId,
    pub(super) node: NodeId,
    pub(super) actor: Option<ActorId>,
    pub(super) output: Content,
    pub(super) pieces: VecDeque<Piece>,
    /// How long it works after its last block.
    pub(super) tail: Span,
    pub(super) busy: Span,
    /// Bytes that it may put into the store.
    pub(super) credit: u64,
    pub(super) handed_over: u32,
    /// Rows of its output that it left out or has finished.
    pub(super) position: u64,
    pub(super) held: Option<Piece>,
    /// The blocks that it reads.
    pub(super) input: Vec<BlockId>,
    /// Bytes of input that lie on other nodes and are fetched to its own.
    pub(super) copies: u64,
    /// When they are there.
    pub(super) fetched: Time,
    pub(super) blow: Option<Blow>,
    pub(super) heap: u64,
    pub(super) is_running: bool,
    /// Since when it works, or waits for credit.
    pub(super) since: Time,
    /// When its last event reaches the driver; its events travel in order.
    pub(super) reported: Time,
}

impl Worker {
    /// The process in which it works as task `id`.
    fn process(&self, id: TaskId) -> Process {
        self.actor.map_or(Process::Task(id), Process::Actor)
    }
}

/// What the workers of one operator did with their time, all together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpSpans {
    /// Time in which they worked.
    pub working: Span,
    /// Time in which they held a finished block and waited for credit.
    pub stalled: Span,
}

impl Cluster<'_> {
    pub(super) fn worker(
        &mut self,
        op: OpId,
        node: NodeId,
        actor: Option<ActorId>,
        work: &Work,
        rows: (Rows, Option<Rows>),
        credit: Bytes,
    ) -> Worker {
        let (seed, op_number) = (self.scenario.seed, u64::from(op.0));
        let position = op.0 as usize;
        let model = &self.scenario.models[position];
        let (items, output) = match work {
            Work::Units { first, count } => {
                let items = Content::of(*first, first + count);
                (items, self.rows.of_units(position, *first, *count))
            }
            Work::Blocks(blocks) => {
                let all = |block: &BlockId| Slice {
                    block: *block,
                    first: Rows::ZERO,
                    rows: Rows(u64::MAX),
                };
                let input = self.read(position, blocks.iter().map(all));
                let output = self.rows.of_input(position, &input);
                (input, output)
            }
            Work::Slices(inputs) => {
                let input =
                    self.read(position, inputs.iter().flatten().take(inputs[0].len()).copied());
                (input.clone(), input)
            }
        };
        let busy = model.span(seed, op_number, &items);
        let (skipped, wanted) = (rows.0.0, rows.1.map(|rows| rows.0));
        let cut = self.cut(model, wanted);
        let cuts = self.rows.cuts(position, &output);
        let order = PieceOrder { skipped, wanted, cuts: &cuts };
        let (pieces, tail) = cut.pieces(seed, op_number, busy, &items, &output, order);
        let attempt = Attempt {
            number: self.attempts,
            work: [op_number, items.first()],
            is_on_actor: actor.is_some(),
            span: busy,
            at: self.now,
        };
        self.attempts += 1;
        let blow = self.scenario.faults.attempt(&mut self.random, seed, &attempt);
        let (copies, fetched) = self.copy_input(node, work);
        Worker {
            op,
            node,
            actor,
            output,
            pieces: pieces.into(),
            tail,
            busy,
            credit: credit.0,
            handed_over: 0,
            position: skipped,
            held: None,
            input: work.blocks().collect(),
            copies,
            fetched,
            blow,
            heap: model.heap_used(seed, op_number, &items),
            is_running: false,
            since: self.now,
            reported: self.now,
        }
    }

    /// The rows that a task of operator `op` reads, as they are numbered there.
    fn read(&self, op: usize, slices: impl Iterator<Item = Slice>) -> Content {
        let mut input = Content::default();
        for slice in slices {
            let stored = self.blocks.get(&slice.block);
            let held = stored.map(|stored| (stored.producer, &stored.content));
            let lost = || self.lost.get(&slice.block).map(|(op, content)| (*op, content));
            let Some((producer, content)) = held.or_else(lost) else { continue };
            if let Some((_, rows)) = self.rows.arriving(producer, content, Some(op)) {
                input.append(&rows.part(slice.first.0, slice.rows.0));
            }
        }
        input
    }

    /// Copies the input that lies on other nodes: how many bytes, and when they are there.
    fn copy_input(&mut self, node: NodeId, work: &Work) -> (u64, Time) {
        let (mut copies, mut fetched) = (0, self.now);
        for block in work.blocks().filter_map(|block| self.blocks.get(&block)) {
            if block.node != node {
                let (way, network) = ([block.node, node], &self.scenario.network);
                fetched = fetched.max(self.links.send(network, self.now, block.bytes, way));
                copies += block.bytes;
            }
        }
        self.copies_max = self.copies_max.max(copies);
        (copies, fetched)
    }

    /// What is made again may be cut into smaller blocks than the first time.
    fn cut(&mut self, model: &OpModel, wanted: Option<u64>) -> OpModel {
        let rows = model.block_rows.max(1);
        let block_rows = if wanted.is_some() { self.random.between(1, rows) } else { rows };
        OpModel { block_rows, ..model.clone() }
    }

    pub(super) fn launch(&mut self, task: TaskId, worker: Worker) {
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

    pub(super) fn begin(&mut self, task: TaskId) {
        let worker = self.workers.get_mut(&task).expect("because a task begins once, alive");
        worker.is_running = true;
        let (node, process, heap) = (worker.node, worker.process(task), worker.heap);
        self.grow(node, process, heap);
        let Some(worker) = self.workers.get(&task) else { return };
        if worker.input.iter().any(|block| self.lost.contains_key(block)) {
            return self.fail_without_input(task);
        }
        let (actor, fetched) = (worker.actor, worker.fetched);
        let bytes = worker.pieces.iter().map(|piece| piece.bytes).sum();
        let call = self.scenario.call(worker.op, bytes);
        if let Some(blow) = self.blow(task) {
            let at = self.now.after(blow.after);
            self.schedule(at, Happening::Hit(task));
        }
        let start = if actor.is_some() { Span::ZERO } else { self.start_worker(node) };
        let prepared = fetched.max(self.now.after(start + call));
        if prepared > self.now {
            self.schedule(prepared, Happening::Prepared(task));
        } else {
            self.work_on(task);
        }
    }

    /// What will happen to a task that begins.
    fn blow(&mut self, task: TaskId) -> Option<Blow> {
        let worker = self.workers.get_mut(&task)?;
        let actor = worker.actor.and_then(|id| Some((id, self.actors.get_mut(&id)?)));
        let actor = actor.map(|(id, actor)| {
            actor.begun += 1;
            (id, actor.begun - 1)
        });
        let (seed, faults) = (self.scenario.seed, &self.scenario.faults);
        let breakage = faults.breakage(seed, (task, worker.busy), actor, (worker.node, self.now));
        worker.blow = breakage.or(worker.blow);
        worker.blow
    }

    pub(super) fn prepared(&mut self, task: TaskId) {
        if self.workers.contains_key(&task) {
            self.work_on(task);
        }
    }

    /// How long it takes until a node has a worker for one more task without an actor.
    fn start_worker(&mut self, node: NodeId) -> Span {
        let idle = self.idle_workers.entry(node).or_default();
        if *idle == 0 {
            return self.scenario.overheads.worker_start;
        }
        *idle -= 1;
        Span::ZERO
    }

    /// Works on the next block, or towards the end.
    pub(super) fn work_on(&mut self, task: TaskId) {
        let worker = self.workers.get_mut(&task).expect("because only live tasks work");
        let span = match worker.pieces.front() {
            Some(piece) => piece.work,
            None => std::mem::take(&mut worker.tail),
        };
        worker.since = self.now;
        let slowness = self.scenario.faults.slowness(worker.node, self.now);
        let slow = Span(scaled(span.0, slowness, 1_000));
        worker.busy = worker.busy.saturating_sub(span) + slow;
        let at = self.now.after(slow);
        self.schedule(at, Happening::Worked(task));
    }

    pub(super) fn worked(&mut self, task: TaskId) {
        let Some(worker) = self.workers.get_mut(&task) else { return };
        self.spans[worker.op.0 as usize].working += self.now.since(worker.since);
        worker.since = self.now;
        match worker.pieces.pop_front() {
            Some(piece) => {
                worker.held = Some(piece);
                self.block_max = self.block_max.max(piece.bytes);
                if piece.bytes > worker.credit {
                    let (ordinal, bytes) = (worker.handed_over, Bytes(piece.bytes));
                    self.report(task, Event::BlockReady { task, ordinal, bytes });
                }
                self.hand_over(task);
            }
            None => self.finish(task),
        }
    }

    /// Hands over the finished block if there is credit, and goes on.
    pub(super) fn hand_over(&mut self, task: TaskId) {
        let worker = self.workers.get_mut(&task).expect("because the caller found it alive");
        let Some(piece) = worker.held.take_if(|piece| piece.bytes <= worker.credit) else { return };
        self.spans[worker.op.0 as usize].stalled += self.now.since(worker.since);
        worker.credit -= piece.bytes;
        worker.handed_over += 1;
        let (producer, node, actor) = (worker.op.0 as usize, worker.node, worker.actor);
        let block = BlockId(self.block_next);
        let content = worker.output.part(worker.position, piece.rows);
        let partition = self.rows.partition(producer, &content);
        worker.position += piece.rows;
        self.block_next += 1;
        self.put(node, piece.bytes);
        let bytes = piece.bytes;
        let stored = Stored { producer, node, bytes, content, actor, news: News::Sent };
        self.blocks.insert(block, stored);
        let (rows, bytes) = (Rows(piece.rows), Bytes(piece.bytes));
        let event = Event::BlockProduced { task, block, rows, bytes, node, partition };
        self.report(task, event);
        if let Some(after) = self.scenario.faults.block_loss(&mut self.random) {
            // Its loss is never known before the block is.
            let at = self.workers[&task].reported.after(after);
            self.schedule(at, Happening::Gone(block));
        }
        self.work_on(task);
    }

    pub(super) fn finish(&mut self, task: TaskId) {
        let worker = &self.workers[&task];
        let heap = self.heap_used(worker.node, worker.process(task)).unwrap_or(worker.heap);
        let event = Event::TaskFinished { task, busy: worker.busy, heap_peak: Bytes(heap) };
        self.report(task, event);
        self.end(task, true);
    }

    pub(super) fn fail(&mut self, task: TaskId, failure: TaskFailure) {
        if self.workers.contains_key(&task) {
            self.report(task, Event::TaskFailed { task, failure });
            let is_dead = matches!(failure, TaskFailure::WorkerDied | TaskFailure::OutOfMemory);
            self.end(task, !is_dead);
        }
    }

    /// Ends a task that cannot read all its input; the blocks that are gone are named first.
    pub(super) fn fail_without_input(&mut self, task: TaskId) {
        let mut lost = self.workers[&task].input.clone();
        lost.retain(|block| self.lost.contains_key(block));
        for block in lost {
            self.report(task, Event::BlockLost { block });
        }
        self.fail(task, TaskFailure::NotRun);
    }

    /// Frees a worker, which may take another task if it is alive, and lets its actor go on.
    pub(super) fn end(&mut self, task: TaskId, is_alive: bool) {
        let worker = self.workers.remove(&task).expect("because a task ends once");
        self.remove(worker.node, worker.copies);
        self.exit(worker.node, Process::Task(task));
        let Some(id) = worker.actor else {
            *self.idle_workers.entry(worker.node).or_default() += u64::from(is_alive);
            return;
        };
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.tasks.retain(|queued| *queued != task);
            self.begin_next(id);
        }
    }

    pub(super) fn hit(&mut self, task: TaskId) {
        let Some(worker) = self.workers.get(&task) else { return };
        let (actor, blow) = (worker.actor, worker.blow.expect("because it was due"));
        match (blow.kind, actor) {
            (BlowKind::Actor, Some(actor)) => self.lose_actor(actor, TaskFailure::WorkerDied),
            (BlowKind::Actor, None) => self.fail(task, TaskFailure::WorkerDied),
            (BlowKind::Task(failure), _) => self.fail(task, failure),
        }
    }

    /// Sends an event of a task to the driver, after those that it sent before.
    pub(super) fn report(&mut self, task: TaskId, event: Event) {
        let delay = Span(self.random.between(0, self.scenario.delays.event_max.0));
        let worker = self.workers.get_mut(&task).expect("because only live tasks report");
        worker.reported = worker.reported.max(self.now.after(delay));
        let at = worker.reported;
        self.arrive(at, event);
    }
}
