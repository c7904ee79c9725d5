//! The published workloads made harder: less memory, and durations and sizes that vary.
//!
//! Equal durations hide bad phases, and ample memory hides bad admission. Owns what is varied, and
//! how the runs are summed up.

use millstream_core::{Bytes, Span, Time};
use serde::Serialize;

use crate::checker::Violation;
use crate::clusters::{self, ClusterWorkload};
use crate::published::{BLOCK_BYTES, Jitter, Outcome, Workload, seconds, workloads};
use crate::scale;
use crate::shared::{self, Begins, SharedReport, Tenant};

/// A run that violates an oracle, or is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The workload and its memory limit.
    pub workload: String,
    /// What it varies by.
    pub jitter: Jitter,
    /// What happened.
    pub violation: Violation,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { workload, jitter: Jitter { seed, spread }, violation } = self;
        write!(f, "{workload}, seed {seed}, spread {spread}/1000: {violation}")
    }
}

/// How the scheduler did over many seeds on a workload that varies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Jittered {
    /// The workload.
    pub name: &'static str,
    /// The memory limit.
    pub memory_bytes: u64,
    /// How far durations and sizes are from the table's at most, in parts of one.
    pub spread: f64,
    /// How many seeds.
    pub seeds: u64,
    /// The makespan without variation.
    pub exact_s: f64,
    /// The mean makespan.
    pub makespan_mean_s: f64,
    /// The longest makespan.
    pub makespan_worst_s: f64,
    /// The seed that took longest.
    pub seed_worst: u64,
    /// An integer program's lower bound without variation.
    pub bound_s: f64,
    /// The mean makespan over that without variation.
    pub mean_over_exact: f64,
    /// The longest makespan over the bound.
    pub worst_over_bound: f64,
    /// The most that was in the store beyond the limit, over all seeds.
    pub peak_over_limit_bytes: u64,
    /// What had to be written to disk, by all seeds together.
    pub spilled_bytes: u64,
}

/// The smallest memory in which a workload runs without passing its limit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Least {
    /// How it does there.
    #[serde(flatten)]
    pub compared: Compared,
    /// What happens with one block less.
    pub below: String,
}

/// How the scheduler did on a workload, beside other policies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// How it did.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The makespan of plain greed; none where it never ends.
    pub greedy_s: Option<f64>,
    /// The makespan of the best static split of the CPU slots.
    pub static_s: Option<f64>,
    /// The makespan of the published policy.
    pub published_s: Option<f64>,
}

/// The rows of the table as they are.
///
/// # Errors
/// The first row that fails.
pub fn exact() -> Result<Vec<Compared>, Failure> {
    let mut rows = workloads().iter().map(compared).collect::<Result<Vec<Compared>, Failure>>()?;
    rows.push(two_datasets()?);
    Ok(rows)
}

/// The workloads on clusters of many nodes, or with pools that grow.
///
/// # Errors
/// The first row that fails.
pub fn clusters() -> Result<Vec<Compared>, Failure> {
    let row = |workload: &ClusterWorkload| {
        let jitter = Jitter::default();
        let named = |violation| Failure { workload: workload.name.to_owned(), jitter, violation };
        let outcome = workload.run().map_err(named)?;
        Ok(Compared { outcome, greedy_s: None, static_s: None, published_s: None })
    };
    clusters::workloads().iter().map(row).collect()
}

/// The workloads that ask what the scheduler itself costs.
#[must_use]
pub fn scale() -> Vec<Compared> {
    let rows = scale::workloads().into_iter();
    let row = |outcome| Compared { outcome, greedy_s: None, static_s: None, published_s: None };
    rows.map(row).collect()
}

/// Two datasets like `appendix_a` at a time, on its 8 CPUs and twice its smallest memory.
fn two_datasets() -> Result<Compared, Failure> {
    let one = workloads().into_iter().find(|workload| workload.name == "appendix_a");
    let one = one.expect("because the table has this row");
    let both = one.with_memory(Bytes(2 * one.memory.0));
    let tenant =
        || Tenant { scenario: both.scenario(), weight: 1, begins: Begins::At(Time::default()) };
    let named =
        |violation| Failure { workload: "two_datasets".to_owned(), jitter: one.jitter, violation };
    let report = shared::run(&[tenant(), tenant()]).map_err(named)?;
    let ended = report.tenants.iter().map(|tenant| tenant.ended).max().unwrap_or_default();
    let makespan = ended.since(Time::default());
    let bound = one.bound().times(2);
    let peak = report.bytes_peak.values().copied().max().unwrap_or(0);
    let over = peak.saturating_sub(both.memory.0);
    Ok(Compared {
        outcome: Outcome {
            name: "two_datasets",
            memory_bytes: both.memory.0,
            makespan_s: seconds(makespan),
            bound_s: seconds(bound),
            best_known_s: None,
            ratio: seconds(makespan) / seconds(bound),
            peak_over_limit_bytes: over,
            spilled_bytes: over,
            idle_cpu_s: idle_cpu_s(&report, makespan),
            idle_gpu_s: 0.0,
            stalled_s: 0.0,
            goals: Vec::new(),
        },
        greedy_s: None,
        static_s: None,
        published_s: None,
    })
}

