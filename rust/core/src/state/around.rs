//! Which operators are around another: what works on its output, and what must get on before it.

use crate::plan::Port;
use crate::state::State;
use crate::units::{OpId, Rows};

impl State {
    /// The operators below `op` that blocks do not just pass, nearest first, up to a barrier: what comes
    /// after that has a pace of its own.
    pub(crate) fn workers_below(&self, op: OpId) -> impl Iterator<Item = OpId> {
        let before = self.below(op).take_while(|reader| !self.is_barrier(*reader));
        before.filter(|reader| !self.passes_blocks(*reader))
    }

    /// The operator that works on what `op` puts out as it comes; none: the consumer, or a barrier.
    pub(crate) fn worker_after(&self, op: OpId) -> Option<OpId> {
        self.workers_below(op).next()
    }

    /// Rows that wait for that operator and have passed `op`.
    pub(crate) fn rows_after(&self, op: OpId) -> Rows {
        let passing = self.below(op).take_while(|reader| self.passes_blocks(*reader));
        core::iter::once(op).chain(passing).map(|op| self.queue_after(op).rows()).sum()
    }

    /// The operators whose progress the output of `op` waits for: those of an input that is
    /// behind where rows are put side by side, and those of earlier inputs where one input comes
    /// after the other.
    pub(crate) fn rivals(&self, op: OpId) -> impl Iterator<Item = OpId> {
        self.beside(op, |port, other| self.comes_first(port, other))
    }

    /// Those, and where rows are put side by side the operators of all other inputs.
    pub(crate) fn neighbours(&self, op: OpId) -> impl Iterator<Item = OpId> {
        let by_place = |port: Port| self.meaning(port.op).puts_side_by_side();
        self.beside(op, move |port, other| {
            (by_place(port) && other != port.input) || self.comes_first(port, other)
        })
    }

    fn beside(
        &self,
        op: OpId,
        is_meant: impl Fn(Port, usize) -> bool + Copy,
    ) -> impl Iterator<Item = OpId> {
        self.plan.path(op).flat_map(move |port| {
            let inputs = 0..self.spec(port.op).inputs.len();
            inputs
                .filter(move |other| is_meant(port, *other))
                .flat_map(move |other| self.plan.branch(port.op, other))
        })
    }

    fn comes_first(&self, port: Port, other: usize) -> bool {
        self.meaning(port.op).goes_before(self, port, other)
    }
}
