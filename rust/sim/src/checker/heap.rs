//! Heap: what is reserved of it, and who must get more of it.
//!
//! A worker that is killed for lack of memory had too little, so that the next one of its operator
//! must get half as much again, or all that a node has. Where it does not, the scheduler must have
//! said so. A kill is a death like others where more did not help.

use millstream_core::{Bytes, FailCause, Resources, Snapshot};

use crate::checker::actions::ensure;
use crate::checker::{Checker, Finding};

impl Checker<'_> {
    /// What a worker of `op` with so much heap takes from its node.
    pub(super) fn request_with(&self, op: usize, heap: Bytes) -> Resources {
        Resources { heap, ..self.request(op).clone() }
    }

    /// The least heap that a worker of `op` must be given now.
    pub(super) fn heap_due(&self, op: usize) -> Bytes {
        let raised = self.heap_raised.get(&op).copied().unwrap_or_default();
        raised.max(self.request(op).heap).min(self.heap_largest(op))
    }

    /// Notes that a worker of `op` that had `heap` was killed for lack of memory. Whether that counts,
    /// if the same work was killed with `known` at most before.
    pub(super) fn note_kill(&mut self, op: usize, heap: Bytes, known: Option<Bytes>) -> bool {
        let raised = self.heap_raised.entry(op).or_default();
        *raised = (*raised).max(heap + Bytes(heap.0 / 2));
        known.is_some_and(|most| heap <= most) || self.is_unwatched(op)
    }

    /// Work that was killed and is of no more use asks for nothing.
    pub(super) fn forget_unwanted_kills(&mut self) {
        let raised = self.heap_raised.keys().copied();
        let unwanted: Vec<usize> = raised.filter(|op| self.is_unwanted(*op)).collect();
        for op in unwanted {
            let of_op = self.works.range_mut((op, 0, 0)..(op + 1, 0, 0));
            of_op
                .filter(|(_, work)| !work.is_running)
                .for_each(|(_, work)| work.is_guess_due = false);
            self.end_guess(op);
        }
    }

    /// Once all that was killed has ended, its operator may ask for what it is known to need.
    pub(super) fn end_guess(&mut self, op: usize) {
        let mut works = self.works.iter().filter(|(key, _)| key.0 == op);
        if works.all(|(_, work)| !work.is_guess_due) {
            self.heap_raised.remove(&op);
        }
    }

    pub(super) fn is_unwatched(&self, op: usize) -> bool {
        self.heap_largest(op) == Bytes::ZERO
    }

    /// Why the last of too many deaths was, if it was a kill, and heap is watched.
    pub(super) fn memory_cause(
        &self,
        op: usize,
        count: u32,
        killed: Option<Bytes>,
    ) -> Option<FailCause> {
        let (reserved, largest) = (killed?, self.heap_largest(op));
        (largest > Bytes::ZERO).then_some(FailCause::OutOfMemory { count, reserved, largest })
    }

    fn heap_largest(&self, op: usize) -> Bytes {
        let request = self.request(op);
        let open = self.nodes.values().filter(|node| !node.is_draining);
        let fitting = open.filter(|node| node.total.fits_without_heap(request));
        fitting.map(|node| node.total.heap).max().unwrap_or_default()
    }

    pub(super) fn check_heap(&self, snapshot: &Snapshot) -> Result<(), Finding> {
        for (seen, (id, book)) in snapshot.nodes.iter().zip(&self.nodes) {
            let held = book.total.heap.saturating_sub(book.free.heap);
            // Actors that turn out to be larger than was thought hold more later on.
            ensure!(
                held <= seen.heap_reserved && seen.heap_reserved <= book.total.heap,
                "I1",
                "workers on {id} were given {held} of its heap of {}, the scheduler's books say {}",
                book.total.heap,
                seen.heap_reserved
            );
        }
        ensure!(
            self.heap_short <= snapshot.heap_overshoots,
            "I5",
            "{} workers got less heap than they must, {} were declared",
            self.heap_short,
            snapshot.heap_overshoots
        );
        Ok(())
    }
}
