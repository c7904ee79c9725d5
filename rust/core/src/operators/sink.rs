//! Tasks that write, and put out little or nothing.

use crate::operators::Meaning;
use crate::plan::{OpSpec, PlanError};

pub(crate) struct Sink;

impl Meaning for Sink {
    fn check(&self, op: &OpSpec, is_last: bool) -> Result<(), PlanError> {
        if is_last { Ok(()) } else { Err(PlanError::SinkNotLast { name: op.name.clone() }) }
    }
}
