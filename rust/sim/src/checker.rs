//! The oracles: whether what the scheduler ordered is right, given what it was told.
//!
//! Owns books of its own, kept from events, actions and [`Snapshot`]s alone: it shares no code with
//! the core, and knows nothing of what the cluster will do next. The invariants are those of the
//! design: I1 the ledger balances, I2 a block is in one place, I3 each input is consumed by one
//! successful attempt, I7 stale events change a counter only, I8 after a stop nothing starts, I9
//! rows come out once and in order. I4, I5 and I6 need the clock, the stores and a second run; they
//! are judged in [`simulation`](crate::simulation).

mod actions;
mod arrivals;
mod coverage;
mod epochs;
mod events;
mod exchange;
mod final_checks;
mod heap;
mod listing;
mod losses;
mod quarantine;
mod split;

use std::collections::{BTreeMap, BTreeSet};

use millstream_core::{
    Action, ActorId, BlockId, Bytes, Event, FailCause, NodeId, OpId, Resources, Rows, Snapshot,
    Span, TaskFailure, TaskId, Time, Unit, Work,
};
use thiserror::Error;

use crate::checker::arrivals::Arrivals;
use crate::checker::coverage::Coverage;
use crate::checker::listing::ListBook;
use crate::checker::split::Takers;
use crate::random::Random;
use crate::rows::{Content, RowMap};
use crate::workload::Scenario;

/// An oracle that was violated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{invariant} violated at {}.{:06} s: {what}", at.0 / 1_000_000, at.0 % 1_000_000)]
pub struct Violation {
    /// Its name in the design, `"I1"` to `"I9"`, `"attribution"` of time, `"epochs"`, `"exchange"`, or `"protocol"` for
    /// an order that makes no sense.
    pub invariant: &'static str,
    /// When.
    pub at: Time,
    /// What happened.
    pub what: String,
}

/// What an oracle found: the invariant and the words.
type Finding = (&'static str, String);

/// The books of the oracles.
#[derive(Debug)]
pub struct Checker<'a> {
    scenario: &'a Scenario,
    rows: RowMap,
    nodes: BTreeMap<NodeId, NodeBook>,
    tasks: BTreeMap<TaskId, TaskBook>,
    /// Attempts that have ended.
    ended: BTreeSet<TaskId>,
    works: BTreeMap<WorkKey, WorkBook>,
    /// For each operator the next unit.
    units_next: Vec<u64>,
    /// For each operator what is known of its units.
    lists: Vec<ListBook>,
    actors: BTreeMap<ActorId, ActorBook>,
    actors_seen: u64,
    tasks_seen: u64,
    /// Actors in a row that were lost while they were loading, by operator.
    loads_lost: BTreeMap<usize, u32>,
    /// The most heap with which one of those was killed for lack of memory.
    loads_killed: BTreeMap<usize, Bytes>,
    /// For each operator how many actors there were when one of those was killed last.
    kills_seen: BTreeMap<usize, u64>,
    /// Heap that an operator must ask for since workers with less were killed.
    heap_raised: BTreeMap<usize, Bytes>,
    /// Tasks and actors that got less than that.
    heap_short: u64,
    blocks: BTreeMap<BlockId, BlockBook>,
    /// Blocks of dead attempts that were reported twice, and so may be dropped twice.
    doubled: BTreeSet<BlockId>,
    output: Coverage,
    /// By operator: rows of its output that were lost, are still of use, and do not exist again.
    missing: Vec<Coverage>,
    /// Input that was lost while an attempt at the work ran, which may have read it before: whose
    /// output it was, and which rows of that.
    lost_input: BTreeMap<WorkKey, Vec<(usize, Content)>>,
    /// What the consumer waits for in the place of blocks that it found gone: whose output it was, and
    /// which rows of that.
    replacements: BTreeMap<BlockId, (usize, Content)>,
    /// Blocks that were lost in the turn in which they are given to the consumer, and in whose place.
    lost_in_hand: BTreeMap<BlockId, BlockId>,
    /// For each operator and node the failures since a task of it ended well there.
    node_failures: BTreeMap<(usize, NodeId), u32>,
    /// Actors in a row that were given up, by operator.
    given_up: BTreeMap<usize, u32>,
    /// Nodes in quarantine after the last turn, by operator, and where something was sent since.
    quarantined: BTreeSet<(usize, NodeId)>,
    sent: BTreeSet<(usize, NodeId)>,
    /// The consumers.
    takers: Takers,
    /// What has come to each limit.
    arrivals: BTreeMap<usize, Arrivals>,
    epochs_committed: u64,
    /// The last partition that the reduce side of each exchange has begun.
    partitions_begun: BTreeMap<usize, u32>,
    failure: Option<FailCause>,
    /// Failures that the events of the run justify.
    justified: Vec<FailCause>,
    /// Whether one of them must be reported.
    is_owed: bool,
    is_stopped: bool,
    stale_events: u64,
    /// Up to when the slots' time is added up, and that time, of CPUs and of GPUs.
    slots_until: Option<Time>,
    slot_times: [u128; 2],
}

