//! Whether there will be room for what a task puts out by the time that it ends.
//!
//! A task that puts out more than it takes in would stall on a full store and keep its slot from the
//! operators below, which alone make room. So it is launched when, at the rate that the slots allow,
//! they will have made room by then. What it puts out is held to the room that there is in any case
//! ([`admission`](crate::policy::admission)): a forecast that is wrong costs time, never memory.

use alloc::vec::Vec;

use crate::estimate::{MIN_SPAN_US, quantity, whole};
use crate::ledger::{Account, Share};
use crate::operator::Task;
use crate::policy::admission;
use crate::policy::flow::Flow;
use crate::policy::granularity::Portion;
use crate::policy::tail;
use crate::protocol::Reason;
use crate::state::State;
use crate::units::{Bytes, NodeId, OpId, Rows, Span, TaskId, Time};

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
    let input: Bytes = task.work.blocks().map(|block| state.blocks[&block].bytes).sum();
    beyond(output_left(state, task), input)
}

/// What a task is expected to put out yet.
fn output_left(state: &State, task: &Task) -> Bytes {
    expected_bytes(state, task.op, task.unit_bytes, task.items).saturating_sub(task.bytes_out)
}

/// What a task that has just begun to put out blocks is expected to put out at once, at most all the
/// `room` that there is.
///
/// Tasks that end together would share the room, and all of them keep their slots for longer. So the
/// oldest one hands over all its blocks first, as long as they follow each other closely.
pub(crate) fn burst(state: &State, task: &Task, room: Bytes) -> Bytes {
    let Some(lead) = task.lead.filter(|_| !task.is_filling) else { return Bytes::ZERO };
    let since = task.stretch.moving(state.now).saturating_sub(lead);
    if since.times(LEADS_OF_BURST) > lead {
        return Bytes::ZERO;
    }
    match state.op(task.op).estimates.bytes_per_item() {
        Some(_) => output_left(state, task),
        None => room,
    }
}

/// What `output` adds to the `input` that goes when it has come. A little more than the input is as
/// good as the same, since sizes vary.
fn beyond(output: Bytes, input: Bytes) -> Bytes {
    let growth = output.saturating_sub(input);
    if growth.times(2) < output { Bytes::ZERO } else { growth }
}

/// What a launch is expected to put out beyond its input. Refuses it if that would not have room in all
/// stores together when it ends, or if it would take a slot without which the operators below could not
/// keep up.
pub(crate) fn check_room(state: &State, op: OpId, portion: Portion) -> Result<Bytes, Reason> {
    let growth = portion_growth(state, op, portion);
    let live = state.op(op).live.len() as u64;
    if growth == Bytes::ZERO || state.is_bulk() {
        return Ok(growth);
    }
    let flow = Flow::through(state, op);
    if let Some(flow) = &flow {
        flow.check_slots(state, op, live)?;
    } else if live == 0
        || (2 * live < state.parallelism(op) && declared(state, op, live) < limit(state))
        || next_probe(state, op) == Some(state.now)
    {
        return Ok(growth);
    }
    let (limit, kept) = (limit(state), kept(state, op));
    if live == 0 && growth + kept > limit {
        // There never is room for all of it, however long it waits.
        return Ok(growth);
    }
    let spare = if flow.is_some() { spare(state, op, limit, growth + kept) } else { Bytes::ZERO };
    let lying = lying_ahead(state, op, flow.as_ref()) + kept + spare;
    check_growth(state, op, growth, limit, lying).map(|()| growth)
}

