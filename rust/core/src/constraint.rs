//! What keeps a whole run from being faster at a moment.
//!
//! Owns the way from what holds the operators to the one cause: an operator that lacks input is held
//! by what holds the operators above it, so the search goes up from the output until it meets one
//! that could go on were it not for something else. Adds nothing up.

use crate::attribution::{Activity, Attribution, Kind, Slotting};
use crate::operator::Operator;
use crate::policy::scaling;
use crate::pool::Pool;
use crate::protocol::Reason;
use crate::resources::Resources;
use crate::state::State;
use crate::units::{Bytes, OpId, Slots, Time};

/// What keeps the whole run from being faster at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Constraint {
    /// The CPUs are taken.
    Cpu,
    /// The GPUs are taken.
    Gpu,
    /// Slots would do, but they are the share of other runs.
    OtherRuns,
    /// The operator runs as many tasks or actors as it may.
    Limit,
    /// All that the operator has to do is under way.
    LastWork,
    /// The same, and one piece takes many times longer than the others did.
    Straggler,
    /// The operator's actors are loading.
    Loading,
    /// More units of a source are being listed.
    Listing,
    /// The store has no room.
    Store,
    /// No node has the heap free that one more task or actor needs.
    Heap,
    /// The store is full of blocks that wait for the consumer, or only such blocks are left.
    Consumer,
}

/// What a reason means for the time of those that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hold {
    /// The reason without its numbers.
    pub(crate) name: &'static str,
    /// What workers that it leaves without work wait for.
    pub(crate) wait: Activity,
    cause: Cause,
}

/// Where the cause of a hold is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// At the operators above.
    Above,
    /// At the operator above, with the next block in order.
    Order,
    Slots,
    OtherRuns,
    Kept,
    Actors,
    Limit,
    Loading,
    Listing,
    Store,
    Heap,
    Consumer,
    /// Tasks that are under way are enough.
    UnderWay,
    /// Nowhere: it is done, or the run ends.
    Nowhere,
}

impl Hold {
    pub(crate) fn of(reason: &Reason) -> Self {
        use Activity::{Idle, InputWait, MemoryHeld, OutputBlocked};
        let (wait, cause) = match reason {
            Reason::Done | Reason::LimitReached { .. } | Reason::Stopping => (Idle, Cause::Nowhere),
            Reason::InputEmpty
            | Reason::Bundling { .. }
            | Reason::ConsumersUneven { .. }
            | Reason::UpstreamRunning
            | Reason::Barrier { .. } => (InputWait, Cause::Above),
            Reason::Listing { .. } => (InputWait, Cause::Listing),
            Reason::Order { .. } => (InputWait, Cause::Order),
            Reason::NoFreeSlot { .. } | Reason::NodesQuarantined { .. } => (Idle, Cause::Slots),
            Reason::ShareHeld { .. } => (Idle, Cause::OtherRuns),
            Reason::ConcurrencyReached { .. } => (Idle, Cause::Limit),
            Reason::SlotReserved { .. } => (InputWait, Cause::Kept),
            Reason::HeapReserved { .. } => (MemoryHeld, Cause::Heap),
            Reason::MemoryReserved { .. } | Reason::MemoryAhead { .. } => {
                (MemoryHeld, Cause::Store)
            }
            Reason::OutputFull { .. } => (OutputBlocked, Cause::Consumer),
            Reason::DownstreamFed { .. }
            | Reason::EarlierInput { .. }
            | Reason::LimitCovered { .. } => (Idle, Cause::UnderWay),
            Reason::ActorsBusy { .. } => (Idle, Cause::Actors),
            Reason::ActorStarting { .. } => (Idle, Cause::Loading),
        };
        Self { name: reason.into(), wait, cause }
    }
}

/// A constraint, the operator that meets it, and how many of the workers or slots in question are
/// paused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    pub(crate) constraint: Constraint,
    pub(crate) op: OpId,
    /// Paused ones, and all that are taken.
    pub(crate) paused_of: (u64, u64),
}

/// What keeps the run from being faster; none where nothing is left to do.
pub(crate) fn binding(
    state: &State,
    attribution: &Attribution,
    slotting: &Slotting,
) -> Option<Binding> {
    let mut is_next_missing = false;
    for op in state.op_ids().rev().filter(|op| !state.op(*op).is_done) {
        let cause = attribution.hold_of(op).cause;
        if is_next_missing && has_straggler(state, attribution, op, slotting.now) {
            return Some(alone(Constraint::Straggler, op));
        }
        is_next_missing = cause == Cause::Order;
        match cause {
            Cause::Above | Cause::Order if !state.op(op).input_ended() => {}
            Cause::Nowhere => {}
            _ => return Some(binding_at(state, attribution, (op, cause), slotting)),
        }
    }
    let last = state.op_ids().next_back().filter(|_| state.emitted_blocks > 0)?;
    Some(alone(Constraint::Consumer, last))
}

