//! The scheduling workloads that need more than one node, pools that grow, or nodes that go.
//!
//! Owns their numbers, and what is to be reached on each. Slots are logical and times are virtual.

use millstream_core::{
    Bytes, Config, NodeId, OpId, OpKind, OpSpec, Plan, PoolSpec, Resources, Rows, Slots, Span,
    Time, Unit,
};

use crate::checker::Violation;
use crate::faults::Faults;
use crate::laptop;
use crate::published::{Goal, Outcome, seconds};
use crate::simulation::{self, Ending, Report};
use crate::timeline::PoolSize;
use crate::trace::NodeSpec;
use crate::workload::{Consumer, Delays, Network, OpModel, Overheads, Scenario};

/// A workload on a cluster.
#[derive(Clone, Copy, Debug)]
pub struct ClusterWorkload {
    /// Its name.
    pub name: &'static str,
    run: fn(&'static str) -> Result<Outcome, Violation>,
}

impl ClusterWorkload {
    /// Runs it under the oracles.
    ///
    /// # Errors
    /// The oracle that is violated, or why the plan is refused.
    pub fn run(&self) -> Result<Outcome, Violation> {
        (self.run)(self.name)
    }
}

/// All of them.
#[must_use]
pub const fn workloads() -> &'static [ClusterWorkload] {
    &[
        ClusterWorkload { name: "robber_128cpu", run: robber },
        ClusterWorkload { name: "hetero_memory", run: hetero_memory },
        ClusterWorkload { name: "ramp", run: ramp },
        ClusterWorkload { name: "spot", run: spot },
        ClusterWorkload { name: "chain_14", run: chain_14 },
        ClusterWorkload { name: "slow_call", run: laptop::slow_call },
        ClusterWorkload { name: "slow_call_8cpu", run: laptop::slow_call_of_many },
        ClusterWorkload { name: "slow_call_pool", run: laptop::slow_call_pool },
        ClusterWorkload { name: "wide_rows", run: laptop::wide_rows },
        ClusterWorkload { name: "slow_row", run: laptop::slow_row },
        ClusterWorkload { name: "pool_and_reader", run: laptop::pool_and_reader },
    ]
}

/// A cheap stage and a slower one, both actors, that have to share 128 CPUs with the reader. At the
/// balance of 56 and 70 actors each stage keeps up with the others.
fn robber(name: &'static str) -> Result<Outcome, Violation> {
    let stages = [
        source(12_000, 1, millis(20)).emits(10 * MB),
        pool([1, 128], Resources::cpu(Slots::whole(1)), millis(560)).loads(seconds_of(1)).emits(MB),
        pool([1, 128], Resources::cpu(Slots::whole(1)), millis(700)).loads(seconds_of(1)),
    ];
    let scenario = scenario(&stages, nodes(8, 16, 0, 8 * GB), Faults::default());
    // 100 rows/s: 2 CPUs read, 56 and 70 have an actor. The first row goes through all stages.
    let bound = seconds_of(120) + millis(20 + 560 + 700) + seconds_of(1);
    let report = completed(&scenario)?;
    let settled = |op: usize, actors| settled_s(&report.pools[op], report.makespan, actors);
    let goals = vec![
        Goal::at_most("ratio", seconds(report.makespan) / seconds(bound), 1.05),
        Goal::at_most("balanced to 10 % after, s", settled(1, 56).max(settled(2, 70)), 10.0),
    ];
    Ok(outcome(name, &scenario, &report, bound, goals))
}

/// After how many seconds a pool has within a tenth of `wanted` actors for the rest of the run, but
/// for its end, when no more input comes; infinite if never.
fn settled_s(sizes: &[PoolSize], makespan: Span, wanted: u64) -> f64 {
    let is_off = |size: &PoolSize| 10 * size.actors().abs_diff(wanted) > wanted;
    let ending = Time::default().after(Span(makespan.0 / 10 * 9));
    let mut settled = f64::INFINITY;
    for size in sizes.iter().filter(|size| size.since < ending) {
        settled = if is_off(size) {
            f64::INFINITY
        } else {
            settled.min(seconds(size.since.since(Time::default())))
        };
    }
    settled
}

