//! How much work one task takes.
//!
//! A task has a fixed cost, so small units and blocks are bundled until it is worth it; but a
//! bundle must neither starve idle slots nor hold more input than a block's worth of memory.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::estimate::{quantity, whole, whole_above};
use crate::line::{Line, Pace};
use crate::operator::{Operator, Task};
use crate::operators::limit;

use crate::protocol::Reason;
use crate::queue::{InputQueue, Queued};
use crate::state::State;
use crate::units::{ActorId, Bytes, OpId, Rows, Span};

/// What the next new task of an operator would work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Portion {
    /// So many of the next units.
    Units(u64),
    /// So many of the blocks that are ready.
    Blocks(usize),
    /// So many of the next rows of each input.
    Rows(Rows),
}

/// The next portion, or why there is none. With `anything` it may be a partial batch, and is one batch at
/// most.
pub(crate) fn portion(state: &State, op: OpId, anything: bool) -> Result<Portion, Reason> {
    state.meaning(op).portion(state, op, anything)
}

/// Why nothing of what waits in a queue may be taken.
pub(crate) fn nothing_ready(queue: &InputQueue) -> Reason {
    match queue.early_blocks() {
        0 => Reason::InputEmpty,
        early => Reason::Order { blocks: early as u64 },
    }
}

/// A bundle of the blocks that are ready.
pub(crate) fn blocks_portion(state: &State, op: OpId, anything: bool) -> Result<Portion, Reason> {
    let operator = state.op(op);
    if operator.queue().ready_blocks() == 0 {
        return Err(nothing_ready(operator.queue()));
    }
    let (rows, wanted) = (operator.queue().ready_rows(), state.spec(op).bundle_rows_min);
    let is_full = rows >= wanted || epoch_ends(state, op);
    if !is_full && !operator.input_ended() && !anything {
        return Err(Reason::Bundling { rows, wanted });
    }
    Ok(Portion::Blocks(blocks(state, op, anything)))
}

/// Whether what is ready goes on into another epoch, so that waiting makes no bundle larger.
fn epoch_ends(state: &State, op: OpId) -> bool {
    let ready = || state.op(op).queue().ready().map(|queued| state.epoch_of(queued.block));
    state.plan.config().epoch_units > 0 && ready().next() != ready().last()
}

/// Units until the task is long enough, its output a block's worth, or the slots have their share.
pub(crate) fn units(state: &State, op: OpId) -> u64 {
    let operator = state.op(op);
    let listing = &operator.listing;
    let of_epoch = listing.waiting().min(state.units_to_epoch_end(listing.next()));
    let full = full_task(state, op);
    let probe = probe_units(state, op, full).unwrap_or(full);
    probe.min(limit::items_wanted(state, op)).max(1).min(of_epoch)
}

/// Units that fill a task, if so many are there. Where their sizes differ, so many that the task has
/// as many bytes as the others: a unit that is larger than that goes alone.
pub(crate) fn full_task(state: &State, op: OpId) -> u64 {
    let Operator { listing, estimates, .. } = state.op(op);
    let bytes = state.plan.config().block_bytes_target.0;
    if listing.is_uneven() {
        let Some(busy_each) = estimates.busy_per_byte() else { return 1 };
        // Files that differ take time to be opened too, which would look like what the call takes.
        let is_little = !listing.is_open() && listing.bytes_expected().0 <= bytes;
        let pace = pace(state, estimates.by_unit_bytes()).filter(|_| is_little);
        let by_span = items_long(state, busy_each, pace);
        let by_bytes = quotient(bytes, estimates.bytes_per_byte().unwrap_or(0.0));
        let rest = listing.bytes_expected().0;
        let by_share = share(state, op, rest, SHARES_PER_SLOT, pace, |task| task.unit_bytes.0);
        return listing.fitting(Bytes(by_span.min(by_bytes).min(by_share))).clamp(1, UNITS_MAX);
    }
    let Some(busy_each) = estimates.busy_per_item() else { return 1 };
    let pace = pace(state, estimates.by_items());
    let by_span = items_long(state, busy_each, pace);
    let by_bytes = quotient(bytes, estimates.bytes_per_item().unwrap_or(0.0));
    let rest = listing.expected();
    let by_share = share(state, op, rest, SHARES_PER_SLOT, pace, |task| task.items);
    by_span.min(by_bytes).min(by_share)
}

