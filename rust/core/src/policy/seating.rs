//! Where the actors that a run cannot do without start beside other runs.
//!
//! Owns the rule that they start where the arbiter has a place for them. It tells shares, not seats: both
//! find the same places in them. Knows nothing of what other runs want.

use alloc::vec::Vec;

use crate::arbiter::Seat;
use crate::arbiter::floors::{Slots, place};
use crate::ledger::Account;
use crate::policy::placement;
use crate::resources::Resources;
use crate::state::State;
use crate::units::{Bytes, NodeId, OpId};

/// The actors of the smallest size of the pool of `op`, those first that have started.
pub(crate) fn seats(state: &State, op: OpId) -> Vec<Seat> {
    let Some(pool) = &state.op(op).pool else { return Vec::new() };
    let request = slots(state, op);
    if state.op(op).is_done || request.is_zero() || (state.is_bulk() && !state.op(op).input_ended())
    {
        return Vec::new();
    }
    let there = pool.actors().filter(|(_, actor)| !actor.is_retiring);
    let there = there.map(|(_, actor)| Some(actor.node)).chain(core::iter::repeat(None));
    let seat = |node| Seat { request: request.clone(), node };
    there.take(pool.spec.actors_min as usize).map(seat).collect()
}

/// What a task or an actor of `op` asks for except heap, of which nobody is sure.
pub(crate) fn slots(state: &State, op: OpId) -> Resources {
    Resources { heap: Bytes::ZERO, ..state.spec(op).resources.clone() }
}

/// Where the next actor of a pool may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Wherever there is room.
    Anywhere,
    /// Only there.
    At(NodeId),
    /// Nowhere before the run's shares have a place for all its seats.
    Later,
}

impl Due {
    /// Whether it may start at a node.
    pub(crate) fn allows(self, node: NodeId) -> bool {
        self == Self::Anywhere || self == Self::At(node)
    }
}

/// Where the next actor of `op` may start: beside other runs, if its pool is below its smallest size, only
/// at its seat. Where the run has to leave that node alone, or the cluster has no place for all its seats,
/// wherever it can.
pub(crate) fn due(state: &State, op: OpId) -> Due {
    let of_op = if state.ledger.is_shared() { seats(state, op) } else { Vec::new() };
    let Some(next) = of_op.iter().position(|seat| seat.node.is_none()) else {
        return Due::Anywhere;
    };
    let mut all: Vec<Seat> = Vec::new();
    let mut at = 0;
    for other in state.op_ids() {
        if other == op {
            at = all.len() + next;
        }
        all.extend(seats(state, other));
    }
    let has = |amount: fn(&Account) -> Resources| -> Slots {
        state.ledger.nodes().map(|(node, account)| (node, amount(account))).collect()
    };
    let in_share = place(all.iter(), has(|account| account.share().0));
    if in_share.is_complete() {
        let node = in_share.nodes[at];
        let open = node.filter(|node| placement::is_open(state, op, *node));
        return open.map_or(Due::Anywhere, Due::At);
    }
    let in_all = place(all.iter(), has(|account| account.total.clone()));
    if in_all.is_complete() { Due::Later } else { Due::Anywhere }
}
