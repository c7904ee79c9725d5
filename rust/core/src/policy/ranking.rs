//! Whose turn it is.

use crate::state::State;
use crate::units::OpId;

/// Downstream first: work nearest to the output frees memory, work at the source takes it.
pub(crate) fn order(state: &State) -> impl Iterator<Item = OpId> + use<> {
    state.op_ids().rev()
}