/// A slow GPU stage behind a fast reader, on four nodes with 64 GiB and four with 256 GiB, of which
/// three tenths are object store.
fn hetero_memory(name: &'static str) -> Result<Outcome, Violation> {
    let stages = [
        source(250, 8, seconds_of(4)).emits(GIB),
        tasks(millis(500)).emits(GIB),
        pool([8, 8], Resources::gpu(Slots::whole(1)), seconds_of(1)).loads(seconds_of(10)),
    ];
    let machines = |small: u64, large: u64| {
        let sizes = [small; 4].into_iter().chain([large; 4]);
        let machines = nodes(8, 16, 1, 0).into_iter().zip(sizes);
        machines.map(|(node, gib)| NodeSpec { store: Bytes(gib * GIB * 3 / 10), ..node }).collect()
    };
    let limited = scenario(&stages, machines(64, 256), Faults::default());
    let unlimited = scenario(&stages, machines(1 << 20, 1 << 20), Faults::default());
    let report = completed(&limited)?;
    let bound = completed(&unlimited)?.makespan;
    let goals = vec![
        Goal::at_most("spilled, GB", gigabytes(spilled(&report)), 0.0),
        Goal::at_most("over unlimited memory", seconds(report.makespan) / seconds(bound), 1.05),
    ];
    Ok(outcome(name, &limited, &report, bound, goals))
}

/// Four GPUs for a pool of one to four actors that load for 10 s, and all input at once.
fn ramp(name: &'static str) -> Result<Outcome, Violation> {
    let (items, load, each) = (400, seconds_of(10), seconds_of(1));
    let stages = [
        source(400, 1, millis(10)).emits(MB),
        pool([1, 4], Resources::gpu(Slots::whole(1)), each).loads(load),
    ];
    let scenario = scenario(&stages, nodes(1, 8, 4, GB), Faults::default());
    let report = completed(&scenario)?;
    let bound = millis(10) + load + each.times(items / 4);
    let all = report.pools[1].iter().find(|size| size.actors() == 4);
    let all = all.map_or(f64::INFINITY, |size| seconds(size.since.since(Time::default())));
    let goals = vec![
        Goal::at_most("4 of 4 starting after, s", all, 0.1),
        Goal::at_most("ratio", seconds(report.makespan) / seconds(bound), 1.05),
    ];
    Ok(outcome(name, &scenario, &report, bound, goals))
}

/// 100 nodes of which ten are lost every ten minutes, and replaced after five.
fn spot(name: &'static str) -> Result<Outcome, Violation> {
    let (each, units) = (seconds_of(40), 3_600);
    let stages = [
        source(3_600, 4, each).emits(100 * MB),
        tasks(seconds_of(20)).emits(50 * MB),
        pool([90, 100], Resources::gpu(Slots::whole(1)), seconds_of(10)).loads(seconds_of(10)),
    ];
    let all = || nodes(100, 8, 1, 8 * GB);
    let mut faults = Faults::default();
    for round in 0..12u32 {
        let at = Time(u64::from(round + 1) * 600 * SECOND);
        for place in 0..10 {
            faults.losses.push((at, NodeId(10 * round + place)));
            let fresh = NodeSpec { node: NodeId(100 + 10 * round + place), ..all()[0].clone() };
            faults.joins.push((at.after(seconds_of(300)), fresh));
        }
    }
    let calm = scenario(&stages, all(), Faults::default());
    let stormy = scenario(&stages, all(), faults.clone());
    let (calm, report) = (completed(&calm)?, completed(&stormy)?);
    let work = each.times(units) + seconds_of(20).times(4 * units);
    let gpu_work = seconds_of(10).times(4 * units);
    let bound = surviving(&faults, [(8, work), (1, gpu_work)]);
    let rate = seconds(bound) / seconds(report.makespan);
    let spilled_more = spilled(&report).saturating_sub(spilled(&calm));
    let goals = vec![
        Goal::at_least("of the surviving capacity", rate, 0.85),
        Goal::at_most("spilled more than without faults, GB", gigabytes(spilled_more), 0.0),
    ];
    Ok(outcome(name, &stormy, &report, bound, goals))
}