#[derive(Clone, Debug)]
struct NodeBook {
    total: Resources,
    free: Resources,
    store_used: u64,
    is_draining: bool,
}

#[derive(Clone, Debug)]
struct TaskBook {
    key: WorkKey,
    node: NodeId,
    actor: Option<ActorId>,
    /// Bytes that it may put into the store.
    credit: Bytes,
    heap: Bytes,
    is_cancelled: bool,
    /// Of an attempt that makes lost rows again: where in the output the next of them are, and how
    /// many are left.
    remakes: Option<(u64, u64)>,
}

/// A piece of work over all its attempts: its operator, the first unit or block of its input, and
/// the first row in that block.
type WorkKey = (usize, u64, u64);

#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each ends at a time of its own")]
struct WorkBook {
    work: Work,
    input: Content,
    output: Content,
    /// That of all that it works on.
    epoch: u64,
    /// Rows of the output that were accepted.
    accepted: u64,
    attempts: u32,
    deaths: u32,
    /// The most heap with which an attempt was killed for lack of memory.
    heap_killed: Option<Bytes>,
    /// Whether its operator may still ask for more heap on account of that.
    is_guess_due: bool,
    is_running: bool,
    is_done: bool,
    /// Whether its input is of no more use, unless some of its output is lost.
    is_over: bool,
}

#[derive(Clone, Debug)]
struct ActorBook {
    op: usize,
    node: NodeId,
    heap: Bytes,
    is_ready: bool,
    /// Its tasks that failed since one ended well.
    failures: u32,
    tasks: BTreeSet<TaskId>,
}

#[derive(Clone, Debug)]
struct BlockBook {
    producer: usize,
    /// That of the work that made it.
    epoch: u64,
    node: NodeId,
    bytes: u64,
    content: Content,
    /// Rows that have left its queue.
    taken: u64,
    place: Place,
    /// The work that is not over and has it, or rows of it, as input, and which rows.
    readers: Vec<(WorkKey, Content)>,
}

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Before the next operator, or before the consumer.
    Queued,
    /// Input of a piece of work that is not done.
    Input,
    /// With the consumer.
    Emitted,
    /// Made for the consumer in the place of one that was lost; must be emitted at once.
    Replacing,
    /// Of no more use: consumed, taken, or of a dead attempt. Must be dropped at once.
    Useless,
}

