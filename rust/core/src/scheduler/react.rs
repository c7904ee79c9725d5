//! What each event changes in the books. Decides nothing but what must follow from a failure.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::estimate::TaskRecord;
use crate::ledger::Share;
use crate::operator::{Appetite, Task};
use crate::pool::Actor;
use crate::protocol::{Action, FailCause, TaskFailure, Work};
use crate::resources::Resources;
use crate::scheduler::Scheduler;
use crate::state::{Block, Place, Shelf};
use crate::units::{ActorId, BlockId, Bytes, NodeId, OpId, Rows, Span, TaskId};

impl Scheduler {
    pub(super) fn block_produced(
        &mut self,
        id: TaskId,
        block: BlockId,
        rows: Rows,
        bytes: Bytes,
        node: NodeId,
        partition: u32,
    ) {
        if self.state.blocks.contains_key(&block) {
            self.state.stale_events += 1;
            return;
        }
        // A task that is being preempted may still hand over what it had credit for.
        let Some(task) = self.state.tasks.get(&id).filter(|_| !self.state.is_stopping) else {
            self.state.stale_events += 1;
            self.actions.push_back(Action::DropBlock { block });
            return;
        };
        if task.is_complete && !task.is_filling {
            // Since it began nobody wants what it makes any more.
            self.actions.push_back(Action::DropBlock { block });
            return;
        }
        if !self.state.ledger.knows(node) {
            self.give_up_attempt(id, block);
            return;
        }
        let partition = match self.state.partition_of(task.op, partition) {
            Ok(partition) => partition,
            Err(cause) => {
                self.actions.push_back(Action::DropBlock { block });
                return self.fail(task.op, Some(id), cause);
            }
        };
        self.state.note_lead(id);
        let task = self.state.tasks.get_mut(&id).expect("because it was found there just now");
        let (producer, is_again) = (task.op, task.is_filling);
        task.handed_over += 1;
        if let Some((at, goal)) = task.hand_over(rows, partition) {
            self.account_block(id, rows, bytes, node);
            self.state.lineage.retain(producer, at.number);
            let place = Place::Input;
            let made =
                Block { producer, at, rows, bytes, node, place, shelf: Shelf::Off, readers: 0 };
            self.deliver(goal, block, made);
            self.state.op_mut(producer).counters.blocks_remade += u64::from(is_again);
        } else {
            self.account_block(id, Rows::ZERO, bytes, node);
            self.state.ledger.discharge(node, producer, bytes);
            self.actions.push_back(Action::DropBlock { block });
        }
        self.state.note_credit(id);
    }

    /// A task waits with a finished block, unless the credit that it lacks is on its way.
    pub(super) fn block_ready(&mut self, id: TaskId, ordinal: u32, bytes: Bytes) {
        let task = self.state.tasks.get_mut(&id).filter(|task| task.handed_over == ordinal);
        let Some(task) = task else {
            self.state.stale_events += 1;
            return;
        };
        if task.credit < bytes {
            self.state.note_lead(id);
            let task = self.state.tasks.get_mut(&id).expect("because it was found there just now");
            task.ready = Some(bytes);
            task.block_known = bytes;
            self.state.note_credit(id);
        }
    }

    /// A block on a node that is gone is gone with it, and so is the attempt that made it.
    fn give_up_attempt(&mut self, id: TaskId, block: BlockId) {
        self.actions.push_back(Action::DropBlock { block });
        self.actions.push_back(Action::CancelTask { task: id });
        self.task_failed(id, TaskFailure::NotRun);
    }

    /// Books a block of a task.
    fn account_block(&mut self, id: TaskId, rows: Rows, bytes: Bytes, node: NodeId) {
        let task = self.state.tasks.get_mut(&id).expect("because the caller checked that it lives");
        let (op, at) = (task.op, task.node);
        let is_new = !task.is_filling;
        let settled = bytes.min(task.credit);
        let arrived = rows.0.min(task.rows_coming);
        let grown = bytes.min(task.growth);
        task.bytes_out += bytes;
        task.credit -= settled;
        task.growth -= grown;
        task.rows_coming -= arrived;
        if at == node {
            self.state.ledger.settle(node, op, settled, bytes);
        } else {
            self.state.ledger.release(at, op, settled);
            self.state.ledger.charge(node, op, bytes);
        }
        let operator = self.state.op_mut(op);
        operator.credit -= settled;
        operator.growth -= grown;
        operator.rows_coming -= arrived;
        if is_new {
            operator.counters.blocks_out += 1;
            operator.counters.rows_out += rows.0;
            operator.counters.bytes_out += bytes;
            operator.estimates.block_bytes.add(bytes.0);
        }
    }

