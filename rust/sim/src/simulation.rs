//! The loop that lets a scheduler and a cluster play against each other under the eyes of the oracles.
//!
//! Owns the turns, and the oracles that need more than one of them: I4 (something always moves), I5
//! (bytes on a node) and I6 (the same once more).

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use millstream_core::{
    Action, Event, Execution, FailCause, NodeId, Scheduler, Snapshot, Span, Time,
};
use serde::Serialize;

use crate::checker::{Checker, Violation};
use crate::cluster::Cluster;
use crate::random::Random;
use crate::timeline::{Hold, PoolSize, ResourceReport, Timeline};
use crate::trace::{Recorder, step};
use crate::workload::Scenario;

/// How a simulated run went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// When it ended.
    pub makespan: Span,
    /// Turns of the driver.
    pub turns: u64,
    /// Events in them.
    pub events: u64,
    /// Rows that reached the consumer, from the first on.
    pub rows_out: u64,
    /// Launches and resumptions past the memory limit that the scheduler declared.
    pub overshoots: u64,
    /// The stores.
    pub nodes: Vec<NodeReport>,
    /// The operators.
    pub ops: Vec<OpReport>,
    /// The scheduler's own account at the end; none where the plan was refused.
    #[serde(skip)]
    pub last: Option<Snapshot>,
    /// The resources, and what operators made of them.
    pub resources: Vec<ResourceReport>,
    /// When and why operators launched nothing.
    pub holds: Vec<Hold>,
    /// For each operator, how many actors it had from when on; nothing for one without actors.
    pub pools: Vec<Vec<PoolSize>>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// All rows are out.
    Completed,
    /// The plan was refused at submit, with these words.
    Refused(String),
    /// The run failed.
    Failed(FailCause),
    /// It was stopped from outside.
    Stopped,
}

/// The store of a node over a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// The node.
    pub node: NodeId,
    /// What fits.
    pub store_bytes: u64,
    /// The most that was there.
    pub peak_bytes: u64,
    /// What was written to disk.
    pub spilled_bytes: u64,
}

/// What the workers of an operator did with their time over a run, all together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpReport {
    /// The operator.
    pub name: String,
    /// Time in which they worked.
    pub working: Span,
    /// Time in which they held a finished block and waited for room.
    pub stalled: Span,
}

/// Runs a scenario to its end. `trace` gets the turns as they happen.
///
/// # Errors
/// The first oracle that is violated. A panic of the core, the cluster or an oracle is one too.
pub fn run<'a>(
    scenario: &'a Scenario,
    trace: Option<&'a mut dyn Write>,
) -> Result<Report, Violation> {
    let at = Rc::new(Cell::new(Time::default()));
    catch_unwind(AssertUnwindSafe(|| play(scenario, trace, Rc::clone(&at))))
        .unwrap_or_else(|panic| Err(panicked(at.get(), &*panic, "")))
}

/// Runs a scenario to its end. `at` shows how far it is.
fn play<'a>(
    scenario: &'a Scenario,
    trace: Option<&'a mut dyn Write>,
    at: Rc<Cell<Time>>,
) -> Result<Report, Violation> {
    let nodes = scenario.nodes.iter().cloned().map(Into::into).collect();
    let plan = scenario.submitted();
    let scheduler = match Scheduler::submit(plan.clone(), nodes) {
        Ok(scheduler) => scheduler,
        Err(error) => return Ok(refused(&error.to_string())),
    };
    let is_streaming = scenario.plan.config().execution == Execution::Streaming;
    let recorder = trace.map(|writer| Recorder::start(writer, &plan, &scenario.nodes));
    let mut simulation = Simulation {
        scenario,
        at,
        first: scheduler.clone(),
        scheduler,
        cluster: Cluster::new(scenario),
        is_budget_kept: is_streaming,
        has_room: scenario.has_room(),
        aside: BTreeMap::new(),
        checker: Checker::new(scenario),
        timeline: Timeline::new(scenario.plan.ops().len(), &scenario.nodes),
        random: Random::of(&[scenario.seed, DRIVER]),
        recorder: recorder.transpose().map_err(|error| broken_trace(&error))?,
        turns: Vec::new(),
        turns_max: turns_max(scenario),
        events: 0,
    };
    simulation.run()
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    /// The time of the present turn.
    at: Rc<Cell<Time>>,
    /// The scheduler as it was submitted, for I6.
    first: Scheduler,
    scheduler: Scheduler,
    cluster: Cluster<'a>,
    /// Whether the run has to keep to the stores at all.
    is_budget_kept: bool,
    has_room: bool,
    /// The most that was set aside on each node at a time.
    aside: BTreeMap<NodeId, u64>,
    checker: Checker<'a>,
    timeline: Timeline,
    random: Random,
    recorder: Option<Recorder<&'a mut dyn Write>>,
    turns: Vec<Turn>,
    turns_max: u64,
    events: u64,
}