impl<'a> Checker<'a> {
    /// Books for a run that begins.
    #[must_use]
    pub fn new(scenario: &'a Scenario) -> Self {
        let mut checker = Self {
            scenario,
            rows: scenario.row_map(),
            nodes: BTreeMap::new(),
            tasks: BTreeMap::new(),
            ended: BTreeSet::new(),
            works: BTreeMap::new(),
            units_next: vec![0; scenario.plan.ops().len()],
            lists: listing::books(scenario),
            arrivals: BTreeMap::new(),
            takers: Takers::new(scenario.consumers()),
            node_failures: BTreeMap::new(),
            given_up: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            sent: BTreeSet::new(),
            actors: BTreeMap::new(),
            actors_seen: 0,
            tasks_seen: 0,
            loads_lost: BTreeMap::new(),
            loads_killed: BTreeMap::new(),
            kills_seen: BTreeMap::new(),
            heap_raised: BTreeMap::new(),
            heap_short: 0,
            blocks: BTreeMap::new(),
            doubled: BTreeSet::new(),
            output: Coverage::default(),
            missing: vec![Coverage::default(); scenario.plan.ops().len()],
            lost_input: BTreeMap::new(),
            replacements: BTreeMap::new(),
            lost_in_hand: BTreeMap::new(),
            epochs_committed: 0,
            partitions_begun: BTreeMap::new(),
            failure: None,
            justified: Vec::new(),
            is_owed: false,
            is_stopped: false,
            stale_events: 0,
            slots_until: None,
            slot_times: [0; 2],
        };
        for spec in &scenario.nodes {
            checker.add_node(spec.node, &spec.resources);
        }
        checker
    }

    /// Judges one turn.
    ///
    /// # Errors
    /// The first invariant that it violates.
    pub fn judge(
        &mut self,
        now: Time,
        events: &[Event],
        actions: &[Action],
        snapshot: &Snapshot,
    ) -> Result<(), Violation> {
        let found = |(invariant, what)| Violation { invariant, at: now, what };
        self.pass_time(now);
        for event in events {
            self.note(event);
        }
        self.forget_unwanted_kills();
        for action in actions {
            self.check_action(action)
                .map_err(|(invariant, what)| found((invariant, format!("{action:?}: {what}"))))?;
        }
        self.check_failure().map_err(found)?;
        self.check_drops().map_err(found)?;
        self.check_replaced().map_err(found)?;
        self.check_snapshot(snapshot).map_err(found)?;
        self.check_times(snapshot).map_err(found)?;
        self.settle_arrivals();
        Ok(())
    }

