//! Several consumers in some worlds, of different speed, some of which go.
//!
//! Owns nothing but what is drawn for that, from a stream of its own.

use millstream_core::{Config, OpId, OpKind, OpSpec, Resources, Rows};

use crate::faults::Faults;
use crate::random::Random;
use crate::rows::RowRatio;
use crate::workload::OpModel;

/// Lets several consumers share the output of some worlds, but for those that end in a sink.
pub(super) fn draw(
    seed: u64,
    config: &Config,
    (ops, models, unit_rows): (&mut Vec<OpSpec>, &mut Vec<OpModel>, &mut Vec<Vec<u64>>),
    faults: &mut Faults,
) {
    let mut random = Random::of(&[seed, SPLIT]);
    let (Some(last), Some(model)) = (ops.last(), models.last()) else { return };
    if last.kind == OpKind::Sink || !random.chance(SPLITS) {
        return;
    }
    let consumers = u32::try_from(random.between(1, 4)).unwrap_or(1);
    let equal = random.chance(500) && config.epoch_units == 0;
    let slow = |_| random.pick(&[0, 1_000, 10_000, 100_000]);
    faults.consumers_slow = (0..consumers).map(slow).collect();
    for consumer in 0..consumers {
        if random.chance(GOING) {
            faults.consumers_gone.push((consumer, random.between(1, 10)));
        }
    }
    let input = OpId(u32::try_from(ops.len() - 1).unwrap_or(u32::MAX));
    let spec = OpSpec {
        name: "Split".to_owned(),
        inputs: vec![input],
        kind: OpKind::Split { consumers, equal },
        resources: Resources::default(),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    models.push(OpModel { ratio: RowRatio::ONE, ..model.clone() });
    unit_rows.push(Vec::new());
    ops.push(spec);
}

/// Keeps these draws apart from all others.
const SPLIT: u64 = 16;
/// Worlds in a thousand with several consumers.
const SPLITS: u64 = 150;
/// Consumers in a thousand that go.
const GOING: u64 = 150;
