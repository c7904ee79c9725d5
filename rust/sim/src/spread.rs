//! The published workloads on several nodes that have the slots and the memory of the one together.
//!
//! What lies on a node is of use to its own slots first, and its room to nobody else: a policy that looks
//! at the sums alone fills some nodes until nothing there goes on. Owns the layouts, and how the runs
//! are summed up.

use millstream_core::{Bytes, Config, NodeId, Plan, Resources, Slots, Time};
use serde::Serialize;

use crate::checker::Violation;
use crate::published::{BLOCK_BYTES, Jitter, Workload, seconds, workloads};
use crate::simulation::{self, Ending, Report};
use crate::trace::NodeSpec;
use crate::variants::Failure;
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
    let rows =
        rows.iter().flat_map(|row| [*row, row.with_memory(Bytes(AMPLE_BLOCKS * BLOCK_BYTES))]);
    let pairs = rows.flat_map(|row| LAYOUTS.iter().map(move |layout| (row, *layout)));
    let worlds = pairs.flat_map(|(workload, layout)| {
        [false, true].map(|in_order| World { workload, layout, in_order })
    });
    worlds.map(|world| spread_one(world, seeds)).collect()
}

/// A workload on some nodes.
#[derive(Clone, Copy)]
struct World {
    workload: Workload,
    layout: Layout,
    in_order: bool,
}

#[expect(clippy::cast_precision_loss, reason = "there are few seeds")]
fn spread_one(world: World, seeds: u64) -> Result<Spread, Failure> {
    let (mut one, mut several, mut ratios) = (0.0, 0.0, Vec::new());
    let (mut over, mut spilled) = (0, 0);
    for seed in 1..=seeds {
        let varied = world.workload.with_jitter(Jitter { seed, spread: JITTER });
        let varied = World { workload: varied, ..world };
        let report = varied.run()?;
        let alone = World { layout: ONE_NODE, ..varied }.run()?;
        let (alone_s, makespan_s) = (seconds(alone.makespan), seconds(report.makespan));
        one += alone_s / seeds as f64;
        several += makespan_s / seeds as f64;
        ratios.push(makespan_s / alone_s);
        for node in &report.nodes {
            over = node.peak_bytes.saturating_sub(node.store_bytes).max(over);
            spilled += node.spilled_bytes;
        }
    }
    let words = world.layout.iter().map(|(cpus, gpus)| format!("{cpus}+{gpus}"));
    Ok(Spread {
        name: world.workload.name,
        memory_bytes: world.workload.memory.0,
        nodes: words.collect::<Vec<String>>().join(" "),
        in_order: world.in_order,
        seeds,
        one_node_s: one,
        makespan_s: several,
        mean_over_one_node: ratios.iter().sum::<f64>() / seeds as f64,
        worst_over_one_node: ratios.into_iter().fold(0.0, f64::max),
        peak_over_limit_bytes: over,
        spilled_bytes: spilled,
    })
}

impl World {
    fn run(&self) -> Result<Report, Failure> {
        let Self { workload: Workload { name, memory, jitter, .. }, layout, .. } = self;
        let failure = |violation| Failure {
            workload: format!("{name} in {memory} on {} nodes", layout.len()),
            jitter: *jitter,
            violation,
        };
        let report = simulation::run(&self.scenario(), None).map_err(failure)?;
        match report.ending {
            Ending::Refused(what) => {
                Err(failure(Violation { invariant: "submit", at: Time::default(), what }))
            }
            _ => Ok(report),
        }
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