/// Blocks until a batch is full and the task is long enough, or the slots have their share.
fn blocks(state: &State, op: OpId, anything: bool) -> usize {
    let operator = state.op(op);
    let rows_min = state.spec(op).bundle_rows_min;
    let ready = operator.queue().ready_rows().0;
    let pace = pace(state, operator.estimates.by_items());
    let rows_share = share(state, op, ready, 1, pace, |task| task.items);
    let rows_long = if anything { 1 } else { rows_long(state, op) };
    let rows_full = rows_long.min(rows_share).max(rows_min.0);
    let probe = if anything { None } else { probe_rows(state, op, rows_full) };
    let (rows_wanted, bytes_max) =
        probe.unwrap_or((rows_full, state.plan.config().block_bytes_target));
    let rows_wanted = Rows(rows_wanted);
    let (mut count, mut rows, mut bytes) = (0, Rows::ZERO, Bytes::ZERO);
    let has_epochs = state.plan.config().epoch_units > 0;
    let epoch = |queued: &Queued| has_epochs.then(|| state.epoch_of(queued.block));
    let first = operator.queue().ready().next().and_then(epoch);
    for queued in operator.queue().ready().take_while(|queued| epoch(queued) == first) {
        let is_full = rows >= rows_wanted && count > 0;
        let is_heavy = bytes + queued.bytes > bytes_max;
        if is_full || (is_heavy && count > 0 && rows >= rows_min) || count >= BUNDLE_BLOCKS_MAX {
            break;
        }
        count += 1;
        rows += queued.rows;
        bytes += queued.bytes;
    }
    count
}

/// Rows that make a task of `op` long enough, if it is what a call takes that makes it so many.
pub(crate) fn rows_of_call(state: &State, op: OpId) -> Option<f64> {
    let pace = pace(state, state.op(op).estimates.by_items());
    pace.map(|pace| pace.items_long(state.plan.config().task_span_target.0))
}

/// Rows that make a task long enough; before anything is known, any number.
pub(crate) fn rows_long(state: &State, op: OpId) -> u64 {
    let estimates = &state.op(op).estimates;
    let pace = pace(state, estimates.by_items());
    estimates.busy_per_item().map_or(1, |each| items_long(state, each, pace))
}

/// What a call and each item take, where that decides how long a task should be.
fn pace(state: &State, line: &Line) -> Option<Pace> {
    line.pace().filter(|_| state.plan.config().task_span_target > Span::ZERO)
}

/// Items that make a task long enough: as many as the target is long, or more where a call takes much
/// beside them.
fn items_long(state: &State, busy_each: f64, pace: Option<Pace>) -> u64 {
    let span = state.plan.config().task_span_target.0;
    pace.map_or_else(|| quotient(span, busy_each), |pace| whole(pace.items_long(span)))
}

/// How many of the items that are left a task takes, so that each slot has its share, in so many tasks.
/// Where that many take less than the call, each slot does its share in one task instead, and all of them
/// end together.
fn share(
    state: &State,
    op: OpId,
    rest: u64,
    tasks_per_slot: u64,
    pace: Option<Pace>,
    items: impl Fn(&Task) -> u64,
) -> u64 {
    let even = rest / (tasks_per_slot * state.parallelism(op).max(1));
    match pace.filter(|pace| quantity(even) < pace.items_of_call()) {
        Some(pace) => even.max(last_share(state, op, rest, pace, items)),
        None => even,
    }
}

/// How many of the items that are left the next task takes so that all slots end together. It begins where
/// least is to be done before.
fn last_share(state: &State, op: OpId, rest: u64, pace: Pace, items: impl Fn(&Task) -> u64) -> u64 {
    let ahead = items_ahead(state, op, pace, items);
    let (mut slots, mut sum, mut level) = (0, quantity(rest), f64::INFINITY);
    for ahead in &ahead {
        if *ahead >= level {
            break;
        }
        (slots, sum) = (slots + 1, sum + ahead);
        level = sum / quantity(slots);
    }
    ahead.first().map_or(rest, |first| whole_above(level - first))
}

