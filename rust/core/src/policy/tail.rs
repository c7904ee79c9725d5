//! How near the end is, beside the longest way through the pipeline, which may decide when it comes.
//!
//! While much is left to do, a slot that waits for room costs the others. At the end slots are idle
//! in any case, and what counts is that the last units start early.

use crate::estimate::quantity;
use crate::policy::flow;
use crate::state::State;
use crate::units::OpId;

/// How long all work from source `op` on that is left takes, evenly spread, and how long a unit that is
/// launched now takes through all operators, in microseconds.
pub(crate) fn left_and_way(state: &State, op: OpId) -> Option<(f64, f64)> {
    // How far the end is nobody knows as long as units are listed.
    let is_source = state.spec(op).kind.is_source() && !state.op(op).listing.is_open();
    if !is_source {
        return None;
    }
    Some((span_left(state, op)?, longest_way(state, op)?))
}

/// How long the next unit may take to get through, in microseconds, if one stage is as slow as its
/// slowest recent task. On average it waits half a task for a slot.
fn longest_way(state: &State, op: OpId) -> Option<f64> {
    let (mut usual, mut beyond, mut slots_taken) = (0.0, 0.0_f64, 0.0_f64);
    for at in core::iter::once(op).chain(state.workers_below(op)) {
        let busy = &state.op(at).estimates.busy;
        let (mean, longest) = (busy.mean()?, busy.recent_peak()?);
        usual += mean;
        beyond = beyond.max(longest - mean);
        if at != op {
            slots_taken = slots_taken.max(mean / 2.0);
        }
    }
    Some(usual + beyond + slots_taken)
}

/// How long the scarcest resource is busy with all that is left of `op` and below, in microseconds.
fn span_left(state: &State, op: OpId) -> Option<f64> {
    let source = state.op(op);
    let (mut cpu, mut longest) = (0.0, 0.0_f64);
    let mut items = quantity(source.listing.waiting());
    let mut above = None;
    for at in core::iter::once(op).chain(state.workers_below(op)) {
        let operator = state.op(at);
        if let Some(above) = above {
            let made = items * state.op(above).estimates.rows_per_item()?;
            items = made + quantity(state.rows_after(above).0 + state.op(above).rows_coming);
        }
        let live = operator.live.len() as u64;
        let work = items * operator.estimates.busy_per_item()?
            + quantity(live) * operator.estimates.busy.mean()?;
        longest = longest.max(work / quantity(state.parallelism(at)));
        if operator.pool.is_none() {
            cpu += work * flow::slots_each(state, at);
        }
        above = Some(at);
    }
    Some(longest.max(cpu / flow::cpus(state)))
}
