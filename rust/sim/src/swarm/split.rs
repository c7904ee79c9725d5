//! Several consumers in some worlds, of different speed, some of which go.
//!
//! Owns nothing but what is drawn for that, from a stream of its own.

use millstream_core::{OpId, OpKind, OpSpec, OutputRows, Resources, Rows};

use crate::faults::Faults;
use crate::random::Random;
use crate::rows::RowRatio;
use crate::workload::OpModel;

/// Lets several consumers share the output of some worlds, but for those that end in a sink.
pub(super) fn draw(
    seed: u64,
    (ops, models, unit_rows): (&mut Vec<OpSpec>, &mut Vec<OpModel>, &mut Vec<Vec<u64>>),
    faults: &mut Faults,
) {
    let mut random = Random::of(&[seed, SPLIT]);
    let (Some(last), Some(model)) = (ops.last(), models.last()) else { return };
    if last.kind == OpKind::Sink || !random.chance(SPLITS) {
        return;
    }
    let consumers = u32::try_from(random.between(1, 4)).unwrap_or(1);
    let equal = random.chance(500);
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
        kind: OpKind::Split { consumers, equal, left_out: left_out(seed) },
        resources: Resources::default(),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    models.push(OpModel { ratio: RowRatio::ONE, ..model.clone() });
    unit_rows.push(Vec::new());
    ops.push(spec);
}

/// Rows that an earlier run of the same plan has given, in some worlds.
fn left_out(seed: u64) -> Vec<OutputRows> {
    let mut random = Random::of(&[seed, LEFT_OUT]);
    let mut rows = Vec::new();
    let mut end = 0;
    while random.chance(LEAVING_OUT) {
        let first = end + random.between(u64::from(end > 0), 200);
        end = first + random.between(1, 1_000);
        rows.push(OutputRows { first, end });
    }
    rows
}

/// Keeps these draws apart from all others.
const SPLIT: u64 = 16;
const LEFT_OUT: u64 = 29;
/// Worlds in a thousand with several consumers.
const SPLITS: u64 = 150;
/// How often in a thousand rows, or more rows, are left out.
const LEAVING_OUT: u64 = 600;
/// Consumers in a thousand that go.
const GOING: u64 = 150;