/// When nodes that come and go have given the time that each kind of work takes at least.
fn surviving(faults: &Faults, work: [(u64, Span); 2]) -> Span {
    let mut changes: Vec<(Time, i64)> = faults.losses.iter().map(|(at, _)| (*at, -1)).collect();
    changes.extend(faults.joins.iter().map(|(at, _)| (*at, 1)));
    changes.sort_unstable();
    let ends = work.map(|(slots, work)| {
        let (mut nodes, mut now, mut left) = (100_i64, Time::default(), work.0);
        for (at, change) in &changes {
            let rate = slots * nodes.unsigned_abs();
            let done = rate * at.since(now).0;
            if done >= left {
                break;
            }
            (left, now, nodes) = (left - done, *at, nodes + change);
        }
        now.after(Span(left / (slots * nodes.unsigned_abs())))
    });
    ends.into_iter().max().unwrap_or_default().since(Time::default())
}

/// 14 stages of actors on 8 CPUs: they never fit at the same time, and the plan is refused.
fn chain_14(name: &'static str) -> Result<Outcome, Violation> {
    let stage = || pool([1, 4], Resources::cpu(Slots::whole(1)), millis(100)).emits(MB);
    let mut stages = vec![source(200, 1, millis(100)).emits(MB)];
    stages.extend((0..14).map(|_| stage()));
    let scenario = scenario(&stages, nodes(1, 8, 0, GB), Faults::default());
    let report = simulation::run(&scenario, None)?;
    let bound = millis(100).times(15 * 200 / 8);
    let says = matches!(&report.ending, Ending::Refused(words) if words.contains("need 14 CPU, the cluster has 8 CPU"));
    let goals = vec![Goal::at_least("refused with the arithmetic", f64::from(u8::from(says)), 1.0)];
    let outcome = outcome(name, &scenario, &report, bound, goals);
    // What does not run has no makespan.
    Ok(Outcome { makespan_s: f64::NAN, ratio: f64::NAN, ..outcome })
}

pub(crate) fn completed(scenario: &Scenario) -> Result<Report, Violation> {
    let report = simulation::run(scenario, None)?;
    let what = match &report.ending {
        Ending::Completed => return Ok(report),
        other => format!("{other:?}"),
    };
    Err(Violation { invariant: "submit", at: Time::default(), what })
}

fn spilled(report: &Report) -> u64 {
    report.nodes.iter().map(|node| node.spilled_bytes).sum()
}

#[expect(clippy::cast_precision_loss, reason = "it is for people, and zero is zero")]
fn gigabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e9
}

pub(crate) fn outcome(
    name: &'static str,
    scenario: &Scenario,
    report: &Report,
    bound: Span,
    goals: Vec<Goal>,
) -> Outcome {
    let over = report.nodes.iter().map(|node| node.peak_bytes.saturating_sub(node.store_bytes));
    let idle = |name: &str| {
        let of = report.resources.iter().find(|resource| resource.name == name);
        of.map_or(0.0, |of| seconds(of.available.saturating_sub(of.worked)))
    };
    Outcome {
        name,
        memory_bytes: scenario.nodes.iter().map(|node| node.store.0).sum(),
        makespan_s: seconds(report.makespan),
        bound_s: seconds(bound),
        best_known_s: None,
        ratio: seconds(report.makespan) / seconds(bound),
        peak_over_limit_bytes: over.max().unwrap_or(0),
        spilled_bytes: spilled(report),
        idle_cpu_s: idle("cpu"),
        idle_gpu_s: idle("gpu"),
        stalled_s: seconds(report.ops.iter().map(|op| op.stalled).sum()),
        goals,
    }
}

