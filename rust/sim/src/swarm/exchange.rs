//! Exchanges in some worlds.
//!
//! Owns where they are put into a plan and what is drawn for them, from a stream of its own.

use millstream_core::{OpId, OpKind, OpSpec, Resources, Rows, Slots};

use crate::random::Random;
use crate::rows::RowRatio;
use crate::workload::{Emission, OpModel};

/// Puts one or two exchanges into a plan, in some worlds.
pub(super) fn draw(
    seed: u64,
    ops: &mut Vec<OpSpec>,
    models: &mut Vec<OpModel>,
    unit_rows: &mut Vec<Vec<u64>>,
) {
    let mut random = Random::of(&[seed, EXCHANGE]);
    if !random.chance(EXCHANGES) {
        return;
    }
    for _ in 0..random.pick(&[1, 1, 1, 2]) {
        let last = ops.len() as u64 - 1;
        let at = usize::try_from(random.between(0, last)).unwrap_or(0);
        if matches!(ops[at].kind, OpKind::Scatter { .. }) {
            // Nothing comes between the sides of another one.
            continue;
        }
        insert(&mut random, ops, at);
        let model = OpModel { ratio: RowRatio::ONE, ..models[at].clone() };
        models.insert(at + 1, OpModel { emission: Emission::AtEnd, ..model.clone() });
        models.insert(at + 2, model);
        unit_rows.splice(at + 1..=at, [Vec::new(), Vec::new()]);
    }
}

/// Lets what reads the operator at a position read an exchange of what that puts out.
fn insert(random: &mut Random, ops: &mut Vec<OpSpec>, at: usize) {
    let id = |position: usize| OpId(u32::try_from(position).unwrap_or(u32::MAX));
    for input in ops.iter_mut().flat_map(|op| &mut op.inputs) {
        if input.0 as usize >= at {
            input.0 += 2;
        }
    }
    let partitions = random.pick(&[1, 2, 3, 5, 8]);
    for (side, kind) in [(1, OpKind::Scatter { partitions }), (2, OpKind::Gather)] {
        let spec = OpSpec {
            name: format!("{}{}", if side == 1 { "Deal" } else { "Gather" }, ops.len()),
            inputs: vec![id(at + side - 1)],
            kind,
            resources: Resources::cpu(Slots(random.pick(&[0, 5_000, 10_000]))),
            concurrency_max: random.pick(&[0, 0, 0, 1, 2]),
            bundle_rows_min: Rows(if side == 1 { random.pick(&[0, 0, 10]) } else { 0 }),
        };
        ops.insert(at + side, spec);
    }
}

/// Keeps these draws apart from all others.
const EXCHANGE: u64 = 15;
/// Worlds in a thousand that have any.
const EXCHANGES: u64 = 150;