    pub(super) fn task_finished(&mut self, id: TaskId, busy: Span, heap_peak: Bytes) {
        let Some(mut task) = self.take_task(id) else {
            return;
        };
        if self.state.is_stopping {
            return self.release_room(&mut task);
        }
        self.note_worker_success(&task);
        self.attribution.settle(task.op, self.state.now, &task, busy);
        let counters = &mut self.state.op_mut(task.op).counters;
        counters.busy += busy;
        counters.heap_peak = counters.heap_peak.max(heap_peak);
        self.note_heap(&mut task, heap_peak);
        if task.is_filling {
            return self.gap_filled(task);
        }
        if !core::mem::replace(&mut task.is_complete, true) {
            self.count_finished(&task, busy);
            self.state.queue_after_mut(task.op).end_work(task.number, task.rows_out);
        }
        self.go_on(task);
    }

    fn count_finished(&mut self, task: &Task, busy: Span) {
        let operator = self.state.op_mut(task.op);
        operator.counters.tasks_finished += 1;
        match task.work {
            Work::Units { count, .. } => operator.counters.units_done += count,
            Work::Blocks(_) | Work::Slices(_) => operator.counters.rows_in += task.items,
        }
        if task.attempt == 0 {
            let (blocks, rows) = (u64::from(task.blocks_out), task.rows_out.0);
            operator.estimates.add(&TaskRecord {
                items: task.items,
                unit_bytes: task.unit_bytes,
                live: operator.live.len() as u64,
                busy,
                blocks,
                rows,
                bytes: task.bytes_out,
            });
        }
    }

    pub(super) fn task_failed(&mut self, id: TaskId, failure: TaskFailure) {
        let may_count = self.note_failure(id, failure);
        let Some(task) = self.take_task(id) else {
            return;
        };
        self.end_attempt(id, task, failure, may_count);
    }

    /// Takes an attempt off the books of live tasks, except the room that it holds.
    fn take_task(&mut self, id: TaskId) -> Option<Box<Task>> {
        let Some(mut task) = self.state.tasks.remove(&id) else {
            self.state.stale_events += 1;
            return None;
        };
        if task.is_cancelled {
            // It was quicker than the order, which may not have left yet.
            self.actions.retain(|action| *action != Action::CancelTask { task: id });
        }
        let now = self.state.now;
        let operator = self.state.op_mut(task.op);
        operator.live.remove(task.number, task.node);
        operator.forget_appetite(task.number, task.appetite);
        task.appetite = Appetite::Sated;
        operator.rows_coming -= task.rows_coming;
        operator.growth -= task.growth;
        match (task.actor, operator.pool.as_mut()) {
            (Some(actor), Some(pool)) => {
                task.stretch = pool.unassign(actor, id, now);
                if pool.actor(actor).is_some_and(|a| a.is_retiring && !a.is_busy()) {
                    self.stop_actor(task.op, actor);
                }
            }
            _ => self.state.ledger.give_slots(task.node, task.op, task.heap),
        }
        Some(task)
    }

    /// Takes all the room that a task holds.
    pub(super) fn release_room(&mut self, task: &mut Task) {
        self.state.ledger.release(task.node, task.op, task.reserved());
        self.state.op_mut(task.op).credit -= task.credit;
        (task.credit, task.copies) = (Bytes::ZERO, Bytes::ZERO);
    }