/// Tasks of one kind, and their actors.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    kind: OpKind,
    resources: Resources,
    unit_rows: Vec<u64>,
    pub(crate) model: OpModel,
}

impl Stage {
    /// What a row becomes in the store.
    pub(crate) fn emits(mut self, row_bytes: u64) -> Self {
        self.model.row_bytes = row_bytes;
        if let OpKind::Source { units, .. } = &mut self.kind {
            for (unit, rows) in units.iter_mut().zip(&self.unit_rows) {
                unit.bytes = Bytes(rows * row_bytes);
            }
        }
        self
    }

    pub(crate) fn loads(mut self, load: Span) -> Self {
        self.model.load = load;
        self
    }
}

/// Each row is a block.
fn stage(kind: OpKind, resources: Resources, task: Span, item: Span) -> Stage {
    let model = OpModel::even(task, item);
    Stage { kind, resources, unit_rows: Vec::new(), model }
}

/// `units` tasks of `each` that make `rows` blocks.
pub(crate) fn source(units: usize, rows: u64, each: Span) -> Stage {
    let kind = OpKind::Source { units: vec![Unit::default(); units], is_open: false };
    let stage = stage(kind, Resources::cpu(Slots::whole(1)), Span::ZERO, each);
    Stage { unit_rows: vec![rows; units], ..stage }
}

pub(crate) fn tasks(each: Span) -> Stage {
    stage(OpKind::Tasks, Resources::cpu(Slots::whole(1)), Span::ZERO, each)
}

pub(crate) fn pool([actors_min, actors_max]: [u32; 2], resources: Resources, each: Span) -> Stage {
    let pool = PoolSpec { actors_min, actors_max, tasks_in_flight_max: 2 };
    stage(OpKind::Actors(pool), resources, Span::ZERO, each)
}

pub(crate) fn nodes(count: u32, cpus: u64, gpus: u64, store: u64) -> Vec<NodeSpec> {
    let resources =
        Resources { cpu: Slots::whole(cpus), gpu: Slots::whole(gpus), ..Resources::default() };
    let spec = |node| NodeSpec { node, resources: resources.clone(), store: Bytes(store) };
    (0..count).map(NodeId).map(spec).collect()
}

pub(crate) fn scenario(stages: &[Stage], nodes: Vec<NodeSpec>, faults: Faults) -> Scenario {
    let spec = |(position, stage): (u32, &Stage)| OpSpec {
        name: format!("Stage{position}"),
        inputs: position.checked_sub(1).map(OpId).into_iter().collect(),
        kind: stage.kind.clone(),
        resources: stage.resources.clone(),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    let largest = stages.iter().map(|stage| stage.model.row_bytes).max().unwrap_or(0);
    let config = Config {
        preserve_order: false,
        block_bytes_target: Bytes(largest.max(1)),
        ..Config::default()
    };
    let ops = (0..).zip(stages).map(spec).collect();
    Scenario {
        seed: 1,
        plan: Plan::new(ops, config).expect("because the stages are a chain"),
        nodes,
        unit_rows: stages.iter().map(|stage| stage.unit_rows.clone()).collect(),
        models: stages.iter().map(|stage| stage.model.clone()).collect(),
        consumer: Consumer { block: Span::ZERO, blocks_max: None, rest: None },
        delays: Delays::default(),
        network: Network { bytes_per_second: LINK_BYTES_PER_SECOND, latency: Span::ZERO },
        overheads: Overheads::default(),
        listing: None,
        faults,
    }
}

pub(crate) const fn seconds_of(seconds: u64) -> Span {
    Span(seconds * SECOND)
}

pub(crate) const fn millis(millis: u64) -> Span {
    Span(millis * SECOND / 1_000)
}

const SECOND: u64 = 1_000_000;
const MB: u64 = 1_000_000;
pub(crate) const GB: u64 = 1_000 * MB;
const GIB: u64 = 1 << 30;
/// 25 Gbit/s.
const LINK_BYTES_PER_SECOND: u64 = 3_125 * MB;
