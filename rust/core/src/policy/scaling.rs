//! How many actors a pool should have.

use crate::policy::placement;
use crate::state::State;
use crate::units::OpId;

/// Whether the pool of `op` should start one more actor now, and may.
///
/// The smallest size is started at once, so that models load while the first blocks are made. More
/// are started as soon as work waits that the present actors cannot take, one for each load of
/// tasks in flight. An actor is never stopped while its operator has work, so a pool cannot oscillate.
pub(crate) fn wants_actor(state: &State, op: OpId) -> bool {
    let operator = state.op(op);
    let Some(pool) = &operator.pool else {
        return false;
    };
    if operator.is_done || state.is_stopping || state.has_failed {
        return false;
    }
    if state.is_bulk() && !operator.input_ended {
        return false;
    }
    if pool.size() < pool.spec.actors_min {
        return true;
    }
    pool.size() < pool.spec.actors_max
        && waiting_tasks(state, op) > pool.room()
        && leaves_slots(state, op)
}

/// Tasks that could be launched if there were actors.
fn waiting_tasks(state: &State, op: OpId) -> u64 {
    let operator = state.op(op);
    let blocks = operator.queue.ready_blocks() as u64 + operator.retries.len() as u64;
    match state.spec(op).bundle_rows_min.0 {
        0 => blocks,
        rows => blocks.min(operator.queue.ready_rows().0.div_ceil(rows)),
    }
}

/// Whether each stateless operator could still run a task beside one more actor.
fn leaves_slots(state: &State, op: OpId) -> bool {
    let Some(node) = placement::actor_node(state, op) else {
        return false;
    };
    let request = &state.spec(op).resources;
    state.op_ids().filter(|other| state.op(*other).pool.is_none()).all(|other| {
        let (operator, wanted) = (state.op(other), &state.spec(other).resources);
        let mut both = request.clone();
        both.credit(wanted);
        operator.is_done
            || !operator.live.is_empty()
            || state
                .ledger
                .open_nodes()
                .any(|(at, a)| a.free.fits(if at == node { &both } else { wanted }))
    })
}
