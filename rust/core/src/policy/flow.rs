//! The pace of the pipeline from one operator on, at which the scarcest resource is just busy.

use crate::estimate::{MIN_SPAN_US, TaskEstimates, quantity};
use crate::protocol::Reason;
use crate::state::State;
use crate::units::{OpId, Slots};

/// Rates per microsecond, as far as finished tasks tell.
pub(crate) struct Flow {
    /// Microseconds after which a task of the operator has put out its blocks.
    pub(crate) span: f64,
    /// Whether it puts them out all together when it ends.
    pub(crate) is_burst: bool,
    /// Bytes that the operators below free in a microsecond while one more task of the operator runs.
    pub(crate) drain: f64,
    /// Tasks of the operator that run at a time.
    pub(crate) tasks_wanted: f64,
    /// Whether something scarcer than CPU slots sets the pace.
    has_spare_slots: bool,
    /// CPU slots that tasks of the operators below take.
    slots_below: f64,
}

impl Flow {
    /// None before a task of `op` has ended.
    pub(crate) fn through(state: &State, op: OpId) -> Option<Self> {
        let estimates = &state.op(op).estimates;
        let (own, bytes) = (estimates.busy_per_item()?, estimates.bytes_per_item()?);
        let (span, is_burst) = output_span(estimates)?;
        let below = Below::of(state, op, own);
        let span_each = below.span_each.max(own / quantity(state.parallelism(op)));
        let cpu = below.cpu + own * slots_each(state, op);
        let span_shared = cpu / cpus(state).max(MIN_SPAN_US);
        let rate = 1.0 / span_each.max(span_shared);
        Some(Self {
            span,
            is_burst,
            drain: below.rate(state, op, rate) * bytes,
            tasks_wanted: rate * own,
            has_spare_slots: span_shared < span_each,
            slots_below: rate * below.cpu,
        })
    }

    /// Refuses a task of `op` that would take a slot without which the operators below could not keep
    /// up with what sets the pace.
    pub(crate) fn check_slots(&self, state: &State, op: OpId, live: u64) -> Result<(), Reason> {
        let left = cpus(state) - self.slots_below;
        let held = (quantity(live) + SLOT_NOISE) * slots_each(state, op);
        if !self.has_spare_slots || self.slots_below <= 0.0 || held < left {
            return Ok(());
        }
        let by = state.workers_below(op).find(|at| state.op(*at).pool.is_none()).unwrap_or(op);
        Err(Reason::SlotReserved { by })
    }
}

/// What the operators below take for an item of the operator.
struct Below {
    /// Time of the slowest of them, all its workers together.
    span_each: f64,
    /// CPU slots times microseconds of those that run as tasks.
    cpu: f64,
}

impl Below {
    /// `own` is the work of `op` for the item. An operator of which nothing is known is taken to work
    /// as long as all before it.
    fn of(state: &State, op: OpId, own: f64) -> Self {
        let mut below = Self { span_each: MIN_SPAN_US, cpu: 0.0 };
        let (mut items, mut known) = (1.0, own);
        let mut above = op;
        for at in state.workers_below(op) {
            items *= state.op(above).estimates.rows_per_item().unwrap_or(1.0);
            let each = state.op(at).estimates.busy_per_item();
            let work = each.map_or(known, |each| each * items);
            below.span_each = below.span_each.max(work / quantity(state.parallelism(at)));
            if state.op(at).pool.is_none() {
                below.cpu += work * slots_each(state, at);
            }
            known += work;
            above = at;
        }
        below
    }

    /// Items in a microsecond for which there is time while one more task of `op` runs, at least the
    /// `rate` of the whole pipeline.
    fn rate(&self, state: &State, op: OpId, rate: f64) -> f64 {
        if self.cpu <= 0.0 && self.span_each <= MIN_SPAN_US {
            return rate;
        }
        let held = quantity(state.op(op).live.len() as u64 + 1) * slots_each(state, op);
        let slots = (cpus(state) - held).max(rate * self.cpu);
        rate.max(1.0 / self.span_each.max(self.cpu / slots.max(MIN_SPAN_US)))
    }
}

/// After how long a task has put out its blocks, and whether it puts them out together. What the last
/// one took counts where it is less, since blocks that come too soon have no room.
fn output_span(estimates: &TaskEstimates) -> Option<(f64, bool)> {
    let busy = estimates.busy.mean()?;
    let lead = estimates.lead.mean().unwrap_or(busy);
    if 2.0 * lead < busy {
        return Some((busy, false));
    }
    Some((estimates.lead.recent_low().map_or(lead, |low| lead.min(low)), true))
}

/// CPU slots that a task takes.
pub(crate) fn slots_each(state: &State, op: OpId) -> f64 {
    quantity(state.spec(op).resources.cpu.0) / quantity(Slots::whole(1).0)
}

/// CPU slots that no actor holds.
pub(crate) fn cpus(state: &State) -> f64 {
    quantity(state.ledger.task_cpus().0) / quantity(Slots::whole(1).0)
}

/// The part of a slot by which an estimate may be wrong.
const SLOT_NOISE: f64 = 0.1;
