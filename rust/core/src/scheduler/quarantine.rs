//! What follows when workers fail one after the other: an actor that lives but does no work is given up,
//! and a node on which an operator's workers keep failing is left alone for a time.
//!
//! No work becomes impossible by it: the last node that could take an operator is never left alone, and
//! all quarantines end when nothing else moves.

use alloc::vec::Vec;

use crate::ledger::Share;
use crate::operator::Task;
use crate::protocol::{Action, FailCause, TaskFailure};
use crate::scheduler::Scheduler;
use crate::units::{ActorId, NodeId, OpId, TaskId};

impl Scheduler {
    /// Notes that an attempt failed, which is still on the books. Whether that may count as a death of its
    /// task: not if it was on an actor that had failed the task before it, too.
    pub(super) fn note_failure(&mut self, id: TaskId, failure: TaskFailure) -> bool {
        let is_workers = matches!(failure, TaskFailure::WorkerDied | TaskFailure::WorkerBroken);
        let task = self.state.tasks.get(&id).filter(|_| is_workers && !self.state.is_stopping);
        let Some((op, node, actor)) = task.map(|task| (task.op, task.node, task.actor)) else {
            return true;
        };
        let pool = self.state.op_mut(op).pool.as_mut();
        let failures = actor.and_then(|actor| Some((actor, pool?.count_failure(actor)?)));
        let Some((actor, failures)) = failures else {
            self.note_node_failure(op, node);
            return true;
        };
        if failures == ACTOR_FAILURES_MAX {
            self.give_up_actor(op, actor, id);
            self.note_node_failure(op, node);
        }
        failures == 1
    }

    /// Notes that a worker did what it should.
    pub(super) fn note_worker_success(&mut self, task: &Task) {
        let operator = self.state.op_mut(task.op);
        operator.quarantine.forget(task.node);
        if let (Some(actor), Some(pool)) = (task.actor, operator.pool.as_mut()) {
            pool.clear_failures(actor);
        }
    }

    /// Takes an actor out of service that fails each of its tasks, the last of them `failed`. Those that it
    /// still has go to others, and with the last one of them it is stopped.
    fn give_up_actor(&mut self, op: OpId, id: ActorId, failed: TaskId) {
        let now = self.state.now;
        let operator = self.state.op_mut(op);
        operator.counters.actors_given_up += 1;
        let pool = operator.pool.as_mut().expect("because only pools have actors");
        pool.given_up += 1;
        let count = pool.given_up;
        let actor = pool.actor(id).expect("because its failure was counted there");
        let tasks: Vec<TaskId> = actor.tasks.iter().filter(|id| **id != failed).copied().collect();
        if !actor.is_retiring {
            pool.retire(id, now);
        }
        let is_last = pool.untried() == 0;
        for task in tasks {
            self.take_back(task);
        }
        if is_last && count >= self.state.plan.config().deaths_max {
            self.fail(op, None, FailCause::WorkersBroken { count });
        }
    }

    /// Cancels a task whose actor is given up.
    fn take_back(&mut self, id: TaskId) {
        let task = self.state.tasks.get_mut(&id).expect("because actors have live tasks only");
        if !core::mem::replace(&mut task.is_cancelled, true) {
            self.actions.push_back(Action::CancelTask { task: id });
        }
    }

    /// Notes that a worker of `op` failed at a node, and leaves that alone after too many in a row, if
    /// there is another one.
    pub(super) fn note_node_failure(&mut self, op: OpId, node: NodeId) {
        let is_too_often = self.state.op_mut(op).quarantine.note_failure(node);
        let knows = self.state.ledger.open_account(node).is_some();
        if is_too_often && knows && self.nodes_left(op) > 1 {
            let now = self.state.now;
            self.state.op_mut(op).quarantine.begin(node, now);
            self.state.op_mut(op).counters.quarantines += 1;
        }
    }

    /// Nodes that take new work, could run `op`, and are not in quarantine.
    fn nodes_left(&self, op: OpId) -> u32 {
        let request = self.state.ledger.request(op);
        let is_shut = |node: &NodeId| {
            let account = self.state.ledger.open_account(*node);
            account.is_some_and(|account| account.total.fits(request))
        };
        let shut = self.state.op(op).quarantine.nodes().filter(is_shut).count();
        let shut = u32::try_from(shut).unwrap_or(u32::MAX);
        self.state.ledger.fitting(op, Share::Total).saturating_sub(shut)
    }

    /// Ends the quarantines whose time is over, and those without which an operator has no node. The
    /// next turn is due when the first of the others ends.
    pub(super) fn review_quarantines(&mut self) {
        let now = self.state.now;
        for op in self.state.op_ids() {
            let operator = self.state.op(op);
            if operator.is_done || operator.quarantine.next_end().is_none() {
                continue;
            }
            self.state.op_mut(op).quarantine.end_over(now);
            if self.nodes_left(op) == 0 {
                self.state.op_mut(op).quarantine.end_all();
            }
            let end = self.state.op(op).quarantine.next_end();
            self.wakeup = [self.wakeup, end].into_iter().flatten().min();
        }
    }

    /// Ends all quarantines, since nothing moves. False: there was none.
    pub(super) fn end_quarantines(&mut self) -> bool {
        let ended: Vec<bool> =
            self.state.ops.iter_mut().map(|operator| operator.quarantine.end_all()).collect();
        ended.contains(&true)
    }
}

/// Failures in a row after which an actor is given up: the first may be its task's.
const ACTOR_FAILURES_MAX: u32 = 2;