fn alone(constraint: Constraint, op: OpId) -> Binding {
    Binding { constraint, op, paused_of: (0, 0) }
}

fn binding_at(
    state: &State,
    attribution: &Attribution,
    (op, cause): (OpId, Cause),
    slotting: &Slotting,
) -> Binding {
    let operator = state.op(op);
    let request = &state.spec(op).resources;
    let by_slots = |constraint: Option<Constraint>| {
        let constraint = constraint.unwrap_or(Constraint::Limit);
        let paused_of = match constraint {
            Constraint::Gpu => (slotting.gpu.paused.0, slotting.gpu.taken.0),
            Constraint::Cpu => (slotting.cpu.paused.0, slotting.cpu.taken.0),
            _ => paused_workers(operator),
        };
        Binding { constraint, op, paused_of }
    };
    match cause {
        Cause::Slots => by_slots(scarce(request, slotting)),
        Cause::Actors => {
            by_slots(Some(scarce(request, slotting).unwrap_or_else(|| holds_pool(state, op))))
        }
        Cause::Kept => by_slots(Some(slot_kind(request))),
        Cause::Limit => by_slots(None),
        Cause::OtherRuns => alone(Constraint::OtherRuns, op),
        Cause::Loading => alone(Constraint::Loading, op),
        Cause::Listing => alone(Constraint::Listing, op),
        Cause::Store => alone(store_or_consumer(state), op),
        Cause::Heap => alone(Constraint::Heap, op),
        Cause::Consumer => alone(Constraint::Consumer, op),
        Cause::Above | Cause::Order | Cause::UnderWay | Cause::Nowhere => {
            let constraint = last_work(state, attribution, op, slotting);
            Binding { constraint, op, paused_of: paused_workers(operator) }
        }
    }
}

/// The kind of slots of which too few are free for one more of `request`.
fn scarce(request: &Resources, slotting: &Slotting) -> Option<Constraint> {
    let lacks = |kind: &Kind, wanted: Slots| wanted > kind.free;
    if lacks(&slotting.gpu, request.gpu) {
        return Some(Constraint::Gpu);
    }
    lacks(&slotting.cpu, request.cpu).then_some(Constraint::Cpu)
}

/// What keeps a pool from growing while there are slots for it: that it may not, that these are kept for
/// others, or that another actor would have too little to do.
fn holds_pool(state: &State, op: OpId) -> Constraint {
    let may_grow = |pool: &Pool| pool.alive() < pool.spec.actors_max;
    if !state.op(op).pool.as_ref().is_some_and(may_grow) {
        Constraint::Limit
    } else if scaling::is_kept_small(state, op) {
        slot_kind(&state.spec(op).resources)
    } else {
        Constraint::LastWork
    }
}

fn slot_kind(request: &Resources) -> Constraint {
    if request.gpu > Slots::ZERO { Constraint::Gpu } else { Constraint::Cpu }
}

fn paused_workers(operator: &Operator) -> (u64, u64) {
    let paused = operator.paused.len() as u64;
    (paused, paused + operator.moving() as u64)
}

/// What to call a lack of room.
pub(crate) fn store_or_consumer(state: &State) -> Constraint {
    let waiting = state.output.bytes() + state.emitted_bytes;
    let used: Bytes = state.op_ids().map(|op| state.ledger.lane(op).used).sum();
    if waiting.times(2) > used { Constraint::Consumer } else { Constraint::Store }
}

/// What it is called when all that an operator has to do is under way.
fn last_work(
    state: &State,
    attribution: &Attribution,
    op: OpId,
    slotting: &Slotting,
) -> Constraint {
    let operator = state.op(op);
    if operator.pool.as_ref().is_some_and(|pool| pool.starting() > 0) && operator.moving() == 0 {
        return Constraint::Loading;
    }
    let request = &state.spec(op).resources;
    let kind = if request.gpu > Slots::ZERO { &slotting.gpu } else { &slotting.cpu };
    let is_mostly_free = kind.free >= kind.taken;
    if is_mostly_free && has_straggler(state, attribution, op, slotting.now) {
        return Constraint::Straggler;
    }
    Constraint::LastWork
}

/// Whether the oldest task of `op` has taken many times longer for each item than others did.
fn has_straggler(state: &State, attribution: &Attribution, op: OpId, now: Time) -> bool {
    let operator = state.op(op);
    let Some(task) = operator.live.first().and_then(|(_, id)| state.tasks.get(&id)) else {
        return false;
    };
    let counters = &operator.counters;
    let wide = u128::from;
    let items_done = wide(counters.units_done) + wide(counters.rows_in);
    let usual = wide(attribution.taken_by_finished(op).0) * wide(task.items.max(1));
    items_done > 0 && wide(task.stretch.moving(now).0) * items_done > usual * STRAGGLER_TIMES
}

/// Work that takes this many times as long as the mean is a straggler, not ordinary variance.
const STRAGGLER_TIMES: u128 = 3;
