//! Actors: they load, run their tasks one at a time, and end, at times together with their node.

use std::collections::VecDeque;

use millstream_core::{ActorId, BlockId, Event, NodeId, OpId, Span, TaskFailure, TaskId, Time};

use crate::cluster::heap::Process;
use crate::cluster::{Cluster, Happening};

#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) node: NodeId,
    pub(super) started: Time,
    pub(super) is_ready: bool,
    /// Tasks that it began.
    pub(super) begun: u64,
    pub(super) tasks: VecDeque<TaskId>,
}

impl Cluster<'_> {
    /// An actor runs its tasks one at a time, in the order in which they came.
    pub(super) fn begin_next(&mut self, actor: ActorId) {
        let Some(actor) = self.actors.get(&actor).filter(|actor| actor.is_ready) else { return };
        let next = actor.tasks.front().copied();
        if let Some(task) = next.filter(|task| !self.workers[task].is_running) {
            self.begin(task);
        }
    }

    pub(super) fn start_actor(&mut self, id: ActorId, op: OpId, node: NodeId) {
        let model = &self.scenario.models[op.0 as usize];
        let drawn = self.random.around(model.load.0, model.pace_variation.spread);
        let load = self.scenario.overheads.worker_start + Span(drawn);
        if !self.stores.contains_key(&node) {
            self.announce(actor_lost(id, TaskFailure::WorkerDied));
            return;
        }
        let tasks = VecDeque::new();
        self.actors.insert(id, Actor { node, started: self.now, is_ready: false, begun: 0, tasks });
        match self.scenario.faults.load(&mut self.random, self.now, load) {
            Some((after, user_code)) => {
                let failure =
                    if user_code { TaskFailure::UserCode } else { TaskFailure::WorkerDied };
                self.schedule(self.now.after(after), Happening::LoadFailed(id, failure));
            }
            None => self.schedule(self.now.after(load), Happening::Loaded(id)),
        }
        self.grow(node, Process::Actor(id), model.heap);
    }

    pub(super) fn loaded(&mut self, id: ActorId) {
        let Some(actor) = self.actors.get_mut(&id) else { return };
        actor.is_ready = true;
        let (node, load) = (actor.node, self.now.since(actor.started));
        self.announce(Event::ActorReady { actor: id, node, load });
        self.begin_next(id);
    }

    /// Ends an actor that was ordered to stop, and what is left of its tasks.
    pub(super) fn stop_actor(&mut self, id: ActorId) {
        let Some(actor) = self.actors.remove(&id) else { return };
        self.exit(actor.node, Process::Actor(id));
        for task in actor.tasks {
            self.fail(task, TaskFailure::Cancelled);
        }
    }

    /// Ends an actor for a reason of its own; the task that it runs fails with it.
    pub(super) fn lose_actor(&mut self, id: ActorId, failure: TaskFailure) {
        let Some(actor) = self.actors.remove(&id) else { return };
        self.exit(actor.node, Process::Actor(id));
        let lost = self.announce(actor_lost(id, failure));
        for task in actor.tasks {
            let worker = self.workers.get_mut(&task).expect("because it is in its actor's list");
            let failure = if worker.is_running { failure } else { TaskFailure::NotRun };
            worker.reported = worker.reported.max(lost);
            self.lose(task, failure);
        }
    }

    /// Ends everything on a node.
    pub(super) fn lose_node(&mut self, node: NodeId) {
        let on_node = |actor: &Actor| actor.node == node;
        self.stores.remove(&node);
        self.heaps.remove(&node);
        self.actors.retain(|_, actor| !on_node(actor));
        let tasks = self.workers.iter().filter(|(_, worker)| worker.node == node);
        for task in tasks.map(|(task, _)| *task).collect::<Vec<TaskId>>() {
            self.lose(task, TaskFailure::WorkerDied);
        }
        self.idle_workers.remove(&node);
        let there = self.blocks.iter().filter(|(_, block)| block.node == node);
        for id in there.map(|(id, _)| *id).collect::<Vec<BlockId>>() {
            let block = self.blocks.remove(&id).expect("because it was there just now");
            self.mark_lost(id, (block.producer, block.content));
        }
    }

    /// Ends a task with its actor or node. The scheduler knows from their loss; a driver may or may
    /// not report the task as well, but it always answers an order to cancel it.
    pub(super) fn lose(&mut self, task: TaskId, failure: TaskFailure) {
        if self.scenario.faults.reports_lost_tasks {
            self.fail(task, failure);
        } else {
            self.end(task, false);
            self.unreported.insert(task);
        }
    }
}

fn actor_lost(actor: ActorId, failure: TaskFailure) -> Event {
    let user_code = failure == TaskFailure::UserCode;
    Event::ActorLost { actor, user_code, out_of_memory: failure == TaskFailure::OutOfMemory }
}
