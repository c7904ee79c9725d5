//! What each event means for the books.

use millstream_core::{
    ActorId, BlockId, Bytes, Event, FailCause, NodeId, Rows, TaskFailure, TaskId, Work,
};

use crate::checker::{BlockBook, Checker, Place};
use crate::rows::Content;

impl Checker<'_> {
    pub(super) fn note(&mut self, event: &Event) {
        match *event {
            Event::BlockProduced { task, block, rows, bytes, node } => {
                self.note_block(task, block, rows, bytes, node);
            }
            Event::TaskFinished { task, .. } => self.note_finished(task),
            Event::TaskFailed { task, failure } => self.note_failed(task, failure),
            Event::ActorReady { actor, .. } => {
                if let Some(book) = self.actors.get_mut(&actor) {
                    book.is_ready = true;
                    self.loads_lost.remove(&book.op);
                }
            }
            Event::ActorLost { actor, user_code } => self.note_actor_lost(actor, user_code),
            Event::NodeJoined { node, ref resources, .. } => {
                if !self.nodes.contains_key(&node) {
                    self.add_node(node, resources);
                }
            }
            Event::NodeDraining { node } => {
                if let Some(book) = self.nodes.get_mut(&node) {
                    book.is_draining = true;
                }
            }
            Event::OutputTaken { block } => {
                let book = self.blocks.get_mut(&block);
                if let Some(book) = book.filter(|book| book.place == Place::Emitted) {
                    book.place = Place::Useless;
                }
            }
            Event::NodeLost { node } => self.note_node_lost(node),
            Event::StopRequested => self.is_stopped = true,
            Event::BlockLost { .. } | Event::TurnDelayed { .. } | Event::TimePassed => {}
        }
    }

    fn note_block(&mut self, id: TaskId, block: BlockId, rows: Rows, bytes: Bytes, node: NodeId) {
        if let Some(book) = self.blocks.get(&block) {
            if book.place == Place::Useless {
                self.doubled.insert(block);
            }
            return;
        }
        let mut book = BlockBook {
            producer: 0,
            node,
            bytes: 0,
            content: Content::default(),
            place: Place::Useless,
        };
        let live = self.tasks.get_mut(&id).filter(|task| !task.is_cancelled && !self.is_stopped);
        if let Some(task) = live {
            task.handed_over += 1;
            let work = self.works.get_mut(&task.key).expect("because every task has its work");
            book.producer = task.key.0;
            book.bytes = bytes.0;
            book.content = work.output.part(work.accepted, rows.0);
            book.place = Place::Queued;
            work.accepted += rows.0;
            if let Some(node) = self.nodes.get_mut(&node) {
                node.store_used += bytes.0;
            }
        }
        self.blocks.insert(block, book);
    }

    fn note_finished(&mut self, id: TaskId) {
        let Some(key) = self.end_task(id) else { return };
        let work = self.works.get_mut(&key).expect("because every task has its work");
        // A task that was cancelled but quicker may have lost blocks on the way.
        work.is_done = work.accepted == work.output.rows();
        if !work.is_done {
            return;
        }
        if let Work::Blocks(blocks) = &work.work {
            for block in blocks {
                if let Some(book) = self.blocks.get_mut(block) {
                    book.place = Place::Useless;
                }
            }
        }
    }

    fn note_failed(&mut self, id: TaskId, failure: TaskFailure) {
        let Some(key) = self.end_task(id) else { return };
        let work = self.works.get_mut(&key).expect("because every task has its work");
        match failure {
            TaskFailure::UserCode => self.justified.push(FailCause::UserCode),
            TaskFailure::WorkerDied | TaskFailure::OutOfMemory => {
                work.deaths += 1;
                let count = work.deaths;
                if count >= self.scenario.plan.config().deaths_max {
                    self.justified.push(FailCause::TaskDeaths { count });
                }
            }
            TaskFailure::NotRun | TaskFailure::Cancelled => {}
        }
    }

    /// Ends the attempts of a lost actor: the oldest one ran, the others waited behind it.
    fn note_actor_lost(&mut self, id: ActorId, user_code: bool) {
        let Some(actor) = self.actors.remove(&id) else { return };
        self.give(actor.node, actor.op);
        for (position, task) in actor.tasks.iter().enumerate() {
            let failure = if position == 0 { TaskFailure::WorkerDied } else { TaskFailure::NotRun };
            self.note_failed(*task, failure);
        }
        if actor.is_ready {
            return;
        }
        let lost = self.loads_lost.entry(actor.op).or_default();
        *lost += 1;
        let count = *lost;
        if user_code {
            self.justified.push(FailCause::ActorUserCode);
        } else if count >= self.scenario.plan.config().deaths_max {
            self.justified.push(FailCause::ActorDeaths { count });
        }
    }

    /// Ends all that was on a node: a loss counts against nobody, but a block that is still of use
    /// cannot be made again.
    fn note_node_lost(&mut self, id: NodeId) {
        if self.nodes.remove(&id).is_none() {
            return;
        }
        self.actors.retain(|_, actor| actor.node != id);
        let tasks = self.tasks.iter().filter(|(_, task)| task.node == id);
        for task in tasks.map(|(task, _)| *task).collect::<Vec<TaskId>>() {
            self.note_failed(task, TaskFailure::NotRun);
        }
        let lost = self.blocks.iter().filter(|(_, block)| block.node == id);
        let lost = lost.filter(|(_, block)| block.place != Place::Useless);
        self.justified.extend(lost.map(|(id, _)| FailCause::BlockLost { block: *id }));
        let homeless = self
            .scenario
            .plan
            .ops()
            .iter()
            .any(|op| !self.nodes.values().any(|node| node.total.fits(&op.resources)));
        if homeless {
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
            None => self.give(task.node, task.key.0),
        }
        let work = self.works.get_mut(&task.key).expect("because every task has its work");
        work.is_running = false;
        Some(task.key)
    }

    /// Gives the slots of a task or actor of `op` back to `node`.
    pub(super) fn give(&mut self, node: NodeId, op: usize) {
        let request = self.request(op).clone();
        if let Some(book) = self.nodes.get_mut(&node) {
            book.free.credit(&request);
        }
    }
}
