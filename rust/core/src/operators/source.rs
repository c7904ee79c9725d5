//! What a source means: how many of its units are known ahead of its tasks, and what more of them change.
//!
//! The list is under back-pressure like everything else: no more of it is asked for than keeps the
//! slots busy until an answer is there, so that it costs the same memory however long it is.

pub(crate) mod listing;

use crate::estimate::{MIN_SPAN_US, quantity, whole};
use crate::operators::{Inputs, Meaning, limit};
use crate::plan::{Port, Unit};
use crate::policy::granularity::{self, Portion};
use crate::protocol::Reason;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::OpId;

pub(crate) struct Source;

impl Meaning for Source {
    fn changes_rows(&self) -> bool {
        false
    }

    fn inputs(&self) -> Inputs {
        Inputs::None
    }

    fn portion(&self, state: &State, op: OpId, anything: bool) -> Result<Portion, Reason> {
        if let Some(first) = earlier_source(state, op) {
            return Err(Reason::EarlierInput { first });
        }
        let operator = state.op(op);
        let listing = &operator.listing;
        let (waiting, awaited) = (listing.waiting(), listing.awaited());
        match granularity::units(state, op) {
            0 if listing.is_open() => {
                limit::check(state, op)?;
                Err(Reason::Listing { waiting, awaited })
            }
            0 => Err(Reason::InputEmpty),
            // What is coming would fill it, and until then others of its kind are at work.
            count if !anything && count == waiting && awaited > 0 && !operator.live.is_empty() => {
                Err(Reason::Listing { waiting, awaited })
            }
            count => Ok(Portion::Units(count)),
        }
    }

    fn fills_blocks(&self) -> bool {
        true
    }
}

/// How many units to ask for now; none while enough are there or under way, or none are wanted.
pub(crate) fn units_to_ask(state: &State, op: OpId) -> u64 {
    let operator = state.op(op);
    let listing = &operator.listing;
    if !listing.is_open() || listing.awaited() > 0 || operator.is_ended_early {
        return 0;
    }
    let wanted = units_ahead(state, op).min(limit::items_wanted(state, op));
    if listing.waiting() < wanted { 2 * wanted - listing.waiting() } else { 0 }
}

/// Units that all slots begin until an answer is there that is asked for now: a task for each, and
/// those that follow meanwhile (Little's law), twice, since answers take longer at times.
fn units_ahead(state: &State, op: OpId) -> u64 {
    let estimates = &state.op(op).estimates;
    let rounds = match (estimates.listing.mean(), estimates.busy.mean()) {
        (Some(latency), Some(busy)) => 1.0 + 2.0 * latency / busy.max(MIN_SPAN_US),
        _ => 1.0,
    };
    let tasks = quantity(state.parallelism(op)) * rounds;
    let each = quantity(granularity::full_task(state, op).max(1));
    whole(tasks * each).clamp(UNITS_AHEAD_MIN, UNITS_AHEAD_MAX)
}

/// A source with units left whose rows all come before those of `op`.
fn earlier_source(state: &State, op: OpId) -> Option<OpId> {
    let reads_in_turn = |port: &Port| state.meaning(port.op).reads_in_turn();
    let in_turn = state.plan.path(op).filter(reads_in_turn);
    let mut earlier = in_turn
        .filter(|port| state.plan.takes_in_order(port.op))
        .flat_map(|port| (0..port.input).flat_map(move |input| state.plan.branch(port.op, input)));
    earlier.find(|source| {
        let source = state.op(*source);
        !source.is_done && !source.is_ended_early && !source.listing.is_through()
    })
}

impl Scheduler {
    /// More units of a source. Those that were there before, or that nobody wants any more, change
    /// nothing.
    pub(crate) fn source_extended(&mut self, op: OpId, first: u64, units: &[Unit]) {
        if units.is_empty() || !self.is_listing(op, Some(first)) {
            self.state.stale_events += 1;
            return;
        }
        self.state.op_mut(op).listing.extend(units);
        self.note_answer(op);
    }

    pub(crate) fn source_exhausted(&mut self, op: OpId) {
        if !self.is_listing(op, None) {
            self.state.stale_events += 1;
            return;
        }
        self.state.op_mut(op).listing.close();
        self.note_answer(op);
    }

    /// Whether `op` is a source of which more units may come, of which the next has this number.
    fn is_listing(&self, op: OpId, next: Option<u64>) -> bool {
        let listing = self.state.ops.get(op.0 as usize).map(|operator| &operator.listing);
        listing.is_some_and(|listing| {
            let is_next = next.is_none_or(|next| next == listing.listed());
            listing.is_open() && is_next && !self.state.is_stopping
        })
    }

    fn note_answer(&mut self, op: OpId) {
        let now = self.state.now;
        let operator = self.state.op_mut(op);
        if let Some(asked) = operator.listing.take_answered() {
            operator.estimates.listing.add(now.since(asked).0);
        }
    }
}

/// A page of a listing: less is not worth asking for.
const UNITS_AHEAD_MIN: u64 = 1_000;
/// Eight bytes each, twice as many for a moment.
const UNITS_AHEAD_MAX: u64 = 1 << 17;