struct Turn {
    now: Time,
    events: Vec<Event>,
    actions: Vec<Action>,
}

impl Simulation<'_> {
    fn run(&mut self) -> Result<Report, Violation> {
        self.turn(Vec::new())?;
        while !self.scheduler.is_done() {
            self.check_moving()?;
            let Some(events) = self.cluster.wait(self.scheduler.next_wakeup()) else {
                return Err(self.stuck());
            };
            self.turn(events)?;
            self.disturb()?;
        }
        self.checker.judge_end(self.cluster.now())?;
        self.check_again()?;
        Ok(self.report())
    }

    /// One turn of the driver, judged.
    fn turn(&mut self, events: Vec<Event>) -> Result<(), Violation> {
        let now = self.cluster.now();
        self.at.set(now);
        let actions = self.step(now, events.clone())?;
        let snapshot = self.scheduler.snapshot();
        self.checker.judge(now, &events, &actions, &snapshot)?;
        self.cluster.perform(&actions);
        self.timeline.note(now, &events, &snapshot);
        self.check_stores(&snapshot)?;
        self.events += events.len() as u64;
        self.keep(now, events, actions)
    }

    fn step(&mut self, now: Time, events: Vec<Event>) -> Result<Vec<Action>, Violation> {
        let known = format!("{events:?}");
        let is_checked = self.turns.len().is_multiple_of(CHECK_EACH_TURNS);
        let scheduler = &mut self.scheduler;
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            let actions = step(scheduler, now, events);
            if is_checked {
                scheduler.assert_invariants();
            }
            actions
        }));
        stepped.map_err(|panic| panicked(now, &*panic, &format!("\n  at {known}")))
    }

    fn keep(
        &mut self,
        now: Time,
        events: Vec<Event>,
        actions: Vec<Action>,
    ) -> Result<(), Violation> {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(now, &events, &actions).map_err(|error| broken_trace(&error))?;
        }
        self.turns.push(Turn { now, events, actions });
        if self.turns.len() as u64 > self.turns_max {
            let what = format!("the run does not end\n{}", pending(&self.scheduler.snapshot()));
            return Err(self.violation("I4", what));
        }
        Ok(())
    }

    /// Reports something out of date, or wakes up for nothing, after which nothing may change.
    fn disturb(&mut self) -> Result<(), Violation> {
        let faults = &self.scenario.faults;
        if !faults.is_stormy(self.cluster.now()) {
            return Ok(());
        }
        let event = if self.random.chance(faults.stale_event) {
            self.checker.stale_event(&mut self.random)
        } else if self.random.chance(faults.idle_turn) {
            Event::TimePassed
        } else {
            return Ok(());
        };
        let (now, before) = (self.cluster.now(), self.scheduler.snapshot());
        let actions = self.step(now, vec![event.clone()])?;
        let after = self.scheduler.snapshot();
        Checker::judge_stale(now, &event, &actions, &before, &after)?;
        self.keep(now, vec![event], actions)
    }

    /// I4: while work remains, something runs, starts, or is due.
    fn check_moving(&self) -> Result<(), Violation> {
        if self.cluster.is_moving() || self.scheduler.next_wakeup().is_some() {
            return Ok(());
        }
        // A failure is answered by a stop, which comes from outside.
        if self.checker.failure().is_some() && !self.checker.is_stopped() {
            return Ok(());
        }
        Err(self.stuck())
    }

    /// I5: bytes held on a node stay within its budget and the declared overshoots of a time.
    ///
    /// An overshoot lets a task pass that has nowhere to put the copies of its input or its next
    /// block. How many there may be at a time the [scenario says](Scenario::overshoots_at_a_time). Where
    /// not even one block of each operator fits, each step may need one. So it is where blocks are lost:
    /// each block of a task's input must be there again before it may run.
    ///
    /// What waits behind barriers may be set aside, beyond the store: as many bytes as the scheduler says.
    fn check_stores(&mut self, snapshot: &Snapshot) -> Result<(), Violation> {
        if !self.is_budget_kept {
            return Ok(());
        }
        for node in &snapshot.nodes {
            let most = self.aside.entry(node.node).or_default();
            *most = node.store_aside.0.max(*most);
        }
        let passed = self.cluster.block_max() + self.cluster.copies_max();
        let is_bounded = self.has_room && !self.scenario.faults.may_lose_blocks();
        let at_a_time = if is_bounded { self.scenario.overshoots_at_a_time() } else { u64::MAX };
        let times = snapshot.overshoots.min(at_a_time);
        let declared = passed.saturating_mul(times);
        for (node, store) in self.cluster.stores() {
            let declared = declared + self.aside.get(node).copied().unwrap_or(0);
            if store.bytes_known_peak > store.bytes_max + declared {
                let what = format!(
                    "{} B lay on {node}, which has {} B and {declared} B of declared overshoot\n{}",
                    store.bytes_known_peak,
                    store.bytes_max,
                    pending(snapshot)
                );
                return Err(self.violation("I5", what));
            }
        }
        Ok(())
    }

    /// I6: the same events once more give the same actions.
    fn check_again(&mut self) -> Result<(), Violation> {
        let mut scheduler = self.first.clone();
        for turn in &self.turns {
            let actions = step(&mut scheduler, turn.now, turn.events.clone());
            if actions != turn.actions {
                let what = format!(
                    "{:?} was answered by {actions:?}, first {:?}",
                    turn.events, turn.actions
                );
                return Err(Violation { invariant: "I6", at: turn.now, what });
            }
        }
        Ok(())
    }

    fn stuck(&self) -> Violation {
        self.violation("I4", format!("nothing moves\n{}", pending(&self.scheduler.snapshot())))
    }

    fn violation(&self, invariant: &'static str, what: String) -> Violation {
        Violation { invariant, at: self.cluster.now(), what }
    }

    fn report(&self) -> Report {
        let ending = match (self.checker.failure(), self.checker.is_stopped()) {
            (Some(cause), _) => Ending::Failed(cause),
            (None, true) => Ending::Stopped,
            (None, false) => Ending::Completed,
        };
        let nodes = self.cluster.stores().iter().map(|(node, store)| NodeReport {
            node: *node,
            store_bytes: store.bytes_max,
            peak_bytes: store.bytes_peak,
            spilled_bytes: store.bytes_spilled,
        });
        let specs = self.scenario.plan.ops().iter().zip(self.cluster.spans());
        let ops = specs.map(|(spec, spans)| OpReport {
            name: spec.name.clone(),
            working: spans.working,
            stalled: spans.stalled,
        });
        let last = self.scheduler.snapshot();
        Report {
            ending,
            makespan: self.cluster.now().since(Time::default()),
            turns: self.turns.len() as u64,
            events: self.events,
            rows_out: self.checker.rows_out(),
            overshoots: last.overshoots,
            nodes: nodes.collect(),
            ops: ops.collect(),
            last: Some(last),
            resources: self.timeline.resources(self.scenario.plan.ops(), self.cluster.spans()),
            holds: self.timeline.clone().holds(),
            pools: self.timeline.pools().to_vec(),
        }
    }
}

