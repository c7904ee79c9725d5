//! Several runs on one cluster, which an arbiter divides between them.
//!
//! Owns the common clock, and the oracle that all runs together hold no more of a node than it has.
//! Each run has a scheduler, workers and oracles of its own.

use std::collections::BTreeMap;

use millstream_core::{
    Arbiter, Bytes, Demand, Event, NodeId, Resources, RunId, Scheduler, Span, Time,
};

use crate::checker::{Checker, Violation};
use crate::cluster::Cluster;
use crate::simulation;
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
    pub begins: Begins,
}

/// When a run is submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// At a time.
    At(Time),
    /// Inside the loop over another run, which goes on when this one has ended.
    Inside {
        /// The position of that run.
        outer: usize,
        /// The blocks that its consumer has taken before.
        blocks: u64,
    },
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
    /// Whether it could not be admitted as long as others waited for their consumers.
    pub is_given_up: bool,
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
    let mut shared =
        Shared { arbiter, runs, now, bytes_peak, steps: 0, divides_at: None, stuck_since: None };
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
    turns: usize,
    /// What it holds and wants since its last turn; told to the arbiter, if `is_told`.
    demand: Demand,
    is_told: bool,
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
            turns: 0,
            demand: Demand::default(),
            is_told: false,
            report: TenantReport::default(),
        })
    }

    fn is_active(&self) -> bool {
        self.has_begun && !self.has_ended
    }

    /// When it has something to do by itself.
    fn due(&self) -> Option<Time> {
        let due = [self.cluster.due(), self.scheduler.next_wakeup()].into_iter().flatten().min();
        due.filter(|_| self.is_active())
    }

    fn turn(&mut self, now: Time, mut news: Vec<Event>) -> Result<(), Violation> {
        let mut events = self.cluster.wait(Some(now)).unwrap_or_default();
        events.append(&mut news);
        let actions = step(&mut self.scheduler, now, events.clone());
        if self.turns.is_multiple_of(simulation::CHECK_EACH_TURNS) {
            self.scheduler.assert_invariants();
        }
        self.turns += 1;
        self.checker.judge(now, &events, &actions, &self.scheduler.snapshot())?;
        self.cluster.perform(&actions);
        (self.demand, self.is_told) = (self.scheduler.run_demand(), false);
        let cpu = self.demand.held.values().map(|(held, _)| held.cpu.0).sum();
        if self.report.holdings.last().is_none_or(|last| last.cpu != cpu) {
            self.report.holdings.push(Holding { since: now, cpu });
        }
        Ok(())
    }
}

struct Shared<'a> {
    arbiter: Arbiter,
    runs: Vec<Run<'a>>,
    now: Time,
    bytes_peak: BTreeMap<NodeId, u64>,
    steps: u64,
    /// When the cluster is divided again though nothing happens: demands had not come to rest.
    divides_at: Option<Time>,
    /// The run that is said to be stuck, and since when.
    stuck_since: Option<(usize, Time)>,
}

