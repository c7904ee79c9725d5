//! Which block comes next where their order does not matter: one that need not be moved.
//!
//! A task goes where its input lies if it can, so the order in which blocks are taken decides where an
//! operator works. Large blocks take long to move, and an actor that waits for one does nothing.

use core::cmp::Reverse;

use crate::ledger::Ledger;
use crate::queue::Queued;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::{NodeId, OpId};

impl Scheduler {
    /// Has the block come next that lies best for `op`, among those that have waited longest.
    ///
    /// For a pool it lies where an actor has the least to do. For stateless tasks before a pool it lies
    /// where the actors of that have the least of their output to come, so that they find it there.
    pub(super) fn choose_next_block(&mut self, op: OpId) {
        if self.state.ledger.is_one_node() || !self.is_worth_choosing(op) {
            return;
        }
        let reader = self.state.worker_after(op);
        let reader = reader.filter(|reader| self.state.op(*reader).pool.is_some());
        let State { ops, blocks, ledger, .. } = &mut self.state;
        let operator = &mut ops[op.0 as usize];
        let queue = &mut operator.queues[0];
        let node = |queued: &Queued| blocks[&queued.block].node;
        match (&operator.pool, reader) {
            (Some(pool), _) => {
                let Some(load) = pool.loads().next() else { return };
                let is_opening = |queued: &Queued| pool.opening_at(load, node(queued)).is_some();
                queue.bring_forward(BLOCKS_LOOKED_AT, is_opening);
            }
            (None, Some(reader)) => {
                let need = |queued: &Queued| need(ledger, op, reader, node(queued));
                queue.bring_forward(BLOCKS_LOOKED_AT, need);
            }
            (None, None) => {}
        }
    }

    /// Whether the blocks that wait for `op` are so large that moving one costs more than to look
    /// for another. Epochs are to end one after the other, so their blocks keep their order.
    fn is_worth_choosing(&self, op: OpId) -> bool {
        let config = self.state.plan.config();
        let mut queues = self.state.op(op).queues.iter();
        let first = queues.next().and_then(|queue| queue.ready().next());
        let is_large = first
            .is_some_and(|first| first.bytes.times(BLOCKS_PER_TARGET) >= config.block_bytes_target);
        is_large && queues.next().is_none() && config.epoch_units == 0
    }
}

/// How little of what `op` makes is at a node for each actor of `reader` there.
fn need(ledger: &Ledger, op: OpId, reader: OpId, node: NodeId) -> Option<Reverse<u64>> {
    let account = ledger.open_account(node)?;
    let (work, actors) = (account.presence(op).work, account.presence(reader).actors);
    let each = (u64::from(work) << u16::BITS).checked_div(actors.into());
    Some(Reverse(each.unwrap_or(u64::MAX)))
}

/// Blocks that are looked at for one launch.
const BLOCKS_LOOKED_AT: usize = 256;
/// Blocks are large from this part of the target size on.
const BLOCKS_PER_TARGET: u64 = 16;
