//! What each event means for the books.

use millstream_core::{
    ActorId, BlockId, Bytes, Event, FailCause, NodeId, Rows, TaskFailure, TaskId,
};

use crate::checker::{BlockBook, Checker, Place};
use crate::rows::Content;

impl Checker<'_> {
    pub(super) fn note(&mut self, event: &Event) {
        match *event {
            Event::BlockProduced { task, block, rows, bytes, node, .. } => {
                self.note_block(task, block, rows, bytes, node);
            }
            Event::TaskFinished { task, .. } => self.note_finished(task),
            Event::TaskFailed { task, failure } => self.note_failed(task, failure),
            Event::ActorReady { actor, .. } => {
                if let Some(book) = self.actors.get_mut(&actor) {
                    book.is_ready = true;
                    self.loads_lost.remove(&book.op);
                    self.loads_killed.remove(&book.op);
                }
            }
            Event::ActorLost { actor, user_code, out_of_memory } => {
                self.note_actor_lost(actor, user_code, out_of_memory);
            }
            Event::NodeJoined { node, ref resources, .. } => {
                if !self.nodes.contains_key(&node) {
                    self.add_node(node, resources);
                }
            }
            Event::NodeDraining { node } => {
                if let Some(book) = self.nodes.get_mut(&node) {
                    book.is_draining = true;
                }
                self.note_homeless();
            }
            Event::OutputTaken { block } => {
                let book = self.blocks.get_mut(&block);
                if let Some(book) = book.filter(|book| book.place == Place::Emitted) {
                    book.place = Place::Useless;
                    self.takers.release(block);
                }
            }
            Event::ConsumerGone { consumer } => self.note_consumer_gone(consumer),
            Event::NodeLost { node } => self.note_node_lost(node),
            Event::StopRequested => self.is_stopped = true,
            Event::BlockLost { block } => self.note_block_lost(block),
            Event::SourceExtended { op, first, ref units } => {
                self.note_listed(op, first, units.len() as u64);
            }
            Event::SourceExhausted { op } => self.note_exhausted(op),
            Event::BlockReady { .. }
            | Event::ShareChanged { .. }
            | Event::TurnDelayed { .. }
            | Event::TimePassed => {}
        }
    }

    fn note_block(&mut self, id: TaskId, block: BlockId, rows: Rows, bytes: Bytes, node: NodeId) {
        if let Some(book) = self.blocks.get(&block) {
            if book.place == Place::Useless || self.is_unwanted(book.producer) {
                self.doubled.insert(block);
            }
            return;
        }
        let mut book = BlockBook {
            producer: 0,
            epoch: 0,
            node,
            bytes: 0,
            content: Content::default(),
            taken: 0,
            place: Place::Useless,
            readers: Vec::new(),
        };
        let live = self.tasks.get_mut(&id).filter(|_| !self.is_stopped);
        let key = live.map(|task| {
            task.credit = task.credit.saturating_sub(bytes);
            task.key
        });
        if let Some(key) = key.filter(|key| self.accept(id, *key, rows.0, &mut book)) {
            book.producer = key.0;
            book.epoch = self.works[&key].epoch;
            book.bytes = bytes.0;
            if let Some(node) = self.nodes.get_mut(&node) {
                node.store_used += bytes.0;
            }
        }
        if book.place == Place::Queued {
            self.note_arrival(book.producer, &book.content);
        }
        self.blocks.insert(block, book);
    }

    /// Whether somebody waits for the rows that a task hands over. Notes which they are, and who.
    fn accept(&mut self, id: TaskId, key: super::WorkKey, rows: u64, book: &mut BlockBook) -> bool {
        if let Some(remakes) = self.tasks.get_mut(&id).and_then(|task| task.remakes.as_mut()) {
            let (position, left) = *remakes;
            if rows == 0 || rows > left {
                return false;
            }
            *remakes = (position + rows, left - rows);
            book.content = self.works[&key].output.part(position, rows);
            (book.place, book.readers) = self.note_remade(key.0, &book.content);
            return true;
        }
        let work = self.works.get_mut(&key).expect("because every task has its work");
        book.content = work.output.part(work.accepted, rows);
        book.place = Place::Queued;
        work.accepted += rows;
        true
    }

    fn note_finished(&mut self, id: TaskId) {
        let remakes = self.tasks.get(&id).is_some_and(|task| task.remakes.is_some());
        self.note_worker_success(id);
        let Some(key) = self.end_task(id) else { return };
        let work = self.works.get_mut(&key).expect("because every task has its work");
        work.heap_killed = None;
        let was_killed = std::mem::take(&mut work.is_guess_due);
        if !remakes {
            work.is_done = work.accepted == work.output.rows();
        }
        if was_killed {
            self.end_guess(key.0);
        }
        self.end_attempt(key);
    }

    /// Work with nothing left to make has no more use for its input; else what it lost of that is
    /// needed again.
    fn end_attempt(&mut self, key: super::WorkKey) {
        let work = self.works.get_mut(&key).expect("because every task has its work");
        if work.is_done && !self.missing[key.0].has_any(&work.output) {
            work.is_over = true;
            self.lost_input.remove(&key);
            self.release_input(key);
        } else {
            self.note_lost_input(key);
        }
    }

    fn release_input(&mut self, key: super::WorkKey) {
        for book in self.blocks.values_mut() {
            let readers = book.readers.len();
            book.readers.retain(|(reader, _)| *reader != key);
            let was_read = book.readers.len() < readers;
            if was_read && book.readers.is_empty() && book.place == Place::Input {
                book.place = Place::Useless;
            }
        }
    }

    fn note_failed(&mut self, id: TaskId, failure: TaskFailure) {
        let heap = self.tasks.get(&id).map_or(Bytes::ZERO, |task| task.heap);
        let may_count = self.note_worker_failure(id, failure);
        let Some(key) = self.end_task(id) else { return };
        match failure {
            TaskFailure::UserCode => self.justify(key.0, FailCause::UserCode),
            TaskFailure::WorkerDied | TaskFailure::WorkerBroken => {
                if may_count {
                    self.note_death(key, None);
                }
            }
            TaskFailure::OutOfMemory => self.note_death(key, Some(heap)),
            TaskFailure::NotRun | TaskFailure::Cancelled => {}
        }
        self.end_attempt(key);
    }

    /// A worker died under an attempt; `killed` with so much heap, if that was for lack of it.
    fn note_death(&mut self, key: super::WorkKey, killed: Option<Bytes>) {
        let known = self.works[&key].heap_killed;
        let is_counted = killed.is_none_or(|heap| self.note_kill(key.0, heap, known));
        let work = self.works.get_mut(&key).expect("because every task has its work");
        work.heap_killed = work.heap_killed.max(killed);
        work.is_guess_due |= killed.is_some();
        work.deaths += u32::from(is_counted);
        let count = work.deaths;
        if count >= self.scenario.plan.config().deaths_max {
            let cause = self.memory_cause(key.0, count, killed);
            self.justify(key.0, cause.unwrap_or(FailCause::TaskDeaths { count }));
        }
    }

    /// Ends the attempts of a lost actor: the oldest one ran, the others waited behind it.
    fn note_actor_lost(&mut self, id: ActorId, user_code: bool, out_of_memory: bool) {
        let Some(actor) = self.actors.remove(&id) else { return };
        self.give(actor.node, actor.op, actor.heap);
        let death = if out_of_memory { TaskFailure::OutOfMemory } else { TaskFailure::WorkerDied };
        for (position, task) in actor.tasks.iter().enumerate() {
            let failure = if position == 0 { death } else { TaskFailure::NotRun };
            self.note_failed(*task, failure);
        }
        if actor.is_ready {
            if out_of_memory {
                self.note_kill(actor.op, actor.heap, None);
            }
            return;
        }
        if !user_code && !out_of_memory {
            self.note_node_failure(actor.op, actor.node);
        }
        let killed = out_of_memory.then_some(actor.heap);
        let known = self.loads_killed.get(&actor.op).copied();
        let is_late = self.kills_seen.get(&actor.op).is_none_or(|seen| id.0 >= *seen);
        let is_counted = killed.is_none_or(|heap| {
            self.note_kill(actor.op, heap, known) && (is_late || self.is_unwatched(actor.op))
        });
        if let Some(most) = known.max(killed) {
            self.loads_killed.insert(actor.op, most);
        }
        if out_of_memory {
            self.kills_seen.insert(actor.op, self.actors_seen);
        }
        let lost = self.loads_lost.entry(actor.op).or_default();
        *lost += u32::from(is_counted);
        let count = *lost;
        if user_code {
            self.justify(actor.op, FailCause::ActorUserCode);
        } else if count >= self.scenario.plan.config().deaths_max {
            let cause = self.memory_cause(actor.op, count, killed);
            self.justify(actor.op, cause.unwrap_or(FailCause::ActorDeaths { count }));
        }
    }

    /// Ends all that was on a node, first what ran there, then what lay there: a loss counts against nobody.
    fn note_node_lost(&mut self, id: NodeId) {
        if self.nodes.remove(&id).is_none() {
            return;
        }
        self.node_failures.retain(|(_, node), _| *node != id);
        self.actors.retain(|_, actor| actor.node != id);
        let tasks = self.tasks.iter().filter(|(_, task)| task.node == id);
        for task in tasks.map(|(task, _)| *task).collect::<Vec<TaskId>>() {
            self.note_failed(task, TaskFailure::NotRun);
        }
        let there = self.blocks.iter().filter(|(_, block)| {
            // Of what it is given only the consumer can tell that it is gone.
            let is_given = matches!(block.place, Place::Emitted | Place::Replacing);
            block.node == id && !is_given && block.place != Place::Useless
        });
        for block in there.map(|(block, _)| *block).collect::<Vec<BlockId>>() {
            self.note_block_lost(block);
        }
        self.note_homeless();
    }

    /// Justifies the end of a run that no node which takes new work could go on with.
    fn note_homeless(&mut self) {
        let mut ops = self.scenario.plan.ops().iter();
        let open = || self.nodes.values().filter(|node| !node.is_draining);
        if ops.any(|op| !open().any(|node| node.total.fits_without_heap(&op.resources))) {
            // An operator that is done needs no node, so nobody has to say so.
            self.justified.push(FailCause::NodesGone);
        }
    }

    fn end_task(&mut self, id: TaskId) -> Option<super::WorkKey> {
        let task = self.tasks.remove(&id)?;
        self.ended.insert(id);
        match task.actor {
            Some(actor) => {
                if let Some(actor) = self.actors.get_mut(&actor) {
                    actor.tasks.remove(&id);
                }
            }
            None => self.give(task.node, task.key.0, task.heap),
        }
        let work = self.works.get_mut(&task.key).expect("because every task has its work");
        work.is_running = false;
        Some(task.key)
    }

    /// Gives the slots and the heap of a task or actor of `op` back to `node`.
    pub(super) fn give(&mut self, node: NodeId, op: usize, heap: Bytes) {
        let request = self.request_with(op, heap);
        if let Some(book) = self.nodes.get_mut(&node) {
            book.free.credit(&request);
        }
    }
}
