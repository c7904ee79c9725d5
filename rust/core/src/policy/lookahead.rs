//! Whether there will be room for what a task puts out by the time that it ends.
//!
//! A task that puts out more than it takes in would stall on a full store and keep its slot from the
//! operators below, which alone make room. So it is launched when, at the rate that the slots allow,
//! they will have made room by then. What it puts out is held to the room that there is in any case
//! ([`admission`](crate::policy::admission)): a forecast that is wrong costs time, never memory.

use crate::estimate::{MIN_SPAN_US, quantity, whole};
use crate::operator::Task;
use crate::policy::granularity::Portion;
use crate::policy::{admission, placement};
use crate::protocol::{Reason, Work};
use crate::state::State;
use crate::units::{Bytes, OpId, Slots};

/// Whether `bytes` may be promised before they are needed: there is room for them even if all that
/// runs puts out what is expected of it.
pub(crate) fn has_plenty(state: &State, bytes: Bytes, free: Bytes) -> bool {
    state.is_bulk() || bytes + coming_beyond_credit(state) <= free
}

/// What a task is expected to put out beyond its input.
pub(crate) fn growth(state: &State, task: &Task) -> Bytes {
    if task.is_filling {
        return state.block_bytes(task.op);
    }
    let input: Bytes =
        placement::input_of(&task.work).iter().map(|block| state.blocks[block].bytes).sum();
    let first = match task.work {
        Work::Units { first, .. } => first,
        Work::Blocks(_) => 0,
    };
    let output = expected_bytes(state, task.op, first, task.items);
    beyond(output.saturating_sub(task.bytes_out), input)
}

/// What `output` adds to the `input` that goes when it has come. A little more than the input is as
/// good as the same, since sizes vary.
fn beyond(output: Bytes, input: Bytes) -> Bytes {
    let growth = output.saturating_sub(input);
    if growth.times(2) < output { Bytes::ZERO } else { growth }
}

/// Refuses a launch whose output would not have room when it ends, or that would take a slot without
/// which the operators below could not keep up.
pub(crate) fn check_room(state: &State, op: OpId, portion: Portion) -> Result<(), Reason> {
    let growth = portion_growth(state, op, portion);
    let live = state.op(op).live.len() as u64;
    if growth == Bytes::ZERO || live == 0 || state.is_bulk() {
        return Ok(());
    }
    let flow = Flow::through(state, op);
    if let Some(flow) = &flow {
        flow.check_slots(state, op, live)?;
    } else if 2 * live < state.parallelism(op) {
        // Nothing is known: half of the slots are for the operators below.
        return Ok(());
    }
    let kept: Bytes = state.below(op).map(|below| state.block_bytes(below)).sum();
    let drained = flow.map_or(Bytes::ZERO, |flow| flow.drained);
    let free = state.ledger.open_room() + state.ledger.reserved() + drained;
    let room = free.saturating_sub(coming(state) + kept);
    if growth <= room {
        return Ok(());
    }
    match admission::no_room(state, growth, room) {
        full @ Reason::OutputFull { .. } => Err(full),
        _ => Err(Reason::MemoryAhead { needs: growth, room }),
    }
}

/// Whether the next task of `op` goes before those of the operators below: it is a source, and fewer
/// of its tasks run than it takes to keep the scarcest resource fed.
pub(crate) fn is_urgent(state: &State, op: OpId) -> bool {
    let live = state.op(op).live.len() as u64;
    !state.is_bulk()
        && state.op(op).units_total > 0
        && state.op(op).retries.is_empty()
        && Flow::through(state, op).is_some_and(|flow| quantity(live) + 0.5 < flow.tasks_wanted)
}

