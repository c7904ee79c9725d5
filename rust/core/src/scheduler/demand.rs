//! What a run would tell those that it shares a cluster with.

use crate::arbiter::Demand;
use crate::policy::{admission, scaling};
use crate::protocol::{Reason, Verdict};
use crate::resources::Resources;
use crate::state::State;
use crate::units::{Bytes, OpId};

/// Slots are wanted by each operator that would launch a task or start an actor if it had them. Room
/// in the stores is wanted as long as there is work: it is what lets tasks run at all.
pub(super) fn take(state: &State) -> Demand {
    let held = state
        .ledger
        .nodes()
        .map(|(node, account)| (node, (account.held(), account.lying() + account.reserved)));
    let shares = state.ledger.nodes().map(|(node, account)| (node, account.share()));
    let (held, shares) = (held.collect(), shares.collect());
    let mut demand = Demand { held, shares, ..Demand::default() };
    if state.is_stopping || state.has_failed {
        return demand;
    }
    for op in state.op_ids().filter(|op| !state.op(*op).is_done) {
        demand.store_wanted = demand.store_wanted.max(state.block_bytes(op)).max(Bytes(1));
        if wants_slots(state, op) {
            raise(&mut demand.slots_wanted, state.ledger.request(op));
        }
    }
    demand
}

fn wants_slots(state: &State, op: OpId) -> bool {
    scaling::is_short(state, op)
        || scaling::wants_more(state, op)
        || matches!(
            admission::verdict(state, op),
            Verdict::Admit
                | Verdict::Hold(
                    Reason::NoFreeSlot { .. }
                        | Reason::NodesQuarantined { .. }
                        | Reason::HeapReserved { .. }
                        | Reason::SlotReserved { .. }
                )
        )
}

/// Raises each amount to that of `request`.
fn raise(most: &mut Resources, request: &Resources) {
    let lacking = request.beyond(most);
    most.credit(&lacking);
}