/// Refuses a launch of `op` at one node of several if what it is expected to put out beyond its input,
/// `growth`, would not have room there when it ends. Of what the operators below make room for in a time,
/// the node has the part that it has of the slots of `op`.
pub(crate) fn check_room_at(
    state: &State,
    op: OpId,
    growth: Bytes,
    node: NodeId,
    account: &Account,
) -> Result<(), Reason> {
    if growth == Bytes::ZERO || state.is_bulk() || state.ledger.is_one_node() {
        return Ok(());
    }
    let Some(flow) = Flow::through(state, op) else { return Ok(()) };
    let tasks = |op: OpId| state.op(op).live.at(node).map(|(_, id)| &*state.tasks[&id]);
    let limit = account.room() + account.reserved + account.flowing();
    let below = state.workers_below(op);
    let below = below.filter(|below| account.total.fits(state.ledger.request(*below)));
    let kept: Bytes = below.map(|below| state.block_bytes(below)).sum();
    if tasks(op).len() == 0 && growth + kept > limit {
        return Ok(());
    }
    let drain = NODES_DRAIN * flow.drain * share_of(state, op, node, account);
    let others = state.op_ids().filter(|other| *other != op).flat_map(tasks).map(yet_to_come);
    let lying = account.flowing() + others.sum();
    let lying = most_lying(lying, arrivals(state, op, &flow, tasks(op)), flow.span, drain);
    check_growth(state, op, growth, limit, lying + kept)
}

/// The part of the tasks of `op` that a node has place for.
fn share_of(state: &State, op: OpId, node: NodeId, account: &Account) -> f64 {
    let most = state.parallelism(op);
    let places = match &state.op(op).pool {
        Some(_) => account.presence(op).actors.into(),
        None => account.beside_actors.copies(state.ledger.request(op), most),
    };
    quantity(places.max(state.op(op).live.at(node).len() as u64)) / quantity(most)
}

/// Refuses what grows beyond the room that there will be when `lying` bytes lie in stores that hold
/// `limit`. Not at the end: slots are idle then, and a stall costs less than a late start.
fn check_growth(
    state: &State,
    op: OpId,
    growth: Bytes,
    limit: Bytes,
    lying: Bytes,
) -> Result<(), Reason> {
    if growth + lying <= limit || is_end_near(state, op) {
        return Ok(());
    }
    let room = limit.saturating_sub(lying);
    match admission::no_room(state, growth, room) {
        full @ Reason::OutputFull { .. } => Err(full),
        _ => Err(Reason::MemoryAhead { needs: growth, room }),
    }
}

/// What all stores that take new work hold, except what waits behind a barrier: that does not drain.
fn limit(state: &State) -> Bytes {
    state.ledger.open_room() + state.ledger.reserved() + state.ledger.flowing()
}

/// What so many tasks of `op` put out if their units become what is said of them, and are all like the
/// next one. Zero where nothing is said.
fn declared(state: &State, op: OpId, tasks: u64) -> Bytes {
    state.op(op).listing.bytes_of(1).times(tasks)
}

/// Whether the stores could hold all that so many tasks of `op` put out, as far as something is said
/// of its units.
pub(crate) fn fits_as_declared(state: &State, op: OpId, tasks: u64) -> bool {
    let said = declared(state, op, tasks);
    said > Bytes::ZERO && said <= limit(state)
}

/// A block for each operator below, and what those hold beside it that finish their blocks together
/// instead of one after the other.
fn kept(state: &State, op: OpId) -> Bytes {
    let blocks = |below: OpId| state.op(below).moving() as u64 + 1;
    state.workers_below(op).map(|below| state.block_bytes(below).times(blocks(below))).sum()
}

/// What a forecast leaves free of the stores' `limit` beside what a launch `needs`, since it is as often
/// too low as too high: a block, unless that is much of it. But a task that fits alone has to fit.
fn spare(state: &State, op: OpId, limit: Bytes, needs: Bytes) -> Bytes {
    let block = state.block_bytes(op).min(Bytes(limit.0 / SPARE_SHARE));
    block.min(limit.saturating_sub(needs))
}

