//! Whether an operator may launch its next task, and whether a paused one may go on.
//!
//! The argument for progress: credit leaves room for one block of the oldest work of every operator
//! below, and of the oldest work of its own operator. So whatever is in the pipeline, the operator
//! nearest to the output that has work can put out one block, which the operator after it can take
//! in turn, until the consumer has it and memory is free again. Slots are kept likewise while tasks
//! may have to be paused. Where those blocks do not fit at all (rows larger than expected, a store
//! that is too small), the scheduler lets the most downstream work pass when nothing else moves,
//! and counts an overshoot.

use alloc::vec::Vec;

use crate::estimate::{MIN_SPAN_US, quantity, whole};
use crate::ledger::{Account, Share};
use crate::operator::Task;
use crate::operators::limit;
use crate::policy::granularity::{self, Portion};
use crate::policy::lookahead;
use crate::policy::placement::{self, Need, Pass, Site};
use crate::policy::scaling;
use crate::protocol::{Reason, Verdict};
use crate::state::State;
use crate::units::{BlockId, Bytes, NodeId, OpId, Rows, TaskId};

/// What would be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// The work of this number, once more.
    Retry(u64),
    /// New work.
    New(Portion),
}

/// A launch that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) candidate: Candidate,
    pub(crate) site: Site,
}

/// Whether `op` may launch its next task.
pub(crate) fn verdict(state: &State, op: OpId) -> Verdict {
    launch(state, op, Pass::Nothing).map_or_else(Verdict::Hold, |_| Verdict::Admit)
}

/// The next launch of `op`, or why there is none. `pass` is what the most necessary one may pass.
pub(crate) fn launch(state: &State, op: OpId, pass: Pass) -> Result<Launch, Reason> {
    launch_at(state, op, pass, placement::site)
}

/// Whether `op` would launch a task if it had the slots.
pub(crate) fn lacks_only_slots(state: &State, op: OpId, pass: Pass) -> bool {
    launch_at(state, op, pass, placement::site_with_slots).is_ok()
}

/// The nodes at which `op` would launch a task if it had the slots there.
pub(crate) fn nodes_that_lack_slots(state: &State, op: OpId, pass: Pass) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    let _ = launch_at(state, op, pass, |state, need| {
        nodes = placement::nodes_with_room(state, need);
        placement::site_with_slots(state, need)
    });
    nodes
}

