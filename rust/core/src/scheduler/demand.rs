//! What a run would tell those that it shares a cluster with.

use crate::arbiter::{Demand, Seat};
use crate::policy::placement::Pass;
use crate::policy::seating::{seats, slots};
use crate::policy::{admission, scaling};
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
    let is_seated = |seat: &Seat| seat.node.is_some();
    for op in state.op_ids() {
        let has_seats = state.op(op).pool.is_some() && !state.op(op).is_done;
        // What an operator that is done has made may be lost, and it has to run again.
        if !has_seats && !slots(state, op).is_zero() {
            demand.tasks.push(slots(state, op));
        }
        if state.op(op).is_done {
            continue;
        }
        demand.store_wanted = demand.store_wanted.max(state.block_bytes(op)).max(Bytes(1));
        if wants_slots(state, op) {
            raise(&mut demand.slots_wanted, state.ledger.request(op));
        }
        demand.seats.extend(seats(state, op));
    }
    let next = state.op_ids().rev().find(|op| wants_task(state, *op));
    demand.task_wanted = next.map(|op| slots(state, op));
    let nodes = |op| admission::nodes_that_lack_slots(state, op, pass(state));
    demand.nodes_wanted = next.map(nodes).unwrap_or_default();
    demand.is_at_rest = state.awaits_consumer()
        && !state.is_working()
        && demand.task_wanted.is_none()
        && demand.seats.iter().all(is_seated);
    demand
}

fn wants_slots(state: &State, op: OpId) -> bool {
    scaling::is_short(state, op) || scaling::wants_more(state, op) || wants_task(state, op)
}

/// Whether `op`, which has no pool, would launch a task if it had the slots. Where nothing moves it may
/// pass limits.
fn wants_task(state: &State, op: OpId) -> bool {
    state.op(op).pool.is_none() && admission::lacks_only_slots(state, op, pass(state))
}

fn pass(state: &State) -> Pass {
    if state.is_moving() { Pass::Nothing } else { Pass::Limits }
}

/// Raises each amount to that of `request`.
fn raise(most: &mut Resources, request: &Resources) {
    let lacking = request.beyond(most);
    most.credit(&lacking);
}