/// The time of CPU slots that no run held.
#[expect(clippy::cast_precision_loss, reason = "a run takes far less than 2^52 us")]
fn idle_cpu_s(report: &SharedReport, makespan: Span) -> f64 {
    let until = Time::default().after(makespan);
    let held = report.tenants.iter().map(|tenant| tenant.cpu_time(Time::default(), until));
    seconds(makespan.times(8)) - held.sum::<u128>() as f64 / 1e10
}

/// Every row with half of its memory.
///
/// # Errors
/// The first row that fails.
pub fn half() -> Result<Vec<Compared>, Failure> {
    let half = |workload: Workload| workload.with_memory(Bytes(workload.memory.0 / 2));
    workloads().into_iter().map(|workload| compared(&half(workload))).collect()
}

/// Every pipeline with the least memory in which it can drain.
///
/// # Errors
/// The first row that fails, for another reason than its memory.
pub fn least() -> Result<Vec<Least>, Failure> {
    let mut rows = workloads();
    rows.dedup_by_key(|workload| workload.name);
    rows.iter().map(least_of).collect()
}

/// Every row with durations and sizes that vary by up to `spread` thousandths, for the seeds from
/// one to `seeds`.
///
/// # Errors
/// The first run that fails.
pub fn jittered(spread: u64, seeds: u64) -> Result<Vec<Jittered>, Failure> {
    workloads().iter().map(|workload| jittered_one(workload, spread, seeds)).collect()
}

fn run(workload: &Workload) -> Result<Outcome, Failure> {
    workload.run().map_err(|violation| failure(workload, violation))
}

fn compared(workload: &Workload) -> Result<Compared, Failure> {
    Ok(beside_others(workload, run(workload)?))
}

fn beside_others(workload: &Workload, outcome: Outcome) -> Compared {
    let others = workload.baselines();
    Compared {
        outcome,
        greedy_s: others.greedy.map(seconds),
        static_s: others.split.map(seconds),
        published_s: others.published.map(seconds),
    }
}

pub(crate) fn failure(workload: &Workload, violation: Violation) -> Failure {
    let name = format!("{} in {}", workload.name, workload.memory);
    Failure { workload: name, jitter: workload.jitter, violation }
}

fn least_of(workload: &Workload) -> Result<Least, Failure> {
    let mut below = "there is none".to_owned();
    let mut memory = Bytes(BLOCK_BYTES);
    loop {
        let smaller = workload.with_memory(memory);
        below = match smaller.report() {
            Ok(report) if report.overshoots == 0 => {
                let compared = beside_others(&smaller, smaller.outcome(&report));
                return Ok(Least { compared, below });
            }
            Ok(report) => format!("passes its limit {} times", report.overshoots),
            Err(refusal) if refusal.invariant == "submit" => format!("refused: {}", refusal.what),
            Err(violation) => return Err(failure(&smaller, violation)),
        };
        memory += Bytes(BLOCK_BYTES);
    }
}

#[expect(clippy::cast_precision_loss, reason = "there are few seeds and spreads")]
fn jittered_one(workload: &Workload, spread: u64, seeds: u64) -> Result<Jittered, Failure> {
    let exact_s = run(workload)?.makespan_s;
    let mut outcomes = Vec::new();
    for seed in 1..=seeds {
        let varied = workload.with_jitter(Jitter { seed, spread });
        outcomes.push((seed, run(&varied)?));
    }
    let total_s: f64 = outcomes.iter().map(|(_, outcome)| outcome.makespan_s).sum();
    let slowest = outcomes.iter().max_by(|a, b| a.1.makespan_s.total_cmp(&b.1.makespan_s));
    let (seed_worst, worst_s) = slowest.map_or((0, 0.0), |(seed, o)| (*seed, o.makespan_s));
    let mean_s = total_s / outcomes.len().max(1) as f64;
    let bound_s = seconds(workload.bound());
    let over = outcomes.iter().map(|(_, outcome)| outcome.peak_over_limit_bytes);
    Ok(Jittered {
        name: workload.name,
        memory_bytes: workload.memory.0,
        spread: spread as f64 / 1000.0,
        seeds,
        exact_s,
        makespan_mean_s: mean_s,
        makespan_worst_s: worst_s,
        seed_worst,
        bound_s,
        mean_over_exact: mean_s / exact_s,
        worst_over_bound: worst_s / bound_s,
        peak_over_limit_bytes: over.max().unwrap_or(0),
        spilled_bytes: outcomes.iter().map(|(_, outcome)| outcome.spilled_bytes).sum(),
    })
}
