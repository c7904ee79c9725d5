//! The published scheduling workloads, exactly: 8 CPU and 4 GPU slots on one node, items in order,
//! blocks of 100 MB.
//!
//! Owns their numbers. A source computes all its blocks and then emits them one by one as room
//! allows; while there is none it keeps its slot. Each GPU slot has one loaded actor. The last
//! operator's output is not counted.

use millstream_core::{
    Bytes, Config, NodeId, OpId, OpKind, OpSpec, Plan, PoolSpec, Resources, Rows, Slots, Span,
    Time, Unit,
};
use serde::Serialize;

use crate::baselines::{self, Baselines};
use crate::checker::Violation;
use crate::faults::Faults;
use crate::rows::Content;
use crate::simulation::{self, Ending, Report};
use crate::trace::NodeSpec;
use crate::variation::Variation;
use crate::workload::{Consumer, Delays, Emission, Network, OpModel, Overheads, Pace, Scenario};

/// How the scheduler did on a workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The workload.
    pub name: &'static str,
    /// The memory limit.
    pub memory_bytes: u64,
    /// When the last block was out.
    pub makespan_s: f64,
    /// An integer program's lower bound for it.
    pub bound_s: f64,
    /// The makespan of the best online policy that we know of, where there is one.
    pub best_known_s: Option<f64>,
    /// Makespan over bound.
    pub ratio: f64,
    /// The most that was in the store beyond the limit.
    pub peak_over_limit_bytes: u64,
    /// What had to be written to disk.
    pub spilled_bytes: u64,
    /// Time in which CPU slots had no task, all slots together.
    pub idle_cpu_s: f64,
    /// Time in which GPU slots had no task, all slots together.
    pub idle_gpu_s: f64,
    /// Time in which tasks held a slot and waited for room, all slots together.
    pub stalled_s: f64,
    /// What its row asks for beside the ratio.
    pub goals: Vec<Goal>,
}

/// Something that is to be reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Goal {
    /// What is measured, and its unit.
    pub what: &'static str,
    /// How much it is.
    pub measured: f64,
    /// How much it should be.
    pub wanted: f64,
    /// Whether `wanted` is the most that it should be, else it is the least.
    pub is_most: bool,
    /// Whether it is reached.
    pub is_reached: bool,
}

impl Goal {
    pub(crate) fn at_most(what: &'static str, measured: f64, wanted: f64) -> Self {
        Self { what, measured, wanted, is_most: true, is_reached: measured <= wanted }
    }

    pub(crate) fn at_least(what: &'static str, measured: f64, wanted: f64) -> Self {
        Self { what, measured, wanted, is_most: false, is_reached: measured >= wanted }
    }
}

/// One row of the table: a pipeline, a memory limit, and what is possible.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// The memory limit.
    pub memory: Bytes,
    /// How much durations and sizes vary.
    pub jitter: Jitter,
    bound: Span,
    best_known: Span,
    stages: &'static [Stage],
}

/// By how much durations and sizes of blocks differ from the table's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Jitter {
    /// What they follow from.
    pub seed: u64,
    /// At most this much up or down, in thousandths.
    pub spread: u64,
}

impl Workload {
    /// The same with another memory limit.
    #[must_use]
    pub const fn with_memory(self, memory: Bytes) -> Self {
        Self { memory, ..self }
    }

    /// The same with durations and sizes that vary.
    #[must_use]
    pub const fn with_jitter(self, jitter: Jitter) -> Self {
        Self { jitter, ..self }
    }

    /// Runs it under the oracles.
    ///
    /// # Errors
    /// The oracle that is violated, or why the plan is refused.
    pub fn run(&self) -> Result<Outcome, Violation> {
        Ok(self.outcome(&self.report()?))
    }

    /// Runs it under the oracles.
    ///
    /// # Errors
    /// The oracle that is violated, or why the plan is refused.
    pub fn report(&self) -> Result<Report, Violation> {
        report(&self.scenario())
    }

    /// What a report says of it.
    #[must_use]
    pub fn outcome(&self, report: &Report) -> Outcome {
        let store = &report.nodes[0];
        let (makespan_s, bound_s) = (seconds(report.makespan), seconds(self.bound));
        let of = |slot: Slot, count: u64| {
            let ops = report.ops.iter().zip(self.stages);
            let ops = ops.filter(|(_, stage)| stage.slot == slot);
            let held: Span = ops.map(|(op, _)| op.working + op.stalled).sum();
            seconds(report.makespan.times(count).saturating_sub(held))
        };
        Outcome {
            name: self.name,
            memory_bytes: store.store_bytes,
            makespan_s,
            bound_s,
            best_known_s: Some(seconds(self.best_known)),
            ratio: makespan_s / bound_s,
            peak_over_limit_bytes: store.peak_bytes.saturating_sub(store.store_bytes),
            spilled_bytes: store.spilled_bytes,
            idle_cpu_s: of(Slot::Cpu, CPU_SLOTS),
            idle_gpu_s: of(Slot::Gpu, GPU_SLOTS),
            stalled_s: seconds(report.ops.iter().map(|op| op.stalled).sum()),
            goals: Vec::new(),
        }
    }

