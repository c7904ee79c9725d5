//! Stateless tasks over bundles of blocks: what an operator is unless it says else.

use crate::operators::Meaning;

pub(crate) struct Tasks;

impl Meaning for Tasks {
    fn takes_any_blocks(&self) -> bool {
        true
    }

    fn fills_blocks(&self) -> bool {
        true
    }
}