    /// Judges a turn in which nothing but an old event, or none, was reported.
    ///
    /// # Errors
    /// I7, if anything but a counter changed.
    pub fn judge_stale(
        now: Time,
        event: &Event,
        actions: &[Action],
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<(), Violation> {
        let stale = u64::from(*event != Event::TimePassed);
        let mut expected = before.clone();
        expected.stale_events += stale;
        // A verdict is about the turn in which it was reached, and free bytes are among them.
        for (op, now) in expected.ops.iter_mut().zip(&after.ops) {
            op.verdict.clone_from(&now.verdict);
        }
        // The driver holds the block of a dead attempt until it is told to forget it.
        let harmless = match event {
            Event::BlockProduced { block, .. } => vec![Action::DropBlock { block: *block }],
            _ => Vec::new(),
        };
        if *after == expected && actions == harmless {
            return Ok(());
        }
        let what =
            format!("{event:?} was answered by {actions:?}{}", differences(&expected, after));
        Err(Violation { invariant: "I7", at: now, what })
    }

    /// Adds up the time of all slots, used or not.
    fn pass_time(&mut self, now: Time) {
        let span = u128::from(now.since(self.slots_until.unwrap_or(now)).0);
        self.slots_until = Some(now);
        for node in self.nodes.values() {
            self.slot_times[0] += u128::from(node.total.cpu.0) * span;
            self.slot_times[1] += u128::from(node.total.gpu.0) * span;
        }
    }

    /// Each moment of each slot is attributed to exactly one thing.
    fn check_times(&self, snapshot: &Snapshot) -> Result<(), Finding> {
        let found = [snapshot.cpu_times.total(), snapshot.gpu_times.total()];
        if found == self.slot_times {
            return Ok(());
        }
        let what = format!("{found:?} slots x us are attributed of {:?}", self.slot_times);
        Err(("attribution", what))
    }

    /// How the run ended, so far.
    #[must_use]
    pub const fn failure(&self) -> Option<FailCause> {
        self.failure
    }

    /// Whether the run was stopped.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Rows that reached the consumer, from the first on.
    #[must_use]
    pub fn rows_out(&self) -> u64 {
        self.output.prefix()
    }

    /// An event that is out of date, or about something that never was.
    pub fn stale_event(&self, random: &mut Random) -> Event {
        let never = STALE + random.between(0, 99);
        let ended = random.between(0, self.ended.len().saturating_sub(1) as u64);
        let task = self.ended.iter().nth(usize::try_from(ended).unwrap_or(0));
        let task = task.copied().unwrap_or(TaskId(never));
        let (block, actor) = (BlockId(never), ActorId(never));
        let node = self.nodes.keys().next().copied().unwrap_or(NodeId(0));
        let failures = [TaskFailure::UserCode, TaskFailure::WorkerDied, TaskFailure::Cancelled];
        if self.scenario.listing.is_some() && random.chance(300) {
            return self.stale_page(random, never);
        }
        match random.between(0, 7) {
            0 => Event::TaskFinished { task, busy: Span(1), heap_peak: Bytes::ZERO },
            1 => Event::TaskFailed { task, failure: random.pick(&failures) },
            2 => Event::BlockProduced {
                task,
                block,
                rows: Rows(3),
                bytes: Bytes(5),
                node,
                partition: 0,
            },
            3 => Event::ActorReady { actor, node, load: Span(1) },
            4 => Event::ActorLost { actor, user_code: random.chance(500), out_of_memory: false },
            5 => Event::OutputTaken { block },
            6 => Event::BlockLost { block },
            _ => Event::NodeLost { node: NodeId(u32::MAX) },
        }
    }

    /// Units of a source that come once more, or of no source, or the end of a list that has ended.
    fn stale_page(&self, random: &mut Random, never: u64) -> Event {
        let ended = self.lists.iter().position(|book| !book.is_open).unwrap_or(usize::MAX);
        let op = OpId(u32::try_from(ended).unwrap_or(u32::MAX));
        let units = vec![Unit::default(); 3];
        match random.between(0, 2) {
            0 => Event::SourceExtended { op: OpId(0), first: never, units },
            1 => Event::SourceExtended { op, first: 0, units },
            _ => Event::SourceExhausted { op },
        }
    }

    fn add_node(&mut self, node: NodeId, resources: &Resources) {
        let book = NodeBook {
            total: resources.clone(),
            free: resources.clone(),
            store_used: 0,
            is_draining: false,
        };
        self.nodes.insert(node, book);
    }

    /// Whether what `op` puts out may be of no more use, since a limit further down has its rows.
    fn is_unwanted(&self, op: usize) -> bool {
        self.rows.limits_below(op).any(|limit| {
            let Some((rows, in_order)) = self.rows.limit(limit) else { return false };
            self.arrivals.get(&limit).map_or(0, |arrivals| arrivals.passing(in_order)) >= rows
        })
    }

    /// Notes a failure that would be right to report. It must be, unless what `op` does is of no
    /// more use.
    fn justify(&mut self, op: usize, cause: FailCause) {
        self.justified.push(cause);
        self.is_owed = self.is_owed || !self.is_unwanted(op);
    }

    fn request(&self, op: usize) -> &Resources {
        &self.scenario.plan.ops()[op].resources
    }
}

/// What differs between two snapshots, a line for each operator.
fn differences(expected: &Snapshot, found: &Snapshot) -> String {
    let ops = expected.ops.iter().zip(&found.ops).filter(|(expected, found)| expected != found);
    let lines =
        ops.map(|(expected, found)| format!("\n  expected {expected:?}\n  found {found:?}"));
    lines.collect()
}

/// Numbers that neither the core nor the cluster gets to.
const STALE: u64 = 1 << 40;