fn launch_at(
    state: &State,
    op: OpId,
    pass: Pass,
    site: impl FnOnce(&State, &Need<'_>) -> Result<Site, Reason>,
) -> Result<Launch, Reason> {
    let (operator, forced) = (state.op(op), pass > Pass::Nothing);
    if state.is_stopping || state.has_failed {
        return Err(Reason::Stopping);
    }
    if operator.is_done {
        return Err(limit::reason_for_the_end(state, op));
    }
    if state.is_bulk() && !operator.input_ended() {
        return Err(Reason::UpstreamRunning);
    }
    if let Some((number, task)) = operator.retries.first_key_value() {
        let candidate = Candidate::Retry(*number);
        check_concurrency(state, op)?;
        let credit_at = Some((task.node, task.credit));
        let input: Vec<BlockId> = task.work.blocks().collect();
        let block = task.block_next(state.block_bytes(op));
        let need = Need {
            op,
            number: *number,
            input: &input,
            block,
            growth: Bytes::ZERO,
            credit_at,
            pass,
        };
        let site = site(state, &need)?;
        return Ok(Launch { candidate, site });
    }
    if operator.is_ended_early {
        return Err(limit::reason_for_the_end(state, op));
    }
    let portion = granularity::portion(state, op, forced)?;
    check_concurrency(state, op)?;
    let mut growth = Bytes::ZERO;
    if !forced {
        check_downstream(state, op)?;
        limit::check(state, op)?;
        growth = lookahead::check_room(state, op, portion)?;
    }
    let input: Vec<BlockId> = match portion {
        Portion::Units(_) => Vec::new(),
        Portion::Blocks(count) => operator.queue().ready().take(count).map(|q| q.block).collect(),
        Portion::Rows(count) => operator.queues.iter().flat_map(|q| q.holders(count)).collect(),
    };
    let (number, block) = (operator.work_next, state.block_bytes(op));
    let need = Need { op, number, input: &input, block, growth, credit_at: None, pass };
    let site = site(state, &need)?;
    Ok(Launch { candidate: Candidate::New(portion), site })
}

/// The task of `op` that gets credit next, and how much; none while all must wait.
pub(crate) fn resumption(state: &State, op: OpId) -> Option<(TaskId, Bytes)> {
    let operator = state.op(op);
    let paused = operator.paused.values().take(CANDIDATES_MAX).find_map(|id| {
        let task = &state.tasks[id];
        let credit = task.ready?.saturating_sub(task.credit);
        has_room(state, task, |room| state.is_bulk() || credit <= room).then_some((*id, credit))
    });
    paused.or_else(|| credit_ahead(state, op))
}

/// The task of `op` that gets credit before it waits for it, and how much. None is looked at where no
/// store could hold what is coming.
fn credit_ahead(state: &State, op: OpId) -> Option<(TaskId, Bytes)> {
    let coming = lookahead::coming_beyond_credit(state);
    let has_plenty = |credit, room| state.is_bulk() || credit + coming <= room;
    let hungry = &state.op(op).hungry;
    if hungry.is_empty() || !has_plenty(Bytes::ZERO, state.ledger.store_max()) {
        return None;
    }
    hungry.values().take(CANDIDATES_MAX).find_map(|id| {
        let task = &state.tasks[id];
        let credit = state.credit_ahead(task).saturating_sub(task.credit);
        let gets_credit =
            credit > Bytes::ZERO && has_room(state, task, |room| has_plenty(credit, room));
        gets_credit.then_some((*id, credit))
    })
}

/// The oldest task of `op`, if it waits for credit, and what it lacks: the last resort.
pub(crate) fn forced_resumption(state: &State, op: OpId) -> Option<(TaskId, Bytes)> {
    let operator = state.op(op);
    let (number, id) = operator.paused.first_key_value()?;
    let is_first = operator.retries.first_key_value().is_none_or(|(retry, _)| number < retry);
    is_first.then(|| (*id, lacking_for_next(state, *id)))
}

/// What a task lacks for the block with which it waits.
pub(crate) fn lacking_for_next(state: &State, id: TaskId) -> Bytes {
    let task = &state.tasks[&id];
    task.ready.unwrap_or_default().saturating_sub(task.credit)
}

/// Whether the room at a task's node that it may take is enough, and the task is not being cancelled.
/// What is kept for others is asked last, since it costs most.
fn has_room(state: &State, task: &Task, is_enough: impl Fn(Bytes) -> bool) -> bool {
    let Some(account) = state.ledger.account(task.node).filter(|_| !task.is_cancelled) else {
        return false;
    };
    let room = account.room();
    is_enough(room)
        && is_enough(room.saturating_sub(kept_for_others(
            state,
            task.op,
            task.number,
            task.node,
            account,
        )))
}

/// The room at a node that work `number` of `op` must leave alone: one block for the oldest work there
/// of each operator below, and one for that of its own operator. Where order is kept, all wait for what
/// is oldest of all nodes, so its room is left at each of them.
///
/// On several nodes, also a block of input for each operator below that reads there what lies elsewhere.
/// Where inputs come together, one for each operator of the other inputs too that it may have to wait
/// for; but not for the oldest work of the input that all others wait for.
pub(crate) fn kept_for_others(
    state: &State,
    op: OpId,
    number: u64,
    node: NodeId,
    account: &Account,
) -> Bytes {
    let first = state.op(op).live.first().filter(|_| state.plan.takes_in_order(op));
    let first = first.map(|(number, id)| (number, &*state.tasks[&id]));
    let ahead = [oldest(state, op, node), first].into_iter().flatten();
    let ahead = ahead.filter(|(oldest, _)| *oldest < number);
    let is_oldest = ahead.clone().next().is_none();
    let is_awaited = is_oldest && state.rivals(op).all(|op| state.op(op).is_done);
    let below: Bytes = state
        .awake_below(op)
        .chain(state.neighbours(op).filter(|_| !is_awaited))
        .filter(|reader| !state.op(*reader).is_done)
        .filter(|reader| state.meaning(*reader).may_run_tasks(state.spec(*reader)))
        .filter(|reader| account.total.fits(state.ledger.request(*reader)))
        .map(|reader| {
            let own = oldest(state, reader, node)
                .map_or(state.block_bytes(reader), |(_, task)| lacks(state, task));
            own + kept_for_copy(state, reader, account)
        })
        .sum();
    let room_of = |(_, task): (u64, &Task)| {
        let rest = lookahead::burst(state, task, account.room()).saturating_sub(task.credit);
        lacks(state, task).max(rest)
    };
    let older = ahead.map(room_of).max().unwrap_or_default();
    below + older + kept_for_remakes(state, op, number, account)
}

/// The room for a copy of one block that the actors of `op` read, unless it is much of the store.
fn kept_for_copy(state: &State, op: OpId, account: &Account) -> Bytes {
    if state.op(op).pool.is_none() || state.ledger.is_one_node() {
        return Bytes::ZERO;
    }
    let inputs = state.spec(op).inputs.iter();
    let block = inputs.map(|input| state.block_bytes(*input)).max().unwrap_or(Bytes::ZERO);
    if block.times(COPIES_IN_STORE) > account.store { Bytes::ZERO } else { block }
}

/// One block for each operator, except those below, that has lost rows to make again.
fn kept_for_remakes(state: &State, op: OpId, number: u64, account: &Account) -> Bytes {
    if state.ops.iter().all(|operator| operator.gaps == 0) {
        return Bytes::ZERO;
    }
    let operator = state.op(op);
    let is_filling = |task: &Task| !task.gaps.is_empty();
    if operator.retries.get(&number).is_some_and(|task| is_filling(task))
        || operator.live.get(number).is_some_and(|id| is_filling(&state.tasks[&id]))
    {
        return Bytes::ZERO;
    }
    state
        .op_ids()
        .filter(|other| state.op(*other).awaits_remake() && !state.below(op).any(|b| b == *other))
        .filter(|other| account.total.fits(state.ledger.request(*other)))
        .map(|other| state.block_bytes(other))
        .sum()
}

/// What a task lacks for its next block.
fn lacks(state: &State, task: &Task) -> Bytes {
    task.block_next(state.block_bytes(task.op)).saturating_sub(task.credit)
}

/// The oldest work of `op` at a node, or that may go there: it waits for its next attempt.
///
/// Only the node's own oldest work has room kept on it: without that, nothing at a node goes on once all of
/// its room is taken.
fn oldest(state: &State, op: OpId, node: NodeId) -> Option<(u64, &Task)> {
    let operator = state.op(op);
    let live = operator.live.at(node).next().map(|(number, id)| (number, &*state.tasks[&id]));
    let retry = operator.retries.first_key_value().map(|(number, task)| (*number, &**task));
    [live, retry].into_iter().flatten().min_by_key(|(number, _)| *number)
}

/// The operator for which slots at `node` are kept from `op`, if it is so.
///
/// A task that may be paused holds its slot meanwhile. If such tasks took all slots, the operators
/// below, which alone can make room, could not run. Where one had to be preempted for them, they go first
/// as soon as they have work. Nor do tasks take what a pool needs for its
/// smallest size, piece by piece, for it would never find all of it free.
pub(crate) fn slot_kept_for(state: &State, op: OpId, node: NodeId) -> Option<OpId> {
    let request = state.ledger.request(op);
    let is_starved = |pool: &OpId| {
        scaling::is_short(state, *pool) && state.ledger.request(*pool).overlaps(request)
    };
    if let Some(pool) = state.op_ids().find(is_starved) {
        return Some(pool);
    }
    let operator = state.op(op);
    let never_waits = !operator.estimates.may_pause() || output_fits(state, op);
    if state.is_bulk() || (never_waits && operator.counters.tasks_preempted == 0) {
        return None;
    }
    state.awake_below(op).chain(state.rivals(op)).find(|reader| {
        let wanted = state.ledger.request(*reader);
        let waits = state.op(*reader).pool.is_none()
            && !state.op(*reader).is_done
            && state.op(*reader).moving() == 0
            && (!never_waits || state.op(*reader).has_ready_work())
            && wanted.overlaps(request);
        waits
            && state.ledger.fits_beside(*reader, Share::Total, op, node)
            && !state.ledger.fits_beside(*reader, Share::Free, op, node)
    })
}

/// Whether all that the live tasks of `op` and one more will put out has room, so that none of
/// them will have to be paused.
fn output_fits(state: &State, op: OpId) -> bool {
    let operator = state.op(op);
    let tasks = operator.live.len() as u64 + 1;
    if !operator.estimates.lead.is_known() {
        return lookahead::fits_as_declared(state, op, tasks);
    }
    let blocks = operator.estimates.blocks_per_task.mean().filter(|_| operator.paused.is_empty());
    blocks.is_some_and(|blocks| {
        quantity(tasks) * blocks * quantity(state.block_bytes(op).0)
            <= quantity(state.ledger.open_room().0)
    })
}

fn check_concurrency(state: &State, op: OpId) -> Result<(), Reason> {
    match state.concurrency_limit(op) {
        Some(limit) if state.op(op).pool.is_none() && state.op(op).live.len() >= limit as usize => {
            Err(Reason::ConcurrencyReached { limit })
        }
        _ => Ok(()),
    }
}

/// Holds an operator whose reader has enough: what waits there and what is being made keeps it busy
/// until a task launched later is through (Little's law: work in progress = rate × latency).
fn check_downstream(state: &State, op: OpId) -> Result<(), Reason> {
    let Some(reader) = state.worker_after(op).filter(|_| !state.is_bulk()) else {
        return Ok(());
    };
    let (waiting, wanted) = (state.rows_after(op), rows_wanted(state, op, reader));
    if waiting + Rows(state.op(op).rows_coming) < wanted || lookahead::is_end_near(state, op) {
        return Ok(());
    }
    let rows = waiting + lookahead::rows_soon(state, op);
    if rows < wanted {
        return Ok(());
    }
    // Its end frees a slot, and nothing but that is scarce.
    if scaling::awaits_the_end_of(state, op) && lookahead::rest_fits_with_ease(state, op) {
        return Ok(());
    }
    // Before anything is measured rows say nothing, since a task may make any number of them.
    let making = state.op(op).live.len() + state.queue_after(op).blocks();
    if wanted == Rows::ZERO && (making as u64) < PROBES_PER_SLOT * state.parallelism(reader) {
        return Ok(());
    }
    Err(Reason::DownstreamFed { rows, wanted })
}

fn rows_wanted(state: &State, op: OpId, reader: OpId) -> Rows {
    let below = &state.op(reader).estimates;
    let (Some(span_each), Some(latency)) =
        (below.busy_per_item(), state.op(op).estimates.busy.mean())
    else {
        return Rows::ZERO;
    };
    let slots = quantity(state.parallelism(reader));
    let high = quantity(state.op(op).estimates.busy.high().unwrap_or(0));
    let ahead = (LATENCIES_AHEAD * latency).max(high) + SPAN_AHEAD_US;
    let flowing = slots * ahead / span_each.max(MIN_SPAN_US);
    let batch = quantity(state.spec(reader).bundle_rows_min.0).max(rows_of_call(state, op, reader));
    let batches = slots * BATCHES_AHEAD * batch;
    Rows(whole(flowing + batches) + 1)
}

/// Rows that a task of `reader` should have for the sake of its call, if it is that which takes long: no
/// more than a block's worth of what `op` puts out.
fn rows_of_call(state: &State, op: OpId, reader: OpId) -> f64 {
    let above = &state.op(op).estimates;
    let (bytes, rows) = (above.bytes_per_item(), above.rows_per_item());
    let (Some(rows_long), Some(bytes), Some(rows)) =
        (granularity::rows_of_call(state, reader), bytes, rows)
    else {
        return 0.0;
    };
    let block = quantity(state.plan.config().block_bytes_target.0);
    rows_long.min(block * rows / bytes.max(1.0))
}

/// What to call a lack of room.
pub(crate) fn no_room(state: &State, needs: Bytes, free: Bytes) -> Reason {
    let waiting = state.output.bytes() + state.emitted_bytes;
    if waiting.times(2) > state.ledger.used() {
        return Reason::OutputFull { bytes: waiting };
    }
    Reason::MemoryReserved { needs, free }
}

/// Twice the latency, or the longest that is usual, covers its spread; the constant covers what the
/// driver and Ray add.
const LATENCIES_AHEAD: f64 = 2.0;
const SPAN_AHEAD_US: f64 = 500_000.0;
/// The batch that an actor works on, the one queued behind it, and one more.
const BATCHES_AHEAD: f64 = 3.0;
/// Room for copies is kept where the store holds this many of them.
const COPIES_IN_STORE: u64 = 8;
/// Tasks that are compared before credit goes to the first for which there is room.
const CANDIDATES_MAX: usize = 16;
/// Tasks and blocks ahead of each slot of a reader that has not finished a task yet.
const PROBES_PER_SLOT: u64 = 4;