/// When to ask again about a launch that was held for a `reason` that passes with time alone. The
/// longer nothing has happened, the less the rate says that room was to be made at.
pub(crate) fn review_at(state: &State, op: OpId, reason: &Reason) -> Option<Time> {
    let Reason::MemoryAhead { needs, room } = reason else { return None };
    let Some(flow) = Flow::through(state, op) else { return next_probe(state, op) };
    let drain = flow.drain / quantity(state.ledger.fitting(op, Share::Total).max(1).into());
    let wait = whole(quantity(needs.saturating_sub(*room).0) / drain);
    let quiet = Span(state.now.since(state.last_fact).0 / REVIEWS_OF_QUIET);
    Some(state.now.after(Span(wait).max(quiet).max(REVIEW_SPAN_MIN)))
}

/// When the next task of `op` may start while nothing is known of its tasks: half of the slots are
/// used at once, and each one more when what runs has lasted as long again, so that long tasks do not
/// leave the slots idle, and do not end together either. The operators below keep a slot each.
fn next_probe(state: &State, op: OpId) -> Option<Time> {
    let operator = state.op(op);
    let tasks_below =
        state.workers_below(op).filter(|below| state.op(*below).pool.is_none()).count();
    let slots = state.parallelism(op).saturating_sub(tasks_below as u64);
    let live = operator.live.len() as u64;
    if operator.estimates.lead.is_known()
        || live >= slots
        || declared(state, op, live) >= limit(state).times(PROBES_STORES)
    {
        return None;
    }
    let since = |(_, id): (u64, TaskId)| state.tasks[&id].stretch.since();
    let (first, last) = (since(operator.live.first()?), since(operator.live.last()?));
    let due = last.after(last.since(first).max(PROBE_SPAN_MIN));
    Some(due.max(state.now))
}

/// The most that will lie in the stores from when on a task of `op` that is launched now puts out its
/// blocks, except those.
fn lying_ahead(state: &State, op: OpId, flow: Option<&Flow>) -> Bytes {
    let others = state.op_ids().filter(|other| *other != op).map(|other| coming(state, other));
    let lying = state.ledger.flowing() + others.sum();
    let Some(flow) = flow else { return lying + coming(state, op) };
    if state.op(op).live.len() > PHASES_MAX {
        // So many tasks end at any time.
        return (lying + coming(state, op)).saturating_sub(Bytes(whole(flow.drain * flow.span)));
    }
    let tasks = state.op(op).live.ids().map(|id| &*state.tasks[&id]);
    most_lying(lying, arrivals(state, op, flow, tasks), flow.span, flow.drain)
}

/// The most that lies there after `span` microseconds, if so many bytes arrive in so many microseconds and
/// `drain` of them go in each.
fn most_lying(lying: Bytes, mut arrivals: Vec<(f64, f64)>, span: f64, drain: f64) -> Bytes {
    arrivals.push((span, 0.0));
    arrivals.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut lying, mut most, mut now) = (quantity(lying.0), 0.0_f64, 0.0);
    for (at, bytes) in arrivals {
        lying = (lying - drain * (at - now)).max(0.0) + bytes;
        now = at;
        if at >= span {
            most = most.max(lying);
        }
    }
    Bytes(whole(most))
}

/// What a task will put out beyond its input.
fn yet_to_come(task: &Task) -> Bytes {
    task.growth.max(task.credit)
}

/// What the live tasks of `op` will put out beyond their input.
fn coming(state: &State, op: OpId) -> Bytes {
    state.op(op).growth.max(state.op(op).credit)
}

/// In how many microseconds each of some live tasks of `op` puts out how many bytes. One that lasts
/// longer than usual may end soon; late ones are left out where slots have nothing to do, so that the
/// worst is that one of those waits for room.
fn arrivals<'a>(
    state: &State,
    op: OpId,
    flow: &Flow,
    live: impl Iterator<Item = &'a Task>,
) -> Vec<(f64, f64)> {
    let wait = |task: &Task| {
        let age = quantity(task.stretch.moving(state.now).0);
        let is_out = task.is_paused() || flow.is_burst && task.lead.is_some();
        match flow.span - age {
            _ if is_out => 0.0,
            left if left < 0.0 => age / LATE_ENDS,
            left => left,
        }
    };
    let is_dry = state.rows_after(op) == Rows::ZERO;
    let counted = live.filter(|task| !(is_dry && is_late(state, flow.span, task)));
    counted.map(|task| (wait(task), quantity(yet_to_come(task).0))).collect()
}