    /// Decides what follows from an attempt that did not end well.
    fn end_attempt(
        &mut self,
        id: TaskId,
        mut task: Box<Task>,
        failure: TaskFailure,
        may_count: bool,
    ) {
        let op = task.op;
        if self.state.is_stopping {
            return self.release_room(&mut task);
        }
        if task.is_useless() {
            return self.end_work(task);
        }
        if failure != TaskFailure::Cancelled {
            self.state.op_mut(op).counters.tasks_failed += 1;
        }
        task.deaths += u32::from(self.is_death(&mut task, failure) && may_count);
        let count = task.deaths;
        if failure == TaskFailure::UserCode {
            self.fail(op, Some(id), FailCause::UserCode);
        } else if count >= self.state.plan.config().deaths_max {
            let is_memory = failure == TaskFailure::OutOfMemory;
            let memory = self.memory_cause(op, count, task.heap_given).filter(|_| is_memory);
            self.fail(op, Some(id), memory.unwrap_or(FailCause::TaskDeaths { count }));
        }
        if task.is_cancelled {
            // What it was stopped for comes first.
            self.release_room(&mut task);
        }
        if task.is_filling && task.gaps.first().is_some_and(|gap| gap.rows == Rows::ZERO) {
            return self.gap_filled(task);
        }
        self.prepare_attempt(&mut task);
        self.wait_for_attempt(task);
    }

    fn is_death(&mut self, task: &mut Task, failure: TaskFailure) -> bool {
        match failure {
            TaskFailure::WorkerDied | TaskFailure::WorkerBroken => true,
            TaskFailure::OutOfMemory => {
                self.note_memory_kill(task.op, task.heap_given);
                self.state.op_mut(task.op).killed += u64::from(task.heap_killed.is_none());
                self.counts_as_death(task.op, task.heap_given, &mut task.heap_killed)
            }
            TaskFailure::UserCode | TaskFailure::NotRun | TaskFailure::Cancelled => false,
        }
    }

    /// Takes off a task what was its last attempt's.
    pub(super) fn prepare_attempt(&mut self, task: &mut Task) {
        // The copies of its input go with the attempt; the room for its output stays promised.
        self.state.ledger.release(task.node, task.op, task.copies);
        task.copies = Bytes::ZERO;
        task.ready = None;
        task.handed_over = 0;
        task.lead = None;
        task.growth = Bytes::ZERO;
        task.attempt += 1;
        task.rows_coming = 0;
        task.is_cancelled = false;
        task.is_filling = false;
    }

    pub(super) fn actor_ready(&mut self, actor: ActorId, load: Span) {
        let Some(op) = self.state.actors.get(&actor).copied() else {
            self.state.stale_events += 1;
            return;
        };
        let operator = self.state.op_mut(op);
        let pool = operator.pool.as_mut().expect("because only pools start actors");
        if pool.make_ready(actor) {
            operator.estimates.load.add(load.0);
            self.top_up(op);
        } else {
            self.state.stale_events += 1;
        }
    }

    pub(super) fn actor_lost(&mut self, actor: ActorId, user_code: bool, out_of_memory: bool) {
        let failure =
            if out_of_memory { TaskFailure::OutOfMemory } else { TaskFailure::WorkerDied };
        let Some((op, lost)) = self.remove_actor(actor, failure) else {
            self.state.stale_events += 1;
            self.withdraw_stops(|id, _| id == actor);
            return;
        };
        if self.state.is_stopping {
            return;
        }
        if out_of_memory {
            self.note_memory_kill(op, lost.heap_given);
        }
        if !lost.is_ready {
            let killed = out_of_memory.then_some((actor, lost.heap_given));
            self.loading_lost(op, user_code, killed);
            if !user_code && !out_of_memory {
                self.note_node_failure(op, lost.node);
            }
        }
    }

    /// An actor was lost while it was loading; which one, with how much heap, if that was for lack of it.
    fn loading_lost(&mut self, op: OpId, user_code: bool, killed: Option<(ActorId, Bytes)>) {
        let deaths_max = self.state.plan.config().deaths_max;
        let is_counted = killed.is_none_or(|killed| self.counts_as_load_death(op, killed));
        let pool = self.state.op_mut(op).pool.as_mut().expect("because only pools start actors");
        pool.deaths_loading += u32::from(is_counted);
        let count = pool.deaths_loading;
        if user_code {
            self.fail(op, None, FailCause::ActorUserCode);
        } else if count >= deaths_max {
            let memory = killed.and_then(|(_, given)| self.memory_cause(op, count, given));
            self.fail(op, None, memory.unwrap_or(FailCause::ActorDeaths { count }));
        }
    }

