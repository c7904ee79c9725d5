//! Several runs on one cluster, which an arbiter divides between them.
//!
//! Owns the common clock, and the oracle that all runs together hold no more of a node than it has.
//! Each run has a scheduler, workers and oracles of its own.

use std::collections::BTreeMap;

use millstream_core::{Arbiter, Bytes, Event, NodeId, Resources, RunId, Scheduler, Time};

use crate::checker::{Checker, Violation};
use crate::cluster::Cluster;
use crate::trace::{NodeSpec, step};
use crate::workload::Scenario;

/// One of the runs.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its world; all have the same nodes.
    pub scenario: Scenario,
    /// Its weight.
    pub weight: u32,
    /// When it is submitted.
    pub begins: Time,
}

/// What a run held of all CPUs, from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Since when.
    pub since: Time,
    /// How much, in 1/10000 CPU.
    pub cpu: u64,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantReport {
    /// When it ended.
    pub ended: Time,
    /// Each change of what it held.
    pub holdings: Vec<Holding>,
}

impl TenantReport {
    /// What it held at a moment, in 1/10000 CPU.
    #[must_use]
    pub fn cpu_at(&self, at: Time) -> u64 {
        self.holdings.iter().take_while(|h| h.since <= at).last().map_or(0, |h| h.cpu)
    }

    /// What it held from one moment to another: 1/10000 CPU times microseconds.
    #[must_use]
    pub fn cpu_time(&self, from: Time, until: Time) -> u128 {
        let ends =
            self.holdings.iter().skip(1).map(|holding| holding.since).chain([Time(u64::MAX)]);
        let spans = self.holdings.iter().zip(ends).map(|(holding, end)| {
            let (first, last) = (holding.since.max(from), end.min(until));
            u128::from(holding.cpu) * u128::from(last.0.saturating_sub(first.0))
        });
        spans.sum()
    }
}

/// How a cluster was shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedReport {
    /// The runs.
    pub tenants: Vec<TenantReport>,
    /// The most that lay on each node, of all runs together.
    pub bytes_peak: BTreeMap<NodeId, u64>,
}

/// Runs all to their end.
///
/// # Errors
/// The first oracle that is violated, or why a plan is refused.
pub fn run(tenants: &[Tenant]) -> Result<SharedReport, Violation> {
    let nodes = tenants.first().map_or(&[][..], |tenant| &tenant.scenario.nodes);
    let arbiter = Arbiter::new(nodes.iter().cloned().map(Into::into));
    let runs = tenants.iter().map(Run::new).collect::<Result<Vec<Run<'_>>, Violation>>()?;
    let (now, bytes_peak) = (Time::default(), BTreeMap::new());
    let mut shared = Shared { arbiter, runs, now, bytes_peak };
    while shared.advance()? {}
    let tenants = shared.runs.into_iter().map(|run| run.report).collect();
    Ok(SharedReport { tenants, bytes_peak: shared.bytes_peak })
}

struct Run<'a> {
    tenant: &'a Tenant,
    scheduler: Scheduler,
    cluster: Cluster<'a>,
    checker: Checker<'a>,
    has_begun: bool,
    has_ended: bool,
    report: TenantReport,
}

impl<'a> Run<'a> {
    fn new(tenant: &'a Tenant) -> Result<Self, Violation> {
        let scenario = &tenant.scenario;
        let nodes = scenario.nodes.iter().cloned().map(Into::into).collect();
        let scheduler = Scheduler::submit(scenario.submitted(), nodes).map_err(|refusal| {
            let what = refusal.to_string();
            Violation { invariant: "submit", at: Time::default(), what }
        })?;
        Ok(Self {
            tenant,
            scheduler,
            cluster: Cluster::new(scenario),
            checker: Checker::new(scenario),
            has_begun: false,
            has_ended: false,
            report: TenantReport::default(),
        })
    }

    fn is_active(&self) -> bool {
        self.has_begun && !self.has_ended
    }

    /// When it has something to do.
    fn due(&self) -> Option<Time> {
        match (self.has_begun, self.has_ended) {
            (_, true) => None,
            (false, _) => Some(self.tenant.begins),
            (true, _) => self.cluster.due(),
        }
    }

    fn turn(&mut self, now: Time, mut news: Vec<Event>) -> Result<(), Violation> {
        let mut events = self.cluster.wait(Some(now)).unwrap_or_default();
        events.append(&mut news);
        let actions = step(&mut self.scheduler, now, events.clone());
        self.scheduler.assert_invariants();
        self.checker.judge(now, &events, &actions, &self.scheduler.snapshot())?;
        self.cluster.perform(&actions);
        let cpu = self.held().values().map(|held| held.cpu.0).sum();
        if self.report.holdings.last().is_none_or(|last| last.cpu != cpu) {
            self.report.holdings.push(Holding { since: now, cpu });
        }
        Ok(())
    }

