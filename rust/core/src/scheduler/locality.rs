//! Which block comes next where their order does not matter: one that need not be moved.
//!
//! A task goes where its input lies if it can, so the order in which blocks are taken decides where an
//! operator works. Large blocks take long to move, and an actor that waits for one does nothing.

use core::cmp::Reverse;

use alloc::vec::Vec;

use crate::ledger::Ledger;
use crate::policy::admission::{self, Launch};
use crate::policy::placement::Pass;
use crate::protocol::Reason;
use crate::queue::Queued;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::{NodeId, OpId};

impl Scheduler {
    /// The next launch of `op`, or why there is none, after the block has been chosen that lies best for it.
    ///
    /// A node where nothing moves, since what lies there leaves no room for what its tasks have made, goes
    /// on when something of it is read elsewhere. So such a block is the best, if there is room for it.
    pub(super) fn next_launch(&mut self, op: OpId) -> Result<Launch, Reason> {
        let may_choose = !self.state.ledger.is_one_node() && self.is_worth_choosing(op);
        let stalled = if may_choose { self.stalled_nodes() } else { Vec::new() };
        if !stalled.is_empty() {
            self.choose_next_block(op, &stalled);
            match admission::launch(&self.state, op, Pass::Nothing) {
                Err(Reason::MemoryReserved { .. } | Reason::OutputFull { .. }) => {}
                answer => return answer,
            }
        }
        if may_choose {
            self.choose_next_block(op, &[]);
        }
        admission::launch(&self.state, op, Pass::Nothing)
    }

    /// Has the block come next that lies best for `op`, among those that have waited longest: on a `stalled`
    /// node, then where it need not be moved.
    ///
    /// For a pool it lies where an actor has the least to do. For stateless tasks before a pool it lies
    /// where the actors of that have the least of their output to come, so that they find it there.
    fn choose_next_block(&mut self, op: OpId, stalled: &[NodeId]) {
        let reader = self.state.worker_after(op);
        let reader = reader.filter(|reader| self.state.op(*reader).pool.is_some());
        let State { ops, blocks, ledger, .. } = &mut self.state;
        let operator = &mut ops[op.0 as usize];
        let queue = &mut operator.queues[0];
        let node = |queued: &Queued| blocks[&queued.block].node;
        if let Some(pool) = &operator.pool {
            let Some(load) = pool.loads().next() else { return };
            let is_opening = |queued: &Queued| pool.opening_at(load, node(queued)).is_some();
            return queue.bring_forward(BLOCKS_LOOKED_AT, is_opening);
        }
        let request = ledger.request(op);
        let has_slot =
            |node| ledger.open_account(node).is_some_and(|account| account.free.fits(request));
        let first = queue.ready().next().map(node);
        if reader.is_none() && stalled.is_empty() && first.is_some_and(has_slot) {
            return;
        }
        let need = |node| reader.and_then(|reader| need(ledger, op, reader, node));
        queue.bring_forward(BLOCKS_LOOKED_AT, |queued| {
            let node = node(queued);
            (stalled.contains(&node), has_slot(node), need(node))
        });
    }

    /// Whether the blocks that wait for `op` may be taken in any order, and are so large that moving one
    /// costs more than to look for another. Epochs are to end one after the other, so their blocks keep
    /// their order; and what is cut is cut as it comes.
    fn is_worth_choosing(&self, op: OpId) -> bool {
        let config = self.state.plan.config();
        let first = || self.state.op(op).queue().ready().next();
        self.state.meaning(op).takes_any_blocks()
            && config.epoch_units == 0
            && !self.state.plan.takes_in_order(op)
            && first().is_some_and(|first| {
                first.bytes.times(BLOCKS_PER_TARGET) >= config.block_bytes_target
            })
    }

    /// The nodes where tasks wait for room and none works, as far as the oldest ones tell. Actors do not
    /// count: they go on with what lies elsewhere, for as long as there is any.
    fn stalled_nodes(&self) -> Vec<NodeId> {
        let (tasks, stateless) =
            (&self.state.tasks, || self.state.ops.iter().filter(|op| op.pool.is_none()));
        let works_at = |node| {
            let mut live = stateless().flat_map(|op| op.live.at(node));
            live.any(|(_, id)| !tasks[&id].is_paused())
        };
        let mut nodes: Vec<NodeId> = Vec::new();
        for id in stateless().flat_map(|op| op.paused.values().take(PAUSED_LOOKED_AT)) {
            let node = tasks[id].node;
            if !nodes.contains(&node) && !works_at(node) {
                nodes.push(node);
            }
        }
        nodes
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
/// Paused tasks of each operator that are looked at.
const PAUSED_LOOKED_AT: usize = 64;
/// Blocks are large from this part of the target size on.
const BLOCKS_PER_TARGET: u64 = 16;