/// Whether the next task of `op` goes before those of the operators below: it is a source, and fewer
/// of its tasks run than it takes to keep the scarcest resource fed.
pub(crate) fn is_urgent(state: &State, op: OpId) -> bool {
    let is_source = state.spec(op).kind.is_source() && state.op(op).retries.is_empty();
    if state.is_bulk() || !is_source {
        return false;
    }
    if is_end_near(state, op) {
        return true;
    }
    if has_much_below(state, op) {
        return false;
    }
    Flow::through(state, op).is_some_and(|flow| {
        let on_time = tasks_on_time(state, op, &flow);
        quantity(on_time as u64) + TASKS_ROUNDED < flow.tasks_wanted
            || (on_time == 0 && runs_dry(state, op, &flow))
    })
}

/// Whether the end is so near that what counts is how early the last units of source `op` start.
pub(crate) fn is_end_near(state: &State, op: OpId) -> bool {
    tail::left_and_way(state, op).is_some_and(|(left, way)| {
        left < way || (left < WAYS_WITH_ROOM * way && rest_fits_with_ease(state, op))
    })
}

/// Whether all that `op` will put out yet, and all else that is on its way, takes a small part of the
/// stores: room is not what decides then.
pub(crate) fn rest_fits_with_ease(state: &State, op: OpId) -> bool {
    let waiting = Portion::Units(state.op(op).listing.waiting());
    let coming: Bytes = state.op_ids().map(|at| coming(state, at)).sum();
    let rest = portion_growth(state, op, waiting) + coming + state.ledger.flowing();
    rest.times(EASE_SHARE) <= limit(state)
}

/// Whether tasks that need the same slots have so much to do that reading ahead only fills memory.
fn has_much_below(state: &State, op: OpId) -> bool {
    let reader = state.worker_after(op).filter(|reader| state.op(*reader).pool.is_none());
    reader.is_some_and(|reader| {
        let estimates = &state.op(reader).estimates;
        let tasks = match (estimates.busy_per_item(), estimates.busy.mean()) {
            (Some(each), Some(task)) => {
                quantity(state.rows_after(op).0) * each / task.max(MIN_SPAN_US)
            }
            _ => quantity(state.queue_after(op).blocks() as u64),
        };
        tasks >= ROUNDS_MUCH * quantity(state.parallelism(reader))
    })
}

/// Whether the operator after `op` would have nothing to do before a task of `op` that is launched
/// now puts out its blocks.
fn runs_dry(state: &State, op: OpId, flow: &Flow) -> bool {
    let Some(reader) = state.worker_after(op) else { return false };
    let Some(each) = state.op(reader).estimates.busy_per_item() else { return false };
    let rounds = 1.0 + flow.span / each.max(MIN_SPAN_US);
    quantity(state.rows_after(op).0) < rounds * quantity(state.parallelism(reader))
}

/// Live tasks of `op`, except those that last far longer than usual: of those nothing can be
/// expected soon.
fn tasks_on_time(state: &State, op: OpId, flow: &Flow) -> usize {
    state.op(op).live.len() - late_tasks(state, op, flow).count()
}

/// Live tasks of `op` that last far longer than usual and have put out nothing yet. None are looked for
/// among very many.
fn late_tasks<'a>(state: &'a State, op: OpId, flow: &Flow) -> impl Iterator<Item = &'a Task> {
    let (live, span) = (&state.op(op).live, flow.span);
    let tasks = live.ids().map(|id| &*state.tasks[&id]);
    let looked_at = if live.len() > PHASES_MAX { 0 } else { live.len() };
    tasks.take(looked_at).filter(move |task| is_late(state, span, task))
}