/// Far more turns than a run takes that gets on at all.
fn turns_max(scenario: &Scenario) -> u64 {
    let items: u64 = scenario.unit_rows.iter().flatten().map(|rows| rows + 1).sum();
    let rows = scenario.row_map().rows_made();
    let turns = items.saturating_mul(TURNS_PER_ITEM).max(rows.saturating_mul(TURNS_PER_ROW));
    turns.max(TURNS_MAX)
}

/// What is left to do, and what holds it.
pub(crate) fn pending(snapshot: &Snapshot) -> String {
    let ops = snapshot.ops.iter().map(|op| {
        format!(
            "  '{}' {:?}: {}; {} running, {} paused, {} blocks wait, {} of {} units done, \
             {} actors ready, {} starting",
            op.name,
            op.state,
            op.verdict,
            op.tasks_running,
            op.tasks_paused,
            op.queued_blocks,
            op.units_done,
            op.units_total,
            op.actors_ready,
            op.actors_starting,
        )
    });
    let nodes = snapshot.nodes.iter().map(|node| {
        format!(
            "  {}: {}/{} CPU, {}/{} GPU, {} used and {} reserved of {}",
            node.node,
            node.cpu_used,
            node.cpu_total,
            node.gpu_used,
            node.gpu_total,
            node.store_used,
            node.store_reserved,
            node.store_total,
        )
    });
    ops.chain(nodes).collect::<Vec<String>>().join("\n")
}

fn refused(words: &str) -> Report {
    Report {
        ending: Ending::Refused(words.to_owned()),
        makespan: Span::ZERO,
        turns: 0,
        events: 0,
        rows_out: 0,
        overshoots: 0,
        nodes: Vec::new(),
        ops: Vec::new(),
        last: None,
        resources: Vec::new(),
        holds: Vec::new(),
        pools: Vec::new(),
    }
}

/// What a panic said, as the violation that it is.
pub(crate) fn panicked(at: Time, panic: &(dyn Any + Send), details: &str) -> Violation {
    let words = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_default();
    Violation { invariant: "panic", at, what: format!("{words}{details}") }
}

fn broken_trace(error: &std::io::Error) -> Violation {
    Violation {
        invariant: "trace",
        at: Time::default(),
        what: format!("it cannot be written: {error}"),
    }
}

/// Keeps these draws apart from those of the cluster and the models.
const DRIVER: u64 = 5;
/// The core's own assertions look at everything that exists, so they are not made each time.
pub(crate) const CHECK_EACH_TURNS: usize = 7;
const TURNS_MAX: u64 = 200_000;
const TURNS_PER_ITEM: u64 = 100;
/// Each row may be a block and a task of its own, and be made again.
const TURNS_PER_ROW: u64 = 20;
