//! Plans that are no chains: limits, and further sources that come together with the first.
//!
//! Owns where these are put into a chain. What they do is drawn like everything else.

use millstream_core::{Bytes, OpId, OpKind, OpSpec, Resources, Rows, Slots, Unit};

use crate::random::{Random, scaled};
use crate::rows::RowRatio;
use crate::workload::OpModel;

/// An operator with what its scenario says of it.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) spec: OpSpec,
    pub(super) model: OpModel,
    /// The rows of its units, if it is a source.
    pub(super) unit_rows: Vec<u64>,
}

/// Puts limits and joins into a chain of stages.
pub(super) fn widen(random: &mut Random, chain: Vec<Stage>, preserve_order: bool) -> Vec<Stage> {
    let mut graph = Graph {
        read: chain[0].clone(),
        preserve_order,
        stages: Vec::new(),
        rows: 0,
        is_cut: false,
        differs: false,
    };
    for stage in chain {
        graph.add(stage);
        while graph.stages.len() < STAGES_MAX && random.chance(300) {
            match random.between(0, 2) {
                0 if !graph.differs => graph.add_limit(random),
                1 => graph.add_union(random),
                _ => graph.add_zip(random),
            }
        }
    }
    graph.stages
}

struct Graph {
    /// What further sources are like.
    read: Stage,
    preserve_order: bool,
    stages: Vec<Stage>,
    /// The rows that the last stage puts out.
    rows: u64,
    /// Whether nobody knows which rows are left, so that only their number can be told.
    is_cut: bool,
    /// Whether rows are put side by side that are not equally many.
    differs: bool,
}

impl Graph {
    /// Adds a stage that reads the last one, or a source.
    fn add(&mut self, mut stage: Stage) {
        if self.is_cut {
            stage.model.ratio = RowRatio::ONE;
        }
        let is_source = matches!(stage.spec.kind, OpKind::Source { .. });
        let ratio = stage.model.ratio;
        self.rows = match stage.spec.kind {
            OpKind::Source { .. } => stage.unit_rows.iter().sum(),
            _ => scaled(self.rows, ratio.out, ratio.per),
        };
        stage.spec.inputs = if is_source { Vec::new() } else { vec![self.last()] };
        self.stages.push(stage);
    }

    fn add_limit(&mut self, random: &mut Random) {
        let rows = random.between(0, self.rows + self.rows / 4);
        self.rows = self.rows.min(rows);
        self.is_cut |= !self.preserve_order;
        let last = self.last();
        self.join(OpKind::Limit { rows: Rows(rows) }, vec![last], Slots::ZERO);
    }

    fn add_union(&mut self, random: &mut Random) {
        let (last, rows) = (self.last(), self.rows);
        let units = random.between(0, 5);
        let unit_rows = (0..units).map(|_| random.between(0, 10)).collect();
        let mut inputs = vec![last, self.add_source(random, unit_rows)];
        self.rows += rows;
        if random.chance(300) {
            inputs.reverse();
        }
        self.join(OpKind::Union, inputs, Slots::ZERO);
    }

    fn add_zip(&mut self, random: &mut Random) {
        let (last, rows) = (self.last(), self.rows);
        let mut left = rows;
        let mut unit_rows = Vec::new();
        while left > 0 {
            let unit = random.between(1, 10).min(left);
            unit_rows.push(unit);
            left -= unit;
        }
        if random.chance(50) {
            unit_rows.push(random.between(1, 10));
            self.differs = true;
        }
        let mut inputs = vec![last, self.add_source(random, unit_rows)];
        self.rows = self.rows.min(rows);
        if random.chance(300) {
            inputs.reverse();
        }
        let cpu = Slots(random.pick(&[0, 5_000, 10_000]));
        self.join(OpKind::Zip, inputs, cpu);
    }

    fn add_source(&mut self, random: &mut Random, unit_rows: Vec<u64>) -> OpId {
        let mut stage = self.read.clone();
        stage.spec.name = format!("Read{}", self.stages.len());
        let unit = Unit { bytes: Bytes(random.between(0, 1_000)) };
        stage.spec.kind = OpKind::Source { units: vec![unit; unit_rows.len()], is_open: false };
        stage.unit_rows = unit_rows;
        self.add(stage);
        self.last()
    }

    fn join(&mut self, kind: OpKind, inputs: Vec<OpId>, cpu: Slots) {
        let mut stage = self.read.clone();
        stage.spec.name = format!("Join{}", self.stages.len());
        stage.spec.inputs = inputs;
        stage.spec.kind = kind;
        stage.spec.resources = Resources::cpu(cpu);
        stage.spec.concurrency_max = 0;
        stage.model.ratio = RowRatio::ONE;
        stage.unit_rows = Vec::new();
        self.stages.push(stage);
    }

    fn last(&self) -> OpId {
        OpId(u32::try_from(self.stages.len() - 1).expect("because a plan has few stages"))
    }
}

/// Worlds with more operators take longer and show no more.
const STAGES_MAX: usize = 9;
