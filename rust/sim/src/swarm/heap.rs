//! The heap of nodes in some worlds, and what workers use of it.
//!
//! Owns nothing but what is drawn for that, from a stream of its own. After a storm all that is left
//! must finish, which it would not where workers do not fit; such worlds have no heap.

use millstream_core::{Bytes, OpKind, OpSpec, Resources};

use crate::random::{Random, scaled};
use crate::variation::Variation;
use crate::workload::OpModel;

/// Gives nodes a heap in some worlds, and lets the workers of some operators declare what they need,
/// or what they do not.
pub(super) fn draw<'a>(
    seed: u64,
    ops: &mut [OpSpec],
    models: &mut [OpModel],
    nodes: impl Iterator<Item = &'a mut Resources>,
) {
    let mut random = Random::of(&[seed, HEAP]);
    if !random.chance(HEAPS) {
        return;
    }
    let variation = random.pick(&[
        Variation::NONE,
        Variation::spread(300),
        Variation { tail: 50, tail_factor: 4_000, ..Variation::NONE },
    ]);
    let has_declared = random.chance(300);
    let mut needed = 0;
    for (op, model) in ops.iter_mut().zip(models) {
        model.heap = random.between(1 << 20, 1 << 30);
        model.heap_variation = variation;
        if has_declared && random.chance(500) {
            op.resources.heap = Bytes(scaled(model.heap, random.between(300, 1_500), 1_000));
        }
        let count = match op.kind {
            OpKind::Actors(pool) => u64::from(pool.actors_min),
            _ => 1,
        };
        needed += count * variation.most(model.heap).max(op.resources.heap.0);
    }
    let share = random.pick(&[300, 1_000, 1_000, 1_500, 3_000, 10_000]);
    for (position, node) in nodes.enumerate() {
        let spread = if position == 0 { 0 } else { 500 };
        node.heap = Bytes(random.around(scaled(needed, share, 1_000), spread));
    }
}

/// Keeps these draws apart from all others.
const HEAP: u64 = 13;
/// Worlds in a thousand whose nodes say what heap they have.
const HEAPS: u64 = 300;
