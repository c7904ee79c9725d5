//! Every tiny world: up to three operators, two nodes and four units, with each attempt killed in
//! turn.
//!
//! Owns the enumeration. What chance finds in large worlds can often be understood in these.

use millstream_core::{
    Bytes, Config, NodeId, OpId, OpKind, OpSpec, Plan, PoolSpec, Resources, Rows, Slots, Span, Unit,
};

use crate::faults::Faults;
use crate::trace::NodeSpec;
use crate::workload::{Consumer, Delays, Network, OpModel, Overheads, Scenario};

/// All tiny worlds, each with a name.
///
/// # Panics
/// Never: they have well-formed plans.
pub fn worlds() -> impl Iterator<Item = (String, Scenario)> {
    let chains = [
        vec![],
        vec![Kind::Tasks],
        vec![Kind::Actors],
        vec![Kind::Tasks, Kind::Tasks],
        vec![Kind::Tasks, Kind::Actors],
        vec![Kind::Actors, Kind::Tasks],
        vec![Kind::Actors, Kind::Actors],
        vec![Kind::Sink],
        vec![Kind::Actors, Kind::Sink],
        vec![Kind::Scatter, Kind::Gather],
        vec![Kind::Scatter, Kind::Gather, Kind::Tasks],
    ];
    let mut worlds = Vec::new();
    for chain in &chains {
        for nodes in 1..=2 {
            for units in 0..=4 {
                for windows in STORES {
                    for in_order in [true, false] {
                        for killed in KILLS {
                            let tiny = Tiny { chain, nodes, units, windows, in_order, killed };
                            worlds.push((tiny.name(), tiny.scenario()));
                        }
                    }
                }
            }
        }
    }
    worlds.into_iter()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tasks,
    Actors,
    /// Units are in epochs where there is one.
    Sink,
    Scatter,
    Gather,
}

struct Tiny<'a> {
    chain: &'a [Kind],
    nodes: u32,
    units: usize,
    /// The store of a node, in windows of two blocks.
    windows: u64,
    in_order: bool,
    /// The attempt that dies.
    killed: Option<u64>,
}

impl Tiny<'_> {
    fn name(&self) -> String {
        let Self { chain, nodes, units, windows, in_order, killed } = self;
        format!(
            "source -> {chain:?} on {nodes} nodes, {units} units, {windows} windows of store, \
             in order {in_order}, attempt killed {killed:?}"
        )
    }

    fn scenario(&self) -> Scenario {
        let config = Config {
            preserve_order: self.in_order,
            block_bytes_target: Bytes(BLOCK_BYTES),
            task_span_target: Span::ZERO,
            epoch_units: if self.chain.contains(&Kind::Sink) { EPOCH_UNITS } else { 0 },
            ..Config::default()
        };
        let source = OpKind::Source { units: vec![Unit::default(); self.units], is_open: false };
        let maps = self.chain.iter().map(|kind| match kind {
            Kind::Tasks => OpKind::Tasks,
            Kind::Sink => OpKind::Sink,
            Kind::Scatter => OpKind::Scatter { partitions: PARTITIONS },
            Kind::Gather => OpKind::Gather,
            Kind::Actors => {
                OpKind::Actors(PoolSpec { actors_min: 1, actors_max: 2, tasks_in_flight_max: 2 })
            }
        });
        let ops: Vec<OpSpec> = (0u32..)
            .zip(std::iter::once(source).chain(maps))
            .map(|(at, kind)| op(at, kind))
            .collect();
        let models = ops.iter().map(|_| model()).collect();
        let cpu = Resources::cpu(Slots::whole(ops.len() as u64));
        let node = |number| NodeSpec {
            node: NodeId(number),
            resources: cpu.clone(),
            store: Bytes(2 * BLOCK_BYTES * self.windows),
        };
        Scenario {
            seed: 0,
            plan: Plan::new(ops, config).expect("because a chain is well formed"),
            nodes: (0..self.nodes).map(node).collect(),
            unit_rows: std::iter::once(vec![ROWS; self.units])
                .chain(self.chain.iter().map(|_| Vec::new()))
                .collect(),
            models,
            consumer: Consumer { block: Span(500), blocks_max: None, rest: None },
            delays: Delays { order: Span(10), event_max: Span(30), turn: Span::ZERO },
            network: Network::default(),
            overheads: Overheads::default(),
            listing: None,
            faults: Faults { attempt_killed: self.killed, idle_turn: 100, ..Faults::default() },
        }
    }
}

fn op(position: u32, kind: OpKind) -> OpSpec {
    OpSpec {
        name: format!("Op{position}"),
        inputs: position.checked_sub(1).map(OpId).into_iter().collect(),
        kind,
        resources: Resources::cpu(Slots::whole(1)),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    }
}

/// Three rows a unit in blocks of two: a full block and one that is not.
fn model() -> OpModel {
    OpModel {
        block_rows: 2,
        row_bytes: BLOCK_BYTES / 2,
        emits_empty: true,
        load: Span(1_000),
        ..OpModel::even(Span(100), Span(200))
    }
}

const BLOCK_BYTES: u64 = 1_000;
const ROWS: u64 = 3;
const PARTITIONS: u32 = 2;
/// Four units are two epochs, three are one and a half.
const EPOCH_UNITS: u64 = 2;
/// Too small for every operator to have its window, just enough for three, and plenty.
const STORES: [u64; 3] = [1, 3, 50];
const KILLS: [Option<u64>; 6] = [None, Some(0), Some(1), Some(2), Some(3), Some(5)];