    /// Takes an actor off the books. The task that it ran ends with `failure`; those queued behind
    /// it never ran.
    fn remove_actor(&mut self, id: ActorId, failure: TaskFailure) -> Option<(OpId, Actor)> {
        let op = self.state.actors.remove(&id)?;
        let operator = self.state.op_mut(op);
        operator.counters.actors_lost += 1;
        let pool = operator.pool.as_mut().expect("because only pools start actors");
        let mut actor = pool.remove(id).expect("because both books list the same actors");
        self.state.ledger.unseat_actor(actor.node, op, actor.heap);
        for (position, task) in core::mem::take(&mut actor.tasks).into_iter().enumerate() {
            let failure = if position == 0 { failure } else { TaskFailure::NotRun };
            self.task_failed(task, failure);
        }
        Some((op, actor))
    }

    /// Takes back orders to stop actors that are gone before the order has left.
    fn withdraw_stops(&mut self, is_gone: impl Fn(ActorId, NodeId) -> bool) {
        for (id, _) in self.stops.extract_if(.., |(id, node)| is_gone(*id, *node)) {
            self.actions.retain(|action| *action != Action::StopActor { actor: id });
        }
    }

    pub(super) fn node_joined(&mut self, node: NodeId, resources: Resources, store: Bytes) {
        if self.state.ledger.knows(node) {
            self.state.stale_events += 1;
            return;
        }
        self.state.ledger.join(node, resources, store);
    }

    /// No new work goes to a draining node. Actors there end when they have done what they have.
    pub(super) fn node_draining(&mut self, node: NodeId) {
        self.state.ledger.drain(node);
        let now = self.state.now;
        for op in self.state.op_ids() {
            let Some(pool) = self.state.op_mut(op).pool.as_mut() else { continue };
            let there: Vec<ActorId> = pool
                .actors()
                .filter(|(_, actor)| actor.node == node && !actor.is_retiring)
                .map(|(id, _)| id)
                .collect();
            let (busy, idle): (Vec<_>, Vec<_>) =
                there.into_iter().partition(|id| pool.actor(*id).is_some_and(Actor::is_busy));
            for actor in busy {
                pool.retire(actor, now);
            }
            for actor in idle {
                self.stop_actor(op, actor);
            }
        }
    }

    /// The loss of a node is nobody's fault: it uses up no retries.
    pub(super) fn node_lost(&mut self, node: NodeId) {
        if !self.state.ledger.knows(node) {
            self.state.stale_events += 1;
            return;
        }
        let actors: Vec<ActorId> = self
            .state
            .ops
            .iter()
            .filter_map(|op| op.pool.as_ref())
            .flat_map(|pool| pool.actors().filter(|(_, a)| a.node == node).map(|(id, _)| id))
            .collect();
        for actor in actors {
            self.remove_actor(actor, TaskFailure::NotRun);
        }
        self.withdraw_stops(|_, at| at == node);
        let tasks: Vec<TaskId> =
            self.state.tasks.iter().filter(|(_, t)| t.node == node).map(|(id, _)| id).collect();
        for task in tasks {
            self.task_failed(task, TaskFailure::NotRun);
        }
        self.forget_room(node);
        self.state.ops.iter_mut().for_each(|op| op.quarantine.forget(node));
        let lost = self.blocks_on(node);
        self.lose_blocks(&lost);
        self.state.ledger.lose(node);
        self.fail_if_homeless();
    }

    /// Work that waits for its next attempt holds no room at a node that is gone.
    fn forget_room(&mut self, node: NodeId) {
        for op in self.state.op_ids() {
            let operator = self.state.op_mut(op);
            let held: Bytes = operator
                .retries
                .values_mut()
                .filter(|task| task.node == node)
                .map(|task| core::mem::take(&mut task.credit))
                .sum();
            operator.credit -= held;
            self.state.ledger.release(node, op, held);
        }
    }