    /// How long other policies take, without jitter.
    #[must_use]
    pub fn baselines(&self) -> Baselines {
        let slots = [CPU_SLOTS, GPU_SLOTS].map(small);
        let stages: Vec<baselines::Stage> = self.stages.iter().map(Stage::plain).collect();
        baselines::run(&stages, slots, small(self.memory.0 / BLOCK_BYTES))
    }

    /// An integer program's lower bound for its makespan.
    #[must_use]
    pub const fn bound(&self) -> Span {
        self.bound
    }

    /// Its world.
    ///
    /// # Panics
    /// Never: the table has well-formed plans only.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        let ops = (0u32..).zip(self.stages).map(|(position, stage)| stage.spec(position));
        let last = self.stages.len() - 1;
        let models = self.stages.iter().enumerate();
        let models = models.map(|(position, stage)| OpModel {
            pace_variation: Variation::spread(self.jitter.spread),
            bytes_variation: Variation::spread(self.jitter.spread),
            ..stage.model(position == last)
        });
        let source = &self.stages[0];
        // The table's stages take blocks as they come.
        let config = Config {
            block_bytes_target: Bytes(BLOCK_BYTES),
            preserve_order: false,
            strict_memory: true,
            ..Config::default()
        };
        let resources = Resources {
            cpu: Slots::whole(CPU_SLOTS),
            gpu: Slots::whole(GPU_SLOTS),
            ..Resources::default()
        };
        Scenario {
            seed: self.jitter.seed,
            plan: Plan::new(ops.collect(), config).expect("because the table's plans are chains"),
            nodes: vec![NodeSpec { node: NodeId(0), resources, store: self.memory }],
            unit_rows: std::iter::once(vec![source.blocks; small(source.items)])
                .chain(self.stages.iter().skip(1).map(|_| Vec::new()))
                .collect(),
            models: models.collect(),
            consumer: Consumer { block: Span::ZERO, blocks_max: None, rest: None },
            delays: Delays::default(),
            network: Network::default(),
            overheads: Overheads::default(),
            listing: None,
            faults: Faults::default(),
        }
    }
}

/// Runs a scenario under the oracles; one that is refused violates one, too.
pub(crate) fn report(scenario: &Scenario) -> Result<Report, Violation> {
    let report = simulation::run(scenario, None)?;
    match report.ending {
        Ending::Refused(what) => Err(Violation { invariant: "submit", at: Time::default(), what }),
        _ => Ok(report),
    }
}

/// All rows of the table.
#[must_use]
pub fn workloads() -> Vec<Workload> {
    let row = |name, stages, memory: &[u64], bound: u64, best: &[u64]| {
        let best = best.to_vec();
        let rows = memory.iter().zip(best).map(move |(blocks, best_known)| Workload {
            name,
            memory: Bytes(blocks * BLOCK_BYTES),
            jitter: Jitter::default(),
            bound: Span(bound * TENTH),
            best_known: Span(best_known * TENTH),
            stages,
        });
        rows.collect::<Vec<Workload>>()
    };
    [
        row("fig9", FIG9, &[40, 60, 80, 120, 160], 1515, &[1540, 1525, 1525, 1525, 1525]),
        row("appendix_a", APPENDIX_A, &[16, 400], 1500, &[1500, 1500]),
        row("three_stage", THREE_STAGE, &[25, 30], 1055, &[1055, 1055]),
        row("three_cpu_stage", THREE_CPU_STAGE, &[30], 1530, &[1540]),
        row("four_stage", FOUR_STAGE, &[30], 1530, &[1555]),
        row("cpu_gpu_cpu", CPU_GPU_CPU, &[30], 1055, &[1060]),
        row("variable_duration", VARIABLE, &[30], 1045, &[1055]),
        row("variable_duration_extreme", VARIABLE_EXTREME, &[30], 4525, &[4895]),
        row("variable_3stage", VARIABLE_3STAGE, &[30], 1900, &[1950]),
        row("spiky", SPIKY, &[30], 1050, &[1085]),
    ]
    .concat()
}

/// Tasks of one kind.
#[derive(Clone, Copy, Debug)]
struct Stage {
    slot: Slot,
    items: u64,
    pace: Pace,
    /// Blocks that a task puts out.
    blocks: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Cpu,
    Gpu,
}

