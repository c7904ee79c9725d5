//! The first rows of its input, and whether a limit further down still wants what an operator would put out.
//!
//! Without this, a source that may run a hundred tasks reads a hundred files for three rows.

use crate::estimate::{quantity, whole};
use crate::operator::Operator;
use crate::operators::{Meaning, OpKind};
use crate::plan::OpSpec;
use crate::policy::granularity::{self, Portion};
use crate::protocol::Reason;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::{OpId, Rows};

pub(crate) struct Limit;

impl Meaning for Limit {
    fn passes_blocks(&self) -> bool {
        true
    }

    fn changes_rows(&self) -> bool {
        false
    }

    /// What a limit wants of a block that has more.
    fn portion(&self, state: &State, op: OpId, _anything: bool) -> Result<Portion, Reason> {
        let operator = state.op(op);
        match operator.queue().ready().next() {
            Some(_) => Ok(Portion::Rows(operator.limit_left)),
            None => Err(granularity::nothing_ready(operator.queue())),
        }
    }

    /// Passes on the blocks that a limit wants whole. The one that it wants a part of is for a task.
    fn advance(&self, scheduler: &mut Scheduler, op: OpId) {
        while scheduler.state.op(op).limit_left > Rows::ZERO {
            let operator = scheduler.state.op_mut(op);
            let left = operator.limit_left;
            let Some(queued) = operator.queue_mut().pop_if(|queued| queued.rows <= left) else {
                return;
            };
            operator.limit_left -= queued.rows;
            scheduler.pass_on(op, queued);
        }
        scheduler.end_above(op);
    }

    fn note_launch(&self, scheduler: &mut Scheduler, op: OpId) {
        scheduler.end_above(op);
    }

    fn cuts_blocks(&self) -> bool {
        true
    }

    fn begin(&self, spec: &OpSpec, operator: &mut Operator) {
        if let OpKind::Limit { rows } = spec.kind {
            operator.limit_left = rows;
        }
    }
}

/// Holds new work when the rows on their way are all that the limit wants. As long as nobody knows
/// how many rows a task makes, there are as many tasks as blocks came without filling the limit, at
/// least one.
pub(crate) fn check(state: &State, op: OpId) -> Result<(), Reason> {
    let Some(limit) = limit_below(state, op) else {
        return Ok(());
    };
    let wanted = state.op(limit).limit_left;
    let rows = match rows_coming(state, op, limit) {
        Some(rows) if rows < wanted => return Ok(()),
        None if making(state, op, limit) < state.op(op).counters.blocks_out.max(1) => return Ok(()),
        rows => rows.unwrap_or(Rows::ZERO),
    };
    Err(Reason::LimitCovered { rows, wanted })
}

/// How many units or rows `op` needs to work on for what the limit still wants; at least one, and
/// any number where there is no limit or nobody knows.
pub(crate) fn items_wanted(state: &State, op: OpId) -> u64 {
    let Some(limit) = limit_below(state, op) else {
        return u64::MAX;
    };
    let workers = state.below(op).take_while(|reader| *reader != limit);
    let workers =
        core::iter::once(op).chain(workers.filter(|reader| state.meaning(*reader).changes_rows()));
    let each = workers.map(|op| state.op(op).estimates.rows_per_item());
    match (each.product::<Option<f64>>(), rows_coming(state, op, limit)) {
        (Some(each), Some(rows)) if each > 0.0 => {
            let missing = state.op(limit).limit_left.saturating_sub(rows);
            let exact = quantity(missing.0) / each;
            whole(exact) + u64::from(exact > quantity(whole(exact)))
        }
        _ => u64::MAX,
    }
}

/// Whether a limit may make what `op` puts out superfluous.
pub(crate) fn may_end(state: &State, op: OpId) -> bool {
    limit_below(state, op).is_some()
}

/// Why an operator that is done launches nothing.
pub(crate) fn reason_for_the_end(state: &State, op: OpId) -> Reason {
    let mut reached = state.below(op).filter(|reader| state.op(*reader).is_ended_early);
    match reached.find_map(|limit| limit_of(state, limit)) {
        Some(rows) if state.op(op).is_ended_early => Reason::LimitReached { rows },
        _ => Reason::Done,
    }
}

/// The limit that counts what `op` puts out. Which rows come first out of an exchange is known when it
/// has them all, so one behind that is none.
fn limit_below(state: &State, op: OpId) -> Option<OpId> {
    let mut below = state.below(op).take_while(|reader| !state.is_barrier(*reader));
    below.find(|reader| limit_of(state, *reader).is_some())
}

fn limit_of(state: &State, op: OpId) -> Option<Rows> {
    match state.spec(op).kind {
        OpKind::Limit { rows } => Some(rows),
        _ => None,
    }
}

/// Rows between `op` and the limit, counted as they will reach it; none if that cannot be told.
fn rows_coming(state: &State, op: OpId, limit: OpId) -> Option<Rows> {
    state.op(op).estimates.rows_per_item()?;
    let mut rows = quantity(state.op(op).rows_coming);
    for port in state.plan.path(op) {
        rows += quantity(state.op(port.op).queues[port.input].rows().0);
        if port.op == limit {
            break;
        }
        if state.meaning(port.op).changes_rows() {
            rows *= state.op(port.op).estimates.rows_per_item()?;
            rows += quantity(state.op(port.op).rows_coming);
        }
    }
    Some(Rows(whole(rows)))
}

/// Tasks and blocks between `op` and the limit, its own tasks included.
fn making(state: &State, op: OpId, limit: OpId) -> u64 {
    let between = state.below(op).take_while(|reader| *reader != limit);
    let at = |op: OpId| state.op(op).live.len() + state.queue_after(op).blocks();
    core::iter::once(op).chain(between).map(|op| at(op) as u64).sum()
}