    /// Fails the run if no node that stays could hold an operator that has not finished.
    pub(super) fn fail_if_homeless(&mut self) {
        let homeless = self.state.op_ids().find(|op| {
            !self.state.op(*op).is_done && self.state.ledger.fitting(*op, Share::Total) == 0
        });
        if let Some(op) = homeless {
            self.fail(op, None, FailCause::NodesGone);
        }
    }

    /// Fails a run in which nothing moves any more, if actors alone fill all nodes on which an
    /// operator with work could run, or would: a node that is gone had the slots for both.
    pub(super) fn fail_if_crowded_out(&mut self) {
        let is_crowded_out = |op: &OpId| {
            let (operator, ledger) = (self.state.op(*op), &self.state.ledger);
            let has_work = operator.queued_blocks() > 0
                || !operator.listing.is_through()
                || !operator.retries.is_empty();
            let has_place = match &operator.pool {
                Some(pool) => pool.size() > 0,
                None => ledger.fitting(*op, Share::BesideActors) > 0,
            };
            has_work && !has_place
        };
        let crowded_out = self.state.op_ids().find(is_crowded_out);
        if let Some(op) = crowded_out.filter(|_| !self.may_wait_for_share()) {
            self.fail(op, None, FailCause::NodesGone);
        }
    }

    /// Whether the run lacks only what is the share of others: a share of nothing is no node that is gone.
    /// What can run is told by what the nodes have.
    fn may_wait_for_share(&self) -> bool {
        self.state.ledger.is_shared() && self.state.fits_nodes()
    }

    pub(super) fn output_taken(&mut self, block: BlockId) {
        let is_emitted = self.state.blocks.get(&block).is_some_and(|b| b.place == Place::Emitted);
        if !is_emitted {
            self.state.stale_events += 1;
            return;
        }
        let bytes = self.state.blocks[&block].bytes;
        self.state.take_from_hand(bytes);
        if let Some(split) = &mut self.state.split {
            split.release(block);
        }
        self.drop_block(block);
    }

    /// Drops a block of which nobody has any more use; a lost one has been dropped.
    pub(crate) fn drop_block(&mut self, id: BlockId) {
        let block = self.state.blocks.remove(&id).expect("because what is dropped exists");
        if block.place != Place::Lost {
            self.state.discharge(&block);
            self.actions.push_back(Action::DropBlock { block: id });
        }
        self.state.lineage.release(block.producer, block.at.number);
    }

    /// Ends the run: from here on only tasks are cancelled, actors stopped, and blocks dropped.
    pub(crate) fn stop(&mut self) {
        if self.state.is_stopping {
            return;
        }
        self.state.is_stopping = true;
        // What events of the same turn have ended is off the books already.
        let is_an_end = |action: &Action| {
            use Action::{CancelTask, DropBlock, StopActor};
            matches!(action, DropBlock { .. } | StopActor { .. } | CancelTask { .. })
        };
        self.actions.retain(is_an_end);
        for (task, state) in self.state.tasks.iter_mut() {
            if !state.is_cancelled {
                state.is_cancelled = true;
                self.actions.push_back(Action::CancelTask { task });
            }
        }
        for op in self.state.op_ids() {
            self.stop_actors(op);
            for (_, mut task) in core::mem::take(&mut self.state.op_mut(op).retries) {
                self.release_room(&mut task);
            }
            self.state.op_mut(op).starved.clear();
            self.state.op_mut(op).listing.abandon();
            for queue in &mut self.state.op_mut(op).queues {
                queue.clear();
            }
        }
        self.state.output.clear();
        if let Some(split) = &mut self.state.split {
            split.clear();
        }
        self.state.emitted_bytes = Bytes::ZERO;
        self.state.emitted_blocks = 0;
        for block in self.state.blocks.iter().map(|(id, _)| id).collect::<Vec<_>>() {
            self.drop_block(block);
        }
        self.state.lineage.clear();
    }

    /// Reports a failure once; the driver answers with a request to stop.
    pub(crate) fn fail(&mut self, op: OpId, task: Option<TaskId>, cause: FailCause) {
        if !self.state.has_failed && !self.state.is_stopping {
            self.state.has_failed = true;
            self.actions.push_back(Action::FailRun { op, task, cause });
        }
    }
}
