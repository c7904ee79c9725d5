//! How many actors a pool should have.

use crate::state::State;
use crate::units::OpId;

/// Whether the pool of `op` lacks an actor of its smallest size.
///
/// The smallest size is started at once, so that models load while the first blocks are made.
pub(crate) fn is_short(state: &State, op: OpId) -> bool {
    may_start(state, op)
        && state.op(op).pool.as_ref().is_some_and(|pool| {
            pool.size() < pool.spec.actors_min && pool.alive() < pool.spec.actors_max
        })
}

/// Whether the pool of `op` should grow beyond its smallest size now, and may.
///
/// It grows as soon as work waits that its actors cannot take, by one for each load of tasks in
/// flight. No pool grows while another is short, for the other could not run at all. An actor is
/// never stopped while its operator has work, so a pool cannot oscillate.
pub(crate) fn wants_more(state: &State, op: OpId) -> bool {
    may_start(state, op)
        && state.op(op).pool.as_ref().is_some_and(|pool| {
            pool.alive() < pool.spec.actors_max && waiting_tasks(state, op) > pool.room()
        })
        && !state.op_ids().any(|other| is_short(state, other))
}

fn may_start(state: &State, op: OpId) -> bool {
    let operator = state.op(op);
    !operator.is_done && (operator.input_ended() || !state.is_bulk())
}

/// Tasks that could be launched if there were actors.
fn waiting_tasks(state: &State, op: OpId) -> u64 {
    let operator = state.op(op);
    let blocks = operator.queue().ready_blocks() as u64 + operator.retries.len() as u64;
    match state.spec(op).bundle_rows_min.0 {
        0 => blocks,
        rows => {
            blocks.min(operator.queue().ready_rows().0 / rows + u64::from(operator.input_ended()))
        }
    }
}