    fn held(&self) -> BTreeMap<NodeId, Resources> {
        let held = self.scheduler.run_demand().held.into_iter();
        held.map(|(node, (resources, _))| (node, resources)).collect()
    }
}

struct Shared<'a> {
    arbiter: Arbiter,
    runs: Vec<Run<'a>>,
    now: Time,
    bytes_peak: BTreeMap<NodeId, u64>,
}

impl Shared<'_> {
    /// Whatever is due next happens, and the cluster is divided anew. False: all have ended.
    fn advance(&mut self) -> Result<bool, Violation> {
        if self.runs.iter().all(|run| run.has_ended) {
            return Ok(false);
        }
        let Some(now) = self.runs.iter().filter_map(Run::due).min() else {
            return Err(self.violation("I4", "nothing moves in any run".to_owned()));
        };
        self.now = now;
        for position in 0..self.runs.len() {
            if self.runs[position].due().is_none_or(|due| due > now) {
                continue;
            }
            if !self.runs[position].has_begun {
                self.begin(position)?;
                continue;
            }
            self.runs[position].turn(now, Vec::new())?;
            self.end_if_done(position)?;
        }
        self.divide()?;
        self.check_nodes()?;
        Ok(true)
    }

    /// A run begins with a share of nothing, so that it launches nothing before it has one.
    fn begin(&mut self, position: usize) -> Result<(), Violation> {
        let run = &mut self.runs[position];
        run.has_begun = true;
        self.arbiter.begin(id(position), run.tenant.weight);
        let nothing = |node: &NodeSpec| {
            let (node, resources, store) = (node.node, Resources::default(), Bytes::ZERO);
            Event::ShareChanged { node, resources, store }
        };
        run.turn(self.now, run.tenant.scenario.nodes.iter().map(nothing).collect())
    }

    fn end_if_done(&mut self, position: usize) -> Result<(), Violation> {
        let run = &mut self.runs[position];
        if run.scheduler.is_done() {
            run.checker.judge_end(self.now)?;
            run.has_ended = true;
            run.report.ended = self.now;
            self.arbiter.end(id(position));
        }
        Ok(())
    }

    /// Divides the cluster until nobody's share changes any more.
    fn divide(&mut self) -> Result<(), Violation> {
        for _ in 0..ROUNDS_MAX {
            for (position, run) in self.runs.iter().enumerate().filter(|(_, run)| run.is_active()) {
                self.arbiter.report(id(position), run.scheduler.run_demand());
            }
            let changes = self.arbiter.divide();
            if changes.is_empty() {
                return Ok(());
            }
            for position in 0..self.runs.len() {
                let news = changes.iter().filter(|(changed, _)| *changed == id(position));
                let news: Vec<Event> = news.map(|(_, event)| event.clone()).collect();
                if !news.is_empty() {
                    self.runs[position].turn(self.now, news)?;
                    self.end_if_done(position)?;
                }
            }
        }
        Err(self.violation("I4", "the shares never come to rest".to_owned()))
    }

    fn check_nodes(&mut self) -> Result<(), Violation> {
        let nodes = self.runs.first().map_or(&[][..], |run| &run.tenant.scenario.nodes);
        for spec in nodes {
            let stores = self.runs.iter().filter_map(|run| run.cluster.stores().get(&spec.node));
            let bytes: u64 = stores.map(|store| store.bytes).sum();
            let peak = self.bytes_peak.entry(spec.node).or_default();
            *peak = bytes.max(*peak);
            let mut held = Resources::default();
            for run in self.runs.iter().filter(|run| run.is_active()) {
                held.credit(run.held().get(&spec.node).unwrap_or(&Resources::default()));
            }
            if !spec.resources.fits(&held) {
                let what =
                    format!("the runs hold {held} of {}, which has {}", spec.node, spec.resources);
                return Err(self.violation("I1", what));
            }
        }
        Ok(())
    }

    fn violation(&self, invariant: &'static str, what: String) -> Violation {
        Violation { invariant, at: self.now, what }
    }
}

fn id(position: usize) -> RunId {
    RunId(u32::try_from(position).expect("because there are few runs"))
}

/// Shares follow demands, and demands follow shares; both settle within a few rounds.
const ROUNDS_MAX: usize = 20;
