//! What is learned of the heap that workers use, and what follows when they are killed for it.

use crate::operator::Task;
use crate::policy::heap;
use crate::protocol::FailCause;
use crate::scheduler::Scheduler;
use crate::units::{ActorId, Bytes, OpId};

impl Scheduler {
    /// Notes the most heap that a worker used which has ended a task well.
    ///
    /// What was held after a kill was a guess, made while other workers may have used more than was
    /// known of them. Once all that was killed has ended, what it takes is known.
    pub(super) fn note_heap(&mut self, task: &mut Task, peak: Bytes) {
        let op = task.op;
        let operator = self.state.op_mut(op);
        operator.heap_known = operator.heap_known.max(heap::rounded(peak));
        let known = operator.heap_known;
        self.forget_kill(task);
        if known > self.state.ledger.heap_wanted(op) {
            self.want_heap(op, known);
        }
    }

    /// Notes that a piece of work has ended well or is of no more use: no guess is held for it.
    pub(super) fn forget_kill(&mut self, task: &mut Task) {
        if task.heap_killed.take().is_none() {
            return;
        }
        let operator = self.state.op_mut(task.op);
        operator.killed -= 1;
        if operator.killed == 0 {
            let known = operator.heap_known;
            self.want_heap(task.op, known);
        }
    }

    /// Notes that the memory of a node ran out and a worker of `op` that was given so much heap was
    /// killed for it. Whoever comes next is given more.
    pub(super) fn note_memory_kill(&mut self, op: OpId, given: Bytes) {
        let largest = self.state.ledger.heap_max(op);
        self.state.op_mut(op).counters.memory_kills += 1;
        let raised = heap::raised(given, largest);
        if !largest.is_zero() && raised > self.state.ledger.heap_wanted(op) {
            self.want_heap(op, raised);
        }
    }

    /// Whether a kill counts as a death: only where more heap did not help. `killed` is the most with
    /// which the same work was killed before.
    pub(super) fn counts_as_death(
        &self,
        op: OpId,
        given: Bytes,
        killed: &mut Option<Bytes>,
    ) -> bool {
        let had_more = killed.is_none_or(|most| given > most);
        *killed = (*killed).max(Some(given));
        !had_more || self.state.ledger.heap_max(op).is_zero()
    }

    /// The same for an actor that was loading. Those that were started before the last kill could not
    /// be given more.
    pub(super) fn counts_as_load_death(
        &mut self,
        op: OpId,
        (actor, given): (ActorId, Bytes),
    ) -> bool {
        let pool = self.state.op(op).pool.as_ref().expect("because only pools start actors");
        let (mut killed, is_late) = (pool.heap_killed, actor >= pool.started_since_kill);
        let is_counted = self.counts_as_death(op, given, &mut killed);
        let next = ActorId(self.state.actor_next);
        let pool = self.state.op_mut(op).pool.as_mut().expect("because it was there just now");
        (pool.heap_killed, pool.started_since_kill) = (killed, next);
        is_counted && (is_late || self.state.ledger.heap_max(op).is_zero())
    }

    /// Why a run fails whose last death was for lack of memory, unless heap is not watched.
    pub(super) fn memory_cause(&self, op: OpId, count: u32, reserved: Bytes) -> Option<FailCause> {
        let largest = self.state.ledger.heap_max(op);
        (!largest.is_zero()).then_some(FailCause::OutOfMemory { count, reserved, largest })
    }

    fn want_heap(&mut self, op: OpId, wanted: Bytes) {
        self.state.ledger.want_heap(op, wanted);
        self.top_up(op);
    }

    /// Books what the workers of `op` are known to use since they were started, as far as it is free:
    /// else what comes beside them would be killed again and again. Actors leave each node what one
    /// stateless task needs; those that load may still be killed before they use it.
    pub(super) fn top_up(&mut self, op: OpId) {
        let stateless = self.state.op_ids().filter(|op| self.state.op(*op).pool.is_none());
        let kept = stateless.map(|op| self.state.ledger.request(op).heap).max().unwrap_or_default();
        let wanted = self.state.ledger.request(op).heap;
        if wanted.is_zero() {
            return;
        }
        let (ledger, operator) = (&mut self.state.ledger, &mut self.state.ops[op.0 as usize]);
        if let Some(pool) = operator.pool.as_mut() {
            for (node, held) in pool.ready_heaps_mut() {
                let Some(account) = ledger.account(node) else { continue };
                let spare = account.beside_actors.heap.saturating_sub(kept);
                let more = wanted.saturating_sub(*held).min(account.free.heap).min(spare);
                ledger.seat_more(node, op, more);
                *held += more;
            }
            return;
        }
        for id in operator.live.ids() {
            let task = self.state.tasks.get_mut(&id).expect("because live tasks are known");
            let Some(account) = ledger.account(task.node) else { continue };
            let more = wanted.saturating_sub(task.heap).min(account.free.heap);
            ledger.take_more(task.node, op, more);
            task.heap += more;
        }
    }
}
