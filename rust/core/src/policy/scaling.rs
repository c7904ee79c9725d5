//! How many actors a pool should have.

use crate::estimate::{quantity, whole};
use crate::policy::{division, placement};
use crate::pool::Pool;
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
/// flight, up to its part of the slots that others need too, and only if an actor would have work left when it has
/// loaded. No pool grows while another is short, for the other could not run at all.
pub(crate) fn wants_more(state: &State, op: OpId) -> bool {
    has_work_for_more(state, op)
        && lacking(state, op) > 0
        && !state.op_ids().any(|other| is_short(state, other))
}

/// Whether work waits that the actors of `op` cannot take, and one more may be and would have some left
/// when it has loaded.
fn has_work_for_more(state: &State, op: OpId) -> bool {
    may_start(state, op)
        && state.op(op).pool.as_ref().is_some_and(|pool| {
            pool.alive() < pool.spec.actors_max
                && waiting_tasks(state, op) > pool.room()
                && outlasts_load(state, op, pool)
        })
}

/// Whether the pool of `op` has work for another actor, and slots for it are free but kept for others, or
/// their part.
pub(crate) fn is_kept_small(state: &State, op: OpId) -> bool {
    let has_vacancy = || state.ledger.vacant(op).any(|mut class| class.next().is_some());
    let is_kept = || lacking(state, op) == 0 || placement::actor_node(state, op).is_none();
    has_work_for_more(state, op) && has_vacancy() && is_kept()
}

/// Whether a pool below is kept small for the sake of others such as `op`: the sooner that is through, the
/// sooner the pool may grow.
pub(crate) fn awaits_the_end_of(state: &State, op: OpId) -> bool {
    let shares = |pool: &OpId| state.spec(*pool).resources.shares_slots(&state.spec(op).resources);
    state.workers_below(op).filter(shares).any(|pool| is_kept_small(state, pool))
}

/// How many workers `op` lacks of its part of the slots that others need too; any number where
/// nobody does.
pub(crate) fn lacking(state: &State, op: OpId) -> u64 {
    let lacks = |part: f64| whole(part + 0.5).saturating_sub(workers(state, op));
    division::workers(state, op).map_or(u64::MAX, lacks)
}

/// Whether the pool of `op` would still have its part of the slots with one actor less, and be clearly
/// ahead of `other` with `coming` more workers, each measured against its part. Estimates vary, so who
/// is ahead by little is not ahead; and before both are measured, nobody is.
pub(crate) fn is_ahead(state: &State, op: OpId, other: OpId, coming: u64) -> bool {
    let has_more = state.op(op).pool.as_ref().is_some_and(|p| p.size() > p.spec.actors_min);
    let is_measured = |op: OpId| state.op(op).estimates.busy.is_known();
    if !has_more || !is_measured(op) || !is_measured(other) {
        return false;
    }
    let parts = (division::workers(state, op), division::workers(state, other));
    let (Some(part), Some(part_other)) = parts else { return false };
    let left = workers(state, op) - 1;
    let is_behind = quantity(workers(state, other) + coming) / part_other * CLEARLY;
    left >= whole(part + 0.5) && quantity(left) / part > is_behind
}

/// Actors, except those that are to end; or tasks that run.
fn workers(state: &State, op: OpId) -> u64 {
    let operator = state.op(op);
    operator.pool.as_ref().map_or(operator.live.len() as u64, |pool| pool.size().into())
}

fn may_start(state: &State, op: OpId) -> bool {
    let operator = state.op(op);
    !operator.is_done && (operator.input_ended() || !state.is_bulk())
}

/// Whether the actors that `op` has would be busy for longer than another one loads.
fn outlasts_load(state: &State, op: OpId, pool: &Pool) -> bool {
    let estimates = &state.op(op).estimates;
    match estimates.load.mean().filter(|_| estimates.busy.is_known()) {
        Some(load) => {
            let left = division::work_left(state)[op.0 as usize];
            left > load * quantity(pool.size().into())
        }
        None => true,
    }
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

/// Who is ahead by less than this factor is not.
const CLEARLY: f64 = 1.05;
