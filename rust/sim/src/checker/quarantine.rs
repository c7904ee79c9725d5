//! Quarantine: who failed in a row, and whether what is in quarantine gets nothing.

use std::collections::BTreeSet;

use millstream_core::{FailCause, NodeId, OpState, Snapshot, TaskFailure, TaskId};

use crate::checker::actions::ensure;
use crate::checker::{Checker, Finding};

impl Checker<'_> {
    /// Whether a failure may count against its task: not if its actor failed the one before, too.
    pub(super) fn note_worker_failure(&mut self, id: TaskId, failure: TaskFailure) -> bool {
        let is_workers = matches!(failure, TaskFailure::WorkerDied | TaskFailure::WorkerBroken);
        let Some(task) = self.tasks.get(&id).filter(|_| is_workers) else { return true };
        let (op, node) = (task.key.0, task.node);
        let Some(actor) = task.actor.and_then(|actor| self.actors.get_mut(&actor)) else {
            self.note_node_failure(op, node);
            return true;
        };
        actor.failures += 1;
        let failures = actor.failures;
        if failures == 2 {
            self.note_node_failure(op, node);
            let count = self.given_up.entry(op).or_default();
            *count += 1;
            if *count >= self.scenario.plan.config().deaths_max {
                // Unless others have not failed yet, of which the scheduler may know that they end.
                self.justified.push(FailCause::WorkersBroken { count: *count });
            }
        }
        failures == 1
    }

    pub(super) fn note_worker_success(&mut self, id: TaskId) {
        let Some(task) = self.tasks.get(&id) else { return };
        self.node_failures.remove(&(task.key.0, task.node));
        if let Some(actor) = task.actor.and_then(|actor| self.actors.get_mut(&actor)) {
            actor.failures = 0;
            self.given_up.remove(&task.key.0);
        }
    }

    pub(super) fn note_node_failure(&mut self, op: usize, node: NodeId) {
        *self.node_failures.entry((op, node)).or_default() += 1;
    }

    /// What is in quarantine has failed often enough, got nothing in this turn, and is not all there is.
    pub(super) fn check_quarantine(&mut self, snapshot: &Snapshot) -> Result<(), Finding> {
        let held = snapshot.ops.iter().enumerate();
        let held = held.flat_map(|(op, seen)| seen.nodes_quarantined.iter().map(move |n| (op, *n)));
        let held: BTreeSet<(usize, NodeId)> = held.collect();
        if self.is_stopped || self.failure.is_some() {
            return Ok(());
        }
        for (op, node) in &held {
            let failures = self.node_failures.get(&(*op, *node)).copied().unwrap_or(0);
            ensure!(failures >= 3, "protocol", "{node} is left alone after {failures} failures");
            let is_sent =
                self.quarantined.contains(&(*op, *node)) && self.sent.contains(&(*op, *node));
            ensure!(!is_sent, "protocol", "{node} gets work of operator {op} in quarantine");
            let mut open = self
                .nodes
                .iter()
                .filter(|(id, book)| !held.contains(&(*op, **id)) && !book.is_draining);
            let is_left = open.any(|(_, book)| book.total.fits_without_heap(self.request(*op)));
            let is_done = snapshot.ops[*op].state == OpState::Done;
            ensure!(is_left || is_done, "protocol", "operator {op} has no node left");
        }
        self.quarantined = held;
        self.sent.clear();
        Ok(())
    }
}