fn is_late(state: &State, span: f64, task: &Task) -> bool {
    task.lead.is_none() && quantity(task.stretch.age(state.now).0) > SPANS_LATE * span
}

/// Rows that tasks of `op` are expected to put out soon: those of late ones are not among them.
pub(crate) fn rows_soon(state: &State, op: OpId) -> Rows {
    let coming = state.op(op).rows_coming;
    let Some(flow) = Flow::through(state, op) else { return Rows(coming) };
    let late: u64 = late_tasks(state, op, &flow).map(|task| task.rows_coming).sum();
    Rows(coming - late)
}

fn portion_growth(state: &State, op: OpId, portion: Portion) -> Bytes {
    let operator = state.op(op);
    match portion {
        Portion::Units(count) => expected_bytes(state, op, operator.listing.bytes_of(count), count),
        Portion::Blocks(count) => {
            let taken = operator.queue().ready().take(count);
            let (rows, bytes) = taken.fold((0, Bytes::ZERO), |sums, queued| {
                (sums.0 + queued.rows.0, sums.1 + queued.bytes)
            });
            beyond(expected_bytes(state, op, Bytes::ZERO, rows), bytes)
        }
        // What is cut or put side by side is as large as before.
        Portion::Rows(_) => Bytes::ZERO,
    }
}

/// What `items` of `op`, for a source units of so many bytes, are expected to become.
fn expected_bytes(state: &State, op: OpId, unit_bytes: Bytes, items: u64) -> Bytes {
    let operator = state.op(op);
    match operator.estimates.bytes_of(operator.load(items, unit_bytes)) {
        Some(bytes) => Bytes(whole(bytes)),
        None => state.block_bytes(op).max(unit_bytes),
    }
}

/// What all operators will put out beyond their input and beyond what they may put out now.
pub(crate) fn coming_beyond_credit(state: &State) -> Bytes {
    state.ops.iter().map(|operator| operator.growth.saturating_sub(operator.credit)).sum()
}

/// The part of the stores that forecasts leave free at most.
const SPARE_SHARE: u64 = 32;
/// Where room does not decide, the end is near from so many times on what a unit takes to get through.
const WAYS_WITH_ROOM: f64 = 3.0;
/// Memory is not the limit if all that is left fits into one such part of the stores.
const EASE_SHARE: u64 = 4;
/// Work for so many tasks for each slot is much.
const ROUNDS_MUCH: f64 = 2.7;
/// A task that lasts longer than usual is taken to end after this part of what it has lasted.
const LATE_ENDS: f64 = 4.0;
/// Of what a node's slots make room for in a time, the part that a forecast counts on: others read there
/// too, and what it has to read may come late.
const NODES_DRAIN: f64 = 0.8;
/// Tasks of an operator whose ends are looked at one by one.
const PHASES_MAX: usize = 64;
/// A task puts out its blocks in one burst while this many times as long as that goes on has not
/// passed since its launch.
const LEADS_OF_BURST: u64 = 10;
/// Unknown tasks are taken to run for at least this long.
const PROBE_SPAN_MIN: Span = Span(1_000_000);
/// Probes together may put out this many times what the stores hold, since the first ones drain.
const PROBES_STORES: u64 = 2;
/// A held launch is not looked at again sooner than this, unless something happens.
const REVIEW_SPAN_MIN: Span = Span(1_000);
/// Nor sooner than this part of the time in which nothing happened.
const REVIEWS_OF_QUIET: u64 = 8;
/// What makes a wanted number of tasks a whole one.
const TASKS_ROUNDED: f64 = 0.5;
/// From which multiple of the usual span on a task is late.
const SPANS_LATE: f64 = 2.0;
