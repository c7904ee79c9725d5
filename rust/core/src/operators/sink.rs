//! Tasks that write, and put out little or nothing.

use crate::operators::Meaning;
use crate::plan::{OpSpec, PlanError};
use crate::units::Bytes;

pub(crate) struct Sink;

impl Meaning for Sink {
    fn check(&self, op: &OpSpec, is_last: bool) -> Result<(), PlanError> {
        if is_last { Ok(()) } else { Err(PlanError::SinkNotLast { name: op.name.clone() }) }
    }

    fn takes_any_blocks(&self) -> bool {
        true
    }

    fn block_bytes_assumed(&self, usual: Bytes) -> Bytes {
        usual.min(REPORT_BYTES)
    }
}

/// What tasks report of what they wrote is hardly more.
const REPORT_BYTES: Bytes = Bytes(64 << 10);
