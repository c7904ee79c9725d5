//! What the two sides of an exchange mean: which partition is worked on next, and what waits behind the
//! barrier between them.
//!
//! That does not drain before the last task of the map side has ended, whatever room there is. So on each
//! node no more of it is kept in the store than leaves the operators room; the rest is set aside: it
//! counts no longer against the store, and is declared ([`Snapshot`](crate::Snapshot)).

use crate::operators::{Meaning, OpKind};
use crate::plan::{OpSpec, PlanError};
use crate::policy::granularity::Portion;
use crate::protocol::{FailCause, Reason};
use crate::state::{Block, Shelf, State};
use crate::units::{BlockId, Bytes, NodeId, OpId};

pub(crate) struct Scatter;

impl Meaning for Scatter {
    fn check_neighbours(&self, ops: &[OpSpec], position: usize) -> Result<(), PlanError> {
        let op = &ops[position];
        let reads = |other: &OpSpec| other.inputs.iter().any(|input| input.0 as usize == position);
        if op.kind == (OpKind::Scatter { partitions: 0 }) {
            return Err(must(op, "have at least one partition"));
        }
        if ops.iter().any(|other| other.kind == OpKind::Gather && reads(other)) {
            return Ok(());
        }
        Err(must(op, "be read by a gather"))
    }

    fn fills_barrier(&self) -> bool {
        true
    }
}

pub(crate) struct Gather;

impl Meaning for Gather {
    fn check_neighbours(&self, ops: &[OpSpec], position: usize) -> Result<(), PlanError> {
        let op = &ops[position];
        match ops[op.inputs[0].0 as usize].kind {
            OpKind::Scatter { .. } => Ok(()),
            _ => Err(must(op, "read a scatter")),
        }
    }

    fn brings_units_together(&self) -> bool {
        true
    }

    /// All blocks of the next partition, once no more of any come.
    fn portion(&self, state: &State, op: OpId, _anything: bool) -> Result<Portion, Reason> {
        if state.is_closed_barrier(op) {
            return Err(barrier(state, op));
        }
        let mut ready = state.op(op).queue().ready();
        let Some(first) = ready.next() else { return Err(Reason::InputEmpty) };
        let is_same = |partition: u32| partition == first.at.partition;
        Ok(Portion::Blocks(1 + ready.take_while(|queued| is_same(queued.at.partition)).count()))
    }

    fn is_barrier(&self) -> bool {
        true
    }
}

fn must(op: &OpSpec, wanted: &'static str) -> PlanError {
    PlanError::Exchange { name: op.name.clone(), wanted }
}

impl State {
    /// Whether `op` begins nothing before all its input is there.
    pub(crate) fn is_barrier(&self, op: OpId) -> bool {
        self.meaning(op).is_barrier()
    }

    /// Whether `op` waits until all its input is there.
    pub(crate) fn is_closed_barrier(&self, op: OpId) -> bool {
        self.is_barrier(op) && !self.op(op).input_ended()
    }

    /// Whether `op` has ever begun any work.
    fn has_begun(&self, op: OpId) -> bool {
        self.op(op).work_next > 0
    }

    /// The partition of a block that `op` made, which may not have so many. What is in none is in the
    /// first.
    pub(crate) fn partition_of(&self, op: OpId, said: u32) -> Result<u32, FailCause> {
        match self.spec(op).kind {
            OpKind::Scatter { partitions } if said >= partitions => {
                Err(FailCause::NoSuchPartition { partition: said, partitions })
            }
            OpKind::Scatter { .. } => Ok(said),
            _ => Ok(0),
        }
    }

    /// The operators below `op` that can have work before `op` has ended: not those to which all comes
    /// through a barrier that was never open.
    pub(crate) fn awake_below(&self, op: OpId) -> impl Iterator<Item = OpId> {
        let mut is_asleep = false;
        self.below(op).filter(move |reader| {
            let is_join = self.spec(*reader).inputs.len() > 1;
            let is_first_closed = || self.is_closed_barrier(*reader) && !self.has_begun(*reader);
            is_asleep = !is_join && (is_asleep || is_first_closed());
            !is_asleep
        })
    }

    /// Books a block that has come to a barrier.
    pub(crate) fn shelve(&mut self, id: BlockId) {
        let Block { node, bytes, .. } = self.blocks[&id];
        if self.is_bulk() || !self.ledger.knows(node) {
            return;
        }
        let to = if self.leaves_room(node, bytes) { Shelf::AtBarrier } else { Shelf::Aside };
        if to == Shelf::Aside {
            self.bytes_set_aside += bytes;
        }
        self.put_on_shelf(id, to);
    }

    /// Whether a node has enough room beside what waits there, `bytes` more than now: a part of its
    /// store, and now a block for each operator that has not ended.
    fn leaves_room(&self, node: NodeId, bytes: Bytes) -> bool {
        let Some(account) = self.ledger.account(node) else { return false };
        let unended = self.op_ids().filter(|op| !self.op(*op).is_done);
        let needed: Bytes = unended.map(|op| self.block_bytes(op)).sum();
        (account.at_barrier + bytes).times(STORES_PER_BARRIER) <= account.store
            && needed <= account.room()
    }

    /// Books that a block has left its barrier. One that was set aside stays so.
    pub(crate) fn leave_barrier(&mut self, id: BlockId) {
        if self.blocks[&id].shelf == Shelf::AtBarrier {
            self.put_on_shelf(id, Shelf::Off);
        }
    }

    fn put_on_shelf(&mut self, id: BlockId, to: Shelf) {
        let block = self.blocks.get_mut(&id).expect("because the caller found it");
        let was = core::mem::replace(&mut block.shelf, to);
        let (node, producer, bytes) = (block.node, block.producer, block.bytes);
        self.ledger.move_shelf(node, producer, bytes, (was, to));
    }

    /// Books that a block is gone from its store.
    pub(crate) fn discharge(&mut self, block: &Block) {
        let Block { producer, node, bytes, shelf, .. } = *block;
        self.ledger.move_shelf(node, producer, bytes, (shelf, Shelf::Off));
        self.ledger.discharge(node, producer, bytes);
    }
}

/// What waits for the end of the map side.
fn barrier(state: &State, op: OpId) -> Reason {
    let made_by = state.spec(op).inputs.iter();
    let aside = made_by.map(|input| state.ledger.lane(*input).aside).sum();
    Reason::Barrier { bytes: state.op(op).queue().bytes(), aside }
}

/// Blocks that wait behind barriers may fill one such part of each store.
const STORES_PER_BARRIER: u64 = 2;