impl Stage {
    fn spec(&self, position: u32) -> OpSpec {
        let pool = PoolSpec { actors_min: 4, actors_max: 4, tasks_in_flight_max: 2 };
        let kind = match (position, self.slot) {
            (0, _) => {
                let unit = Unit { bytes: Bytes(self.blocks * BLOCK_BYTES) };
                OpKind::Source { units: vec![unit; small(self.items)], is_open: false }
            }
            (_, Slot::Cpu) => OpKind::Tasks,
            (_, Slot::Gpu) => OpKind::Actors(pool),
        };
        let resources = match self.slot {
            Slot::Cpu => Resources::cpu(Slots::whole(1)),
            Slot::Gpu => Resources::gpu(Slots::whole(1)),
        };
        OpSpec {
            name: format!("Stage{position}"),
            inputs: position.checked_sub(1).map(OpId).into_iter().collect(),
            kind,
            resources,
            concurrency_max: 0,
            bundle_rows_min: Rows::ZERO,
        }
    }

    /// The same for the model of the baselines.
    fn plain(&self) -> baselines::Stage {
        let model = self.model(false);
        let spans = (0..self.items).map(|item| model.span(0, 0, &Content::of(item, item + 1)));
        baselines::Stage {
            is_gpu: self.slot == Slot::Gpu,
            spans: spans.collect(),
            blocks: small(self.blocks),
        }
    }

    fn model(&self, is_last: bool) -> OpModel {
        OpModel {
            pace: self.pace,
            row_bytes: if is_last { 0 } else { BLOCK_BYTES },
            emission: Emission::AtEnd,
            ..OpModel::even(Span::ZERO, Span::ZERO)
        }
    }
}

const fn cpu(items: u64, pace: Pace, blocks: u64) -> Stage {
    Stage { slot: Slot::Cpu, items, pace, blocks }
}

const fn gpu(items: u64, pace: Pace) -> Stage {
    Stage { slot: Slot::Gpu, items, pace, blocks: 1 }
}

/// The same for each item, in tenths of a second.
const fn each(tenths: u64) -> Pace {
    Pace::Even { task: Span::ZERO, item: Span(tenths * TENTH) }
}

/// The first half of `items`, then the second.
const fn halves(items: u64, first: u64, second: u64) -> Pace {
    let (first, second) = (Span(first * TENTH), Span(second * TENTH));
    Pace::Halves { first, second, items: items / 2 }
}

/// Half a second, and each tenth item 5 s.
const fn spikes() -> Pace {
    Pace::Spiky { usual: Span(5 * TENTH), spike: Span(50 * TENTH), every: 10 }
}

fn small(count: u64) -> usize {
    usize::try_from(count).expect("because the table has small numbers")
}

#[expect(clippy::cast_precision_loss, reason = "a run takes far less than 2^52 us")]
pub(crate) fn seconds(span: Span) -> f64 {
    span.0 as f64 / 1e6
}

const FIG9: &[Stage] = &[cpu(160, each(50), 5), cpu(800, each(5), 1), gpu(800, each(5))];
const APPENDIX_A: &[Stage] = &[cpu(400, each(10), 1), cpu(400, each(20), 1)];
const THREE_STAGE: &[Stage] = &[cpu(80, each(50), 10), cpu(800, each(5), 1), gpu(800, each(5))];
const THREE_CPU_STAGE: &[Stage] =
    &[cpu(80, each(50), 10), cpu(800, each(5), 1), cpu(800, each(5), 1)];
const FOUR_STAGE: &[Stage] =
    &[cpu(80, each(50), 10), cpu(800, each(5), 1), gpu(800, each(5)), cpu(800, each(5), 1)];
const CPU_GPU_CPU: &[Stage] = &[cpu(80, each(50), 10), gpu(800, each(5)), cpu(800, each(5), 1)];
const VARIABLE: &[Stage] = &[cpu(80, halves(80, 50, 5), 10), cpu(800, halves(800, 5, 10), 1)];
const VARIABLE_EXTREME: &[Stage] =
    &[cpu(80, halves(80, 400, 50), 10), cpu(800, halves(800, 5, 40), 1)];
const VARIABLE_3STAGE: &[Stage] =
    &[cpu(16, halves(16, 200, 50), 10), gpu(160, each(0)), cpu(160, halves(160, 50, 100), 1)];
const SPIKY: &[Stage] = &[cpu(80, spikes(), 10), cpu(800, spikes(), 1)];

const TENTH: u64 = 100_000;
const CPU_SLOTS: u64 = 8;
const GPU_SLOTS: u64 = 4;
pub(crate) const BLOCK_BYTES: u64 = 100_000_000;
