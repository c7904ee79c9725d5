//! Units of open sources that become known while the sources are read.

use crate::plan::Unit;
use crate::scheduler::Scheduler;
use crate::units::OpId;

impl Scheduler {
    /// More units of a source. Those that were there before, or that nobody wants any more, change
    /// nothing.
    pub(super) fn source_extended(&mut self, op: OpId, first: u64, units: &[Unit]) {
        if units.is_empty() || !self.is_listing(op, Some(first)) {
            self.state.stale_events += 1;
            return;
        }
        self.state.op_mut(op).listing.extend(units);
        self.note_answer(op);
    }

    pub(super) fn source_exhausted(&mut self, op: OpId) {
        if !self.is_listing(op, None) {
            self.state.stale_events += 1;
            return;
        }
        self.state.op_mut(op).listing.close();
        self.note_answer(op);
    }

    /// Whether `op` is a source of which more units may come, of which the next has this number.
    fn is_listing(&self, op: OpId, next: Option<u64>) -> bool {
        let listing = self.state.ops.get(op.0 as usize).map(|operator| &operator.listing);
        listing.is_some_and(|listing| {
            let is_next = next.is_none_or(|next| next == listing.listed());
            listing.is_open() && is_next && !self.state.is_stopping
        })
    }

    fn note_answer(&mut self, op: OpId) {
        let now = self.state.now;
        let operator = self.state.op_mut(op);
        if let Some(asked) = operator.listing.take_answered() {
            operator.estimates.listing.add(now.since(asked).0);
        }
    }
}
