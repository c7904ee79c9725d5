//! The blocks of several inputs, one input after the other or as they come.

use crate::operators::{Inputs, Meaning};
use crate::policy::granularity::Portion;
use crate::protocol::Reason;
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
}
