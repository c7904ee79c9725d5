//! How plans end in some worlds: in a sink, and with the units in epochs.
//!
//! Owns nothing but what is drawn for that, from a stream of its own.

use millstream_core::{Config, OpKind, OpSpec};

use crate::random::Random;
use crate::workload::OpModel;

/// Makes the last operator a sink, and divides the units into epochs, in some worlds.
pub(super) fn draw(seed: u64, ops: &mut [OpSpec], models: &mut [OpModel], config: &mut Config) {
    let mut random = Random::of(&[seed, ENDING]);
    let meets = |op: &OpSpec| matches!(op.kind, OpKind::Zip | OpKind::Gather);
    if random.chance(EPOCHS) && !ops.iter().any(meets) {
        config.epoch_units = random.pick(&[1, 2, 3, 10, 30]);
    }
    let (Some(last), Some(model)) = (ops.last_mut(), models.last_mut()) else { return };
    if last.kind == OpKind::Tasks && random.chance(SINKS) {
        last.kind = OpKind::Sink;
        "Write".clone_into(&mut last.name);
        model.row_bytes = random.between(1, REPORT_BYTES_MAX);
    }
}

/// Keeps these draws apart from all others.
const ENDING: u64 = 12;
/// Worlds in a thousand whose units are in epochs, but for those with a zip or an exchange.
const EPOCHS: u64 = 300;
/// Worlds in a thousand that end in a sink, of those that end in stateless tasks.
const SINKS: u64 = 400;
/// Of each row in a report.
const REPORT_BYTES_MAX: u64 = 100;