fn portion_growth(state: &State, op: OpId, portion: Portion) -> Bytes {
    let operator = state.op(op);
    match portion {
        Portion::Units(count) => expected_bytes(state, op, operator.unit_next, count),
        Portion::Blocks(count) => {
            let taken = operator.queue().ready().take(count);
            let (rows, bytes) = taken.fold((0, Bytes::ZERO), |sums, queued| {
                (sums.0 + queued.rows.0, sums.1 + queued.bytes)
            });
            beyond(expected_bytes(state, op, 0, rows), bytes)
        }
    }
}

/// What `items` of `op`, for a source those from `first` on, are expected to become.
fn expected_bytes(state: &State, op: OpId, first: u64, items: u64) -> Bytes {
    match state.op(op).estimates.bytes_per_item() {
        Some(each) => Bytes(whole(each * quantity(items))),
        None => state.block_bytes(op).max(state.unit_bytes(op, first, items)),
    }
}

/// What all operators will put out beyond their input, or may put out now.
fn coming(state: &State) -> Bytes {
    state.ops.iter().map(|operator| operator.growth.max(operator.credit)).sum()
}

/// What all operators will put out beyond their input and beyond what they may put out now.
pub(crate) fn coming_beyond_credit(state: &State) -> Bytes {
    state.ops.iter().map(|operator| operator.growth.saturating_sub(operator.credit)).sum()
}

/// The pace of the pipeline from one operator on, at which the scarcest resource is just busy.
struct Flow {
    /// What the operators below free while a task of the operator runs.
    drained: Bytes,
    /// Tasks of the operator that run at a time.
    tasks_wanted: f64,
    /// Whether something scarcer than CPU slots sets the pace.
    has_spare_slots: bool,
    /// CPU slots that tasks of the operators below take.
    slots_below: f64,
}

impl Flow {
    /// None before a task of `op` has ended. An operator below of which nothing is known is taken to
    /// work as long as all before it.
    fn through(state: &State, op: OpId) -> Option<Self> {
        let estimates = &state.op(op).estimates;
        let (span, bytes) = (estimates.busy.mean()?, estimates.bytes_per_item()?);
        let (mut items, mut known, mut cpu_below) = (1.0, 0.0, 0.0);
        let mut span_each = MIN_SPAN_US;
        for at in core::iter::once(op).chain(state.below(op)) {
            let estimates = &state.op(at).estimates;
            let work = estimates.busy_per_item().map_or(known, |each| each * items);
            span_each = span_each.max(work / quantity(state.parallelism(at)));
            if at != op && state.op(at).pool.is_none() {
                cpu_below += work * slots_each(state, at);
            }
            known += work;
            items *= estimates.rows_per_item().unwrap_or(1.0);
        }
        let own = estimates.busy_per_item()?;
        let work = cpu_below + own * slots_each(state, op);
        let span_shared = work / cpus(state).max(MIN_SPAN_US);
        let rate = 1.0 / span_each.max(span_shared);
        Some(Self {
            has_spare_slots: span_shared < span_each,
            drained: Bytes(whole(rate * span * bytes)),
            tasks_wanted: rate * own,
            slots_below: rate * cpu_below,
        })
    }

    fn check_slots(&self, state: &State, op: OpId, live: u64) -> Result<(), Reason> {
        let left = cpus(state) - self.slots_below;
        let held = (quantity(live) + SLOT_NOISE) * slots_each(state, op);
        if !self.has_spare_slots || self.slots_below <= 0.0 || held < left {
            return Ok(());
        }
        let by = state.below(op).find(|at| state.op(*at).pool.is_none()).unwrap_or(op);
        Err(Reason::SlotReserved { by })
    }
}

/// CPU slots that a task takes.
fn slots_each(state: &State, op: OpId) -> f64 {
    quantity(state.spec(op).resources.cpu.0) / quantity(Slots::whole(1).0)
}

/// CPU slots that no actor holds.
fn cpus(state: &State) -> f64 {
    quantity(state.ledger.task_cpus().0) / quantity(Slots::whole(1).0)
}

/// The part of a slot by which an estimate may be wrong.
const SLOT_NOISE: f64 = 0.1;
