//! The blocks of several inputs, one input after the other or as they come.

use crate::operators::{Inputs, Meaning};
use crate::plan::{OpSpec, Port};
use crate::policy::granularity::Portion;
use crate::protocol::Reason;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::OpId;

pub(crate) struct Union;

impl Meaning for Union {
    fn passes_blocks(&self) -> bool {
        true
    }

    fn changes_rows(&self) -> bool {
        false
    }

    fn reads_in_turn(&self) -> bool {
        true
    }

    fn inputs(&self) -> Inputs {
        Inputs::Several
    }

    /// It runs no tasks.
    fn portion(&self, _: &State, _: OpId, _anything: bool) -> Result<Portion, Reason> {
        Err(Reason::InputEmpty)
    }

    fn advance(&self, scheduler: &mut Scheduler, op: OpId) {
        let in_order = scheduler.state.plan.takes_in_order(op);
        for input in 0..scheduler.state.op(op).queues.len() {
            while let Some(queued) = scheduler.state.op_mut(op).queues[input].pop() {
                scheduler.pass_on(op, queued);
            }
            let queue = &scheduler.state.op(op).queues[input];
            if in_order && !(queue.is_closed() && queue.blocks() == 0) {
                return;
            }
        }
    }

    fn may_run_tasks(&self, _: &OpSpec) -> bool {
        false
    }

    fn goes_before(&self, state: &State, port: Port, other: usize) -> bool {
        other < port.input && state.plan.takes_in_order(port.op)
    }
}
