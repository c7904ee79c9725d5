//! Operators that the tests build their plans of.
#![allow(dead_code, clippy::redundant_pub_crate)] // each test takes what it needs

use millstream_core::{OpId, OpKind, OpSpec, PoolSpec, Resources, Rows, Slots, Unit};

/// An operator whose tasks take one CPU each.
pub(crate) fn op(name: &str, kind: OpKind, inputs: Vec<OpId>) -> OpSpec {
    OpSpec {
        name: name.into(),
        inputs,
        kind,
        resources: Resources::cpu(Slots::whole(1)),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    }
}

pub(crate) fn source(units: usize) -> OpSpec {
    op("Read", OpKind::Source { units: vec![Unit::default(); units], is_open: false }, vec![])
}

pub(crate) fn tasks(input: u32) -> OpSpec {
    op("Map", OpKind::Tasks, vec![OpId(input)])
}

/// A pool whose actors take one GPU each.
pub(crate) fn actors(input: u32, pool: PoolSpec) -> OpSpec {
    let kind = OpKind::Actors(pool);
    OpSpec { resources: Resources::gpu(Slots::whole(1)), ..op("Infer", kind, vec![OpId(input)]) }
}