/// What each slot has to do before it is free, in items, those that are free first first.
fn items_ahead(state: &State, op: OpId, pace: Pace, items: impl Fn(&Task) -> u64) -> Vec<f64> {
    let mut of_actors: BTreeMap<ActorId, f64> = BTreeMap::new();
    let mut ahead = Vec::new();
    for id in state.op(op).live.ids() {
        let task = &state.tasks[&id];
        let span = pace.call + pace.each * quantity(items(task));
        let left = (span - quantity(task.stretch.moving(state.now).0)).max(0.0);
        match task.actor {
            // One that waits behind another has not begun.
            Some(actor) => {
                of_actors.entry(actor).and_modify(|ahead| *ahead += span).or_insert(left);
            }
            None => ahead.push(left),
        }
    }
    ahead.extend(of_actors.into_values());
    let idle =
        usize::try_from(state.parallelism(op).max(1)).unwrap_or(0).saturating_sub(ahead.len());
    ahead.extend(core::iter::repeat_n(0.0, idle));
    for span in &mut ahead {
        *span = (*span / pace.each).max(0.0);
    }
    ahead.sort_by(f64::total_cmp);
    ahead
}

/// Units of a task that is to tell what a call takes beside its items, if the next one is to: it is larger
/// than others. Before anything is known, only what is declared to be small.
fn probe_units(state: &State, op: OpId, full: u64) -> Option<u64> {
    let Operator { listing, estimates, sizes, .. } = state.op(op);
    if !may_probe(state, op) {
        return None;
    }
    let most = sizes.least()?.saturating_mul(PROBE_TIMES);
    let block = state.plan.config().block_bytes_target.0;
    let small = Bytes(block / PROBE_PARTS_UNKNOWN);
    let known = |each: Option<f64>| most.min(quotient(block / PROBE_PARTS, each.unwrap_or(0.0)));
    let units = match (estimates.busy.is_known(), listing.is_uneven()) {
        (true, true) => listing.fitting(Bytes(known(estimates.bytes_per_byte()))),
        (true, false) => known(estimates.bytes_per_item()),
        (false, true) => listing.fitting(small.min(Bytes(most))),
        (false, false) if listing.bytes_of(1) > Bytes::ZERO => most.min(listing.fitting(small)),
        (false, false) => return None,
    };
    let by_share = listing.expected().div_ceil(SHARES_PER_SLOT * state.parallelism(op).max(1));
    let units = units.min(by_share);
    (units > full).then_some(units)
}

/// The same in rows of blocks, and the bytes that they may have.
fn probe_rows(state: &State, op: OpId, full: u64) -> Option<(u64, Bytes)> {
    let (operator, block) = (state.op(op), state.plan.config().block_bytes_target);
    if !may_probe(state, op) {
        return None;
    }
    let slots = state.parallelism(op).max(1);
    let by_share = operator.queue().ready_rows().0.div_ceil(SHARES_PER_SLOT * slots);
    let rows = operator.sizes.least()?.saturating_mul(PROBE_TIMES).min(by_share);
    let parts = if operator.estimates.busy.is_known() { PROBE_PARTS } else { PROBE_PARTS_UNKNOWN };
    (rows > full).then_some((rows, Bytes(block.0 / parts)))
}

/// Whether the next task of `op` may be larger to tell what a call takes. Nobody has said how many rows
/// a call should get; and all but the first are to tell as long as nothing is known, or one if tasks
/// take so long that they would all stay as small. Not where a limit may end it: then
/// rows that nobody wants cost most.
fn may_probe(state: &State, op: OpId) -> bool {
    let operator = state.op(op);
    let span = state.plan.config().task_span_target;
    let is_wanted = match operator.estimates.busy.mean() {
        Some(busy) => operator.sizes.are_alike() && busy * BUNDLES_MANY > quantity(span.0),
        None => operator.sizes.least().is_some(),
    };
    is_wanted
        && span > Span::ZERO
        && state.spec(op).bundle_rows_min == Rows::ZERO
        && !state.is_bulk()
        && !limit::may_end(state, op)
}

fn quotient(total: u64, each: f64) -> u64 {
    if each <= 0.0 { u64::MAX } else { whole(quantity(total) / each) }
}

/// Portions that are left for each slot towards the end, so that all slots end together.
const SHARES_PER_SLOT: u64 = 2;
/// How many times larger than the others a task is that is to tell what a call takes.
const PROBE_TIMES: u64 = 16;
/// It puts out one of so many parts of a block at most.
const PROBE_PARTS: u64 = 4;
/// The same of what its units or blocks have, before anything is known of what they become.
const PROBE_PARTS_UNKNOWN: u64 = 64;
/// Tasks that would be bundled at least so many times come in different sizes by themselves.
const BUNDLES_MANY: f64 = 2.0;
/// Units of a task whose sizes differ. More is not worth the time that they take to begin with.
const UNITS_MAX: u64 = 1 << 16;
/// A task's arguments are sent with it; more references than this cost more than they save.
const BUNDLE_BLOCKS_MAX: usize = 256;
