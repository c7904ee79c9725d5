//! How operators that need the same slots divide them.
//!
//! They are through together, which is the soonest, if each has workers in proportion to the work
//! that is left for it. Owns that proportion. Pools keep to it; stateless tasks come and go with
//! what there is to do, and find it in what pools leave them.

use alloc::vec::Vec;

use crate::estimate::quantity;
use crate::state::State;
use crate::units::OpId;

/// How many workers `op` has in a division of the slots that it needs, its own bounds observed; none
/// if nobody else needs them.
pub(crate) fn workers(state: &State, op: OpId) -> Option<f64> {
    let mut sharing: Vec<OpId> = sharing(state, op).collect();
    if sharing.len() < 2 {
        return None;
    }
    let work = work_left(state);
    let work = |op: OpId| work[op.0 as usize].max(WORK_MIN_US);
    let part = |op: OpId, workers: f64| workers / quantity(state.ledger.copies(op).max(1));
    let mut left = 1.0;
    loop {
        let pace = left / sharing.iter().map(|op| part(*op, work(*op))).sum::<f64>();
        let bounded = |op: OpId| {
            let (least, most) = bounds(state, op);
            (pace * work(op)).min(most).max(least)
        };
        // Whoever cannot use its part leaves it to the others, and who needs more takes it of them.
        #[allow(clippy::float_cmp)] // a value within its bounds is left as it is
        let bound = sharing.iter().position(|at| bounded(*at) != pace * work(*at));
        match bound {
            Some(position) if sharing[position] != op => {
                let at = sharing.swap_remove(position);
                left = (left - part(at, bounded(at))).max(0.0);
            }
            _ => return Some(bounded(op)),
        }
    }
}

/// The operators that need what `op` needs and have work, itself among them.
pub(crate) fn sharing(state: &State, op: OpId) -> impl Iterator<Item = OpId> {
    let request = &state.spec(op).resources;
    let needs_it = |other: &OpId| state.spec(*other).resources.shares_slots(request);
    state.op_ids().filter(|other| !state.op(*other).is_done).filter(needs_it)
}

/// The fewest and the most workers of `op`.
fn bounds(state: &State, op: OpId) -> (f64, f64) {
    let (least, most) = match &state.op(op).pool {
        Some(pool) => (pool.spec.actors_min, pool.spec.actors_max),
        None => (1, state.concurrency_limit(op).unwrap_or(u32::MAX)),
    };
    (f64::from(least), f64::from(most))
}

/// The work that is left for each operator, in microseconds of its workers. One of which nothing is
/// known is taken to work as long as all before it.
pub(crate) fn work_left(state: &State) -> Vec<f64> {
    let mut items: Vec<f64> = Vec::with_capacity(state.ops.len());
    let mut work: Vec<f64> = Vec::with_capacity(state.ops.len());
    for op in state.op_ids() {
        let (operator, spec) = (state.op(op), state.spec(op));
        let coming = spec.inputs.iter().map(|input| {
            let above = state.op(*input);
            let each = above.estimates.rows_per_item().unwrap_or(1.0);
            items[input.0 as usize] * each + quantity(above.rows_coming)
        });
        let coming: f64 = coming.sum();
        let waiting: u64 = operator.queues.iter().map(|queue| queue.rows().0).sum();
        let units = operator.listing.expected();
        items.push(quantity(units + waiting) + coming);
        let estimates = &operator.estimates;
        work.push(match (estimates.busy_per_item(), estimates.busy.mean()) {
            (Some(each), Some(task)) => {
                items[op.0 as usize] * each + quantity(operator.live.len() as u64) * task
            }
            _ if state.passes_blocks(op) => 0.0,
            _ => state.plan.above(op).iter().map(|above| work[above.0 as usize]).sum(),
        });
    }
    work
}

/// What is left for an operator that is not through is never nothing.
const WORK_MIN_US: f64 = 1.0;