impl Shared<'_> {
    /// Whatever is due next happens, and the cluster is divided anew. False: all have ended.
    fn advance(&mut self) -> Result<bool, Violation> {
        if self.runs.iter().all(|run| run.has_ended) {
            return Ok(false);
        }
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(self.violation("I4", format!("the runs do not end{}", self.pending())));
        }
        let due = (0..self.runs.len()).filter_map(|at| self.due(at)).chain(self.divides_at).min();
        match due {
            Some(due) if !self.is_patience_over(due) => self.happen(self.now.max(due))?,
            _ => self.give_up_stuck()?,
        }
        self.divide()?;
        self.note_stuck();
        self.bar_outer();
        self.check_nodes()?;
        Ok(true)
    }

    /// When a run has something to do, or begins.
    fn due(&self, position: usize) -> Option<Time> {
        let run = &self.runs[position];
        match run.tenant.begins {
            _ if run.has_begun => run.due(),
            Begins::At(time) => Some(time),
            Begins::Inside { outer, blocks } => {
                let outer = &self.runs[outer];
                let is_there = outer.has_begun && outer.cluster.blocks_taken() >= blocks;
                (outer.has_ended || is_there).then_some(self.now)
            }
        }
    }

    fn happen(&mut self, now: Time) -> Result<(), Violation> {
        self.now = now;
        for position in 0..self.runs.len() {
            if self.due(position).is_none_or(|due| due > now) {
                continue;
            }
            if self.runs[position].has_begun {
                self.runs[position].turn(now, Vec::new())?;
                self.end_if_done(position)?;
            } else {
                self.begin(position)?;
            }
        }
        Ok(())
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
        run.turn(self.now, run.tenant.scenario.nodes.iter().map(nothing).collect())?;
        self.end_if_done(position)
    }

    fn end_if_done(&mut self, position: usize) -> Result<(), Violation> {
        let run = &mut self.runs[position];
        if run.is_active() && run.scheduler.is_done() {
            run.checker.judge_end(self.now)?;
            run.has_ended = true;
            run.report.ended = self.now;
            self.arbiter.end(id(position));
        }
        Ok(())
    }

    /// Nobody takes a block of a run before all have ended that begin inside its loop there.
    fn bar_outer(&mut self) {
        for position in 0..self.runs.len() {
            let inner = self.runs.iter().filter(|run| !run.has_ended);
            let bars = inner.filter_map(|run| match run.tenant.begins {
                Begins::Inside { outer, blocks } if outer == position => Some(blocks),
                _ => None,
            });
            let bar = bars.min();
            self.runs[position].cluster.bar_consumers(bar);
        }
    }

    /// Notes since when the same run is said to be stuck.
    fn note_stuck(&mut self) {
        let before = self.stuck_since.map(|(position, _)| position);
        match self.stuck() {
            None => self.stuck_since = None,
            Some(position) if before == Some(position) => {}
            Some(position) => self.stuck_since = Some((position, self.now)),
        }
    }

    /// Whether a run has been stuck for so long, when the next thing happens, that it is given up.
    fn is_patience_over(&self, due: Time) -> bool {
        self.stuck_since.is_some_and(|(_, since)| since.after(PATIENCE) <= due)
    }

    /// The run that is said to be stuck.
    fn stuck(&self) -> Option<usize> {
        let is_stuck = |at: &usize| self.arbiter.standing(id(*at)).is_stuck;
        (0..self.runs.len()).filter(|at| self.runs[*at].is_active()).find(is_stuck)
    }

    /// Nothing moves, or hardly: the run that is said to be stuck is given up, which has to be one that
    /// could not be admitted.
    fn give_up_stuck(&mut self) -> Result<(), Violation> {
        let Some(position) = self.stuck() else {
            return Err(self.violation("I4", format!("nothing moves{}", self.pending())));
        };
        if self.fit_together(position) {
            let what = format!("run {position} is given up, but it fits{}", self.pending());
            return Err(self.violation("I4", what));
        }
        self.runs[position].report.is_given_up = true;
        self.runs[position].turn(self.now, vec![Event::StopRequested])?;
        self.end_if_done(position)
    }

    /// Whether what a run needs to get on fits beside what those need that were admitted. Of several nodes
    /// only what all of them have is compared.
    fn fit_together(&self, position: usize) -> bool {
        let there = (0..self.runs.len()).filter(|at| {
            *at == position
                || (self.runs[*at].is_active() && self.arbiter.standing(id(*at)).is_admitted)
        });
        let demands: Vec<&Demand> = there.map(|at| &self.runs[at].demand).collect();
        let mut has = Resources::default();
        for node in &self.runs[position].tenant.scenario.nodes {
            has.credit(&node.resources);
        }
        let mut seats = Resources::default();
        for seat in demands.iter().flat_map(|demand| &demand.seats) {
            seats.credit(&seat.request);
        }
        let is_one = self.runs[position].tenant.scenario.nodes.len() == 1;
        let mut tasks = demands.iter().flat_map(|demand| &demand.tasks);
        is_one && has.fits(&seats) && tasks.all(|task| has.fits_both(&seats, task))
    }

    /// Divides the cluster until nobody's share changes any more, or for the time being.
    fn divide(&mut self) -> Result<(), Violation> {
        self.divides_at = None;
        for _ in 0..ROUNDS_MAX {
            let active = self.runs.iter_mut().enumerate().filter(|(_, run)| run.is_active());
            for (position, run) in active.filter(|(_, run)| !run.is_told) {
                self.arbiter.report(id(position), run.demand.clone());
                run.is_told = true;
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
        self.divides_at = Some(self.now.after(EXCHANGE));
        Ok(())
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
                if let Some((there, _)) = run.demand.held.get(&spec.node) {
                    held.credit(there);
                }
            }
            if !spec.resources.fits(&held) {
                let what =
                    format!("the runs hold {held} of {}, which has {}", spec.node, spec.resources);
                return Err(self.violation("I1", what));
            }
        }
        Ok(())
    }

    /// What is left to do in all runs, and what holds it.
    fn pending(&self) -> String {
        let runs = self.runs.iter().enumerate().filter(|(_, run)| run.is_active());
        let words = runs.map(|(position, run)| {
            let standing = self.arbiter.standing(id(position));
            let demand = &run.demand;
            let pending = simulation::pending(&run.scheduler.snapshot());
            format!("\nrun {position}, {standing:?}, {demand:?}\n{pending}")
        });
        words.collect()
    }

    fn violation(&self, invariant: &'static str, what: String) -> Violation {
        Violation { invariant, at: self.now, what }
    }
}

fn id(position: usize) -> RunId {
    RunId(u32::try_from(position).expect("because there are few runs"))
}

/// Shares follow demands, and demands follow shares; mostly both settle within a few rounds.
const ROUNDS_MAX: usize = 20;
/// When they are exchanged again if not.
const EXCHANGE: Span = Span(200_000);
/// Far more than small worlds take.
const STEPS_MAX: u64 = 1_000_000;
/// How long a run waits for its turn while nothing goes on in those before it.
const PATIENCE: Span = Span(300_000_000);
