//! What the reduce side of an exchange works on next.

use crate::policy::granularity::Portion;
use crate::protocol::Reason;
use crate::state::State;
use crate::units::OpId;

/// All blocks of the next partition, once no more of any come.
pub(crate) fn portion(state: &State, op: OpId) -> Result<Portion, Reason> {
    if state.is_closed_barrier(op) {
        return Err(barrier(state, op));
    }
    let mut ready = state.op(op).queue().ready();
    let Some(first) = ready.next() else { return Err(Reason::InputEmpty) };
    let is_same = |partition: u32| partition == first.at.partition;
    Ok(Portion::Blocks(1 + ready.take_while(|queued| is_same(queued.at.partition)).count()))
}

/// What waits for the end of the map side.
fn barrier(state: &State, op: OpId) -> Reason {
    let made_by = state.spec(op).inputs.iter();
    let aside = made_by.map(|input| state.ledger.lane(*input).aside).sum();
    Reason::Barrier { bytes: state.op(op).queue().bytes(), aside }
}
