//! Rows of several inputs, side by side.

use crate::operators::{Inputs, Meaning};
use crate::plan::Port;
use crate::policy::granularity::{self, Portion};
use crate::protocol::{FailCause, Reason};
use crate::queue::InputQueue;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::{OpId, Rows};

pub(crate) struct Zip;

impl Meaning for Zip {
    fn changes_rows(&self) -> bool {
        false
    }

    fn inputs(&self) -> Inputs {
        Inputs::Several
    }

    fn brings_units_together(&self) -> bool {
        true
    }

    fn puts_side_by_side(&self) -> bool {
        true
    }

    /// Rows that all inputs have, up to where the first of them ends a block or, if that is not worth a
    /// task, a later one.
    fn portion(&self, state: &State, op: OpId, _anything: bool) -> Result<Portion, Reason> {
        let operator = state.op(op);
        let queues = &operator.queues;
        let most = queues.iter().map(InputQueue::ready_rows).min().unwrap_or(Rows::ZERO);
        if most == Rows::ZERO {
            // What is left at the end has no rows, but it has columns.
            let is_end = operator.input_ended() && operator.queued_blocks() > 0;
            let shortest = queues.iter().min_by_key(|queue| queue.ready_rows());
            let wait = shortest.map_or(Reason::InputEmpty, granularity::nothing_ready);
            return if is_end { Ok(Portion::Rows(Rows::ZERO)) } else { Err(wait) };
        }
        let (rows, bytes) =
            (Rows(granularity::rows_long(state, op)), state.plan.config().block_bytes_target);
        let rows = queues.iter().map(|queue| queue.rows_to_block_end(rows, bytes)).min();
        Ok(Portion::Rows(rows.unwrap_or(most).min(most)))
    }

    /// Fails the run if an input has ended and another has had more rows.
    fn advance(&self, scheduler: &mut Scheduler, op: OpId) {
        if scheduler.state.op(op).is_ended_early {
            return;
        }
        let inputs = || (0u32..).zip(&scheduler.state.op(op).queues);
        let closed = inputs().filter(|(_, queue)| queue.is_closed());
        let ended = closed.min_by_key(|(_, queue)| queue.rows_total());
        let longer = inputs().max_by_key(|(_, queue)| queue.rows_total());
        let (Some((ended, short)), Some((longer, long))) = (ended, longer) else { return };
        if short.rows_total() < long.rows_total() {
            let cause = FailCause::RowsDiffer {
                ended,
                rows: short.rows_total(),
                longer,
                rows_longer: long.rows_total(),
                is_open: !long.is_closed(),
            };
            scheduler.fail(op, None, cause);
        }
    }

    fn cuts_blocks(&self) -> bool {
        true
    }

    fn goes_before(&self, state: &State, port: Port, other: usize) -> bool {
        let rows = |input: usize| (state.op(port.op).queues[input].ready_rows(), input);
        rows(other) < rows(port.input)
    }
}
