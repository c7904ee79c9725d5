//! The published workloads on several nodes that have the slots and the memory of the one together.
//!
//! What lies on a node is of use to its own slots first, and its room to nobody else: a policy that looks
//! at the sums alone fills some nodes until nothing there goes on. Owns the layouts, and how the runs
//! are summed up.

use millstream_core::{Bytes, Config, NodeId, Plan, Resources, Slots};
use serde::Serialize;

use crate::published::{self, BLOCK_BYTES, Jitter, Workload, seconds, workloads};
use crate::simulation::Report;
use crate::trace::NodeSpec;
use crate::variants::{self, Failure};
use crate::workload::Scenario;

/// How a workload goes on several nodes, beside one node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The workload.
    pub name: &'static str,
    /// The memory limit of all nodes together, which have equal parts of it.
    pub memory_bytes: u64,
    /// The CPUs and GPUs of each node.
    pub nodes: String,
    /// Whether rows leave in the order of the input.
    pub in_order: bool,
    /// How many seeds, each with durations and sizes that vary by up to 3 %.
    pub seeds: u64,
    /// The mean makespan on one node.
    pub one_node_s: f64,
    /// The mean makespan on these.
    pub makespan_s: f64,
    /// The mean of one over the other.
    pub mean_over_one_node: f64,
    /// The largest of these ratios.
    pub worst_over_one_node: f64,
    /// The most that was in a store beyond its limit, over all seeds.
    pub peak_over_limit_bytes: u64,
    /// What had to be written to disk, by all seeds together.
    pub spilled_bytes: u64,
}

/// Every pipeline with its smallest memory in the table and with 8 GB, on every layout, in order and
/// not, for the seeds from one to `seeds`.
///
/// # Errors
/// The first run that fails.
pub fn spread(seeds: u64) -> Result<Vec<Spread>, Failure> {
    let mut rows = workloads();
    rows.dedup_by_key(|workload| workload.name);
    let mut outcomes = Vec::new();
    for row in rows {
        for workload in [row, row.with_memory(Bytes(AMPLE_BLOCKS * BLOCK_BYTES))] {
            for in_order in [false, true] {
                let one = World { workload, layout: ONE_NODE, in_order };
                let alone = one.runs(seeds)?;
                for layout in LAYOUTS {
                    outcomes.push(spread_one(World { layout, ..one }, seeds, &alone)?);
                }
            }
        }
    }
    Ok(outcomes)
}

/// A workload on some nodes.
#[derive(Clone, Copy)]
struct World {
    workload: Workload,
    layout: Layout,
    in_order: bool,
}

/// Runs it for each seed, beside what it did `alone`, on one node.
#[expect(clippy::cast_precision_loss, reason = "there are few seeds")]
fn spread_one(world: World, seeds: u64, alone: &[Report]) -> Result<Spread, Failure> {
    let reports = world.runs(seeds)?;
    let makespan_s = |report: &Report| seconds(report.makespan);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let several: Vec<f64> = reports.iter().map(makespan_s).collect();
    let one: Vec<f64> = alone.iter().map(makespan_s).collect();
    let ratios: Vec<f64> = several.iter().zip(&one).map(|(several, one)| several / one).collect();
    let nodes = || reports.iter().flat_map(|report| &report.nodes);
    let over = nodes().map(|node| node.peak_bytes.saturating_sub(node.store_bytes));
    let words = world.layout.iter().map(|(cpus, gpus)| format!("{cpus}+{gpus}"));
    Ok(Spread {
        name: world.workload.name,
        memory_bytes: world.workload.memory.0,
        nodes: words.collect::<Vec<String>>().join(" "),
        in_order: world.in_order,
        seeds,
        one_node_s: mean(&one),
        makespan_s: mean(&several),
        mean_over_one_node: mean(&ratios),
        worst_over_one_node: ratios.iter().copied().fold(0.0, f64::max),
        peak_over_limit_bytes: over.max().unwrap_or(0),
        spilled_bytes: nodes().map(|node| node.spilled_bytes).sum(),
    })
}

impl World {
    /// One run for each seed from one to `seeds`.
    fn runs(&self, seeds: u64) -> Result<Vec<Report>, Failure> {
        let varied = |seed| self.workload.with_jitter(Jitter { seed, spread: JITTER });
        (1..=seeds).map(|seed| Self { workload: varied(seed), ..*self }.run()).collect()
    }

    fn run(&self) -> Result<Report, Failure> {
        published::report(&self.scenario()).map_err(|violation| {
            let failure = variants::failure(&self.workload, violation);
            let nodes = self.layout.len();
            Failure { workload: format!("{} on {nodes} nodes", failure.workload), ..failure }
        })
    }

    fn scenario(&self) -> Scenario {
        let store = Bytes(self.workload.memory.0 / self.layout.len() as u64);
        let node = |(number, (cpus, gpus)): (u32, &(u64, u64))| {
            let (cpu, gpu) = (Slots::whole(*cpus), Slots::whole(*gpus));
            let resources = Resources { cpu, gpu, ..Resources::default() };
            NodeSpec { node: NodeId(number), resources, store }
        };
        let scenario = self.workload.scenario();
        let config = Config { preserve_order: self.in_order, ..*scenario.plan.config() };
        let plan = Plan::new(scenario.plan.ops().to_vec(), config);
        Scenario {
            plan: plan.expect("because the table's plans are chains"),
            nodes: (0..).zip(self.layout).map(node).collect(),
            ..scenario
        }
    }
}

/// The CPUs and GPUs of each node.
type Layout = &'static [(u64, u64)];

const ONE_NODE: Layout = &[(8, 4)];
const LAYOUTS: &[Layout] = &[
    &[(4, 2), (4, 2)],
    &[(2, 1), (2, 1), (2, 1), (2, 1)],
    &[(6, 0), (2, 4)],
    &[(3, 0), (3, 0), (1, 2), (1, 2)],
    &[(1, 0), (1, 1), (1, 0), (1, 1), (1, 0), (1, 1), (1, 0), (1, 1)],
];
/// Memory in which each of eight nodes has room for what a task puts out.
const AMPLE_BLOCKS: u64 = 80;
/// Equal durations hide bad phases; by so many thousandths they vary.
const JITTER: u64 = 30;
