//! What goes wrong, as rules: asked about an occasion, they answer with what happens.
//!
//! Owns the chances. Knows nothing of what follows from a fault.

use millstream_core::{ActorId, NodeId, Span, TaskFailure, TaskId, Time};

use serde::{Deserialize, Serialize};

use crate::random::{Random, scaled};
use crate::trace::NodeSpec;

/// The chances of everything that can go wrong, in thousandths.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// The worker of an attempt dies.
    pub task_death: u64,
    /// An attempt is killed because memory ran out.
    pub out_of_memory: u64,
    /// The user's code raises, at every attempt at the same work.
    pub user_error: u64,
    /// An actor dies while it runs a task.
    pub actor_death: u64,
    /// The attempt with this number, in the order in which they begin, dies half-way; on an actor,
    /// the actor dies.
    pub attempt_killed: Option<u64>,
    /// An actor dies while it loads.
    pub load_death: u64,
    /// An actor's constructor raises.
    pub load_error: u64,
    /// A block goes from its store while its node stays.
    pub block_loss: u64,
    /// An actor breaks after a few tasks: from then on it lives, but fails each of them.
    pub actor_break: u64,
    /// Nodes on which from then on each worker fails, and each actor is broken.
    pub node_breaks: Vec<(Time, NodeId)>,
    /// How slow each of several consumers is: factors in thousandths, that of the last for all after it.
    pub consumers_slow: Vec<u64>,
    /// Consumers that go after so many blocks.
    pub consumers_gone: Vec<(u32, u64)>,
    /// A driver reports the tasks of a lost actor or node one by one, though the scheduler knows.
    pub reports_lost_tasks: bool,
    /// After a turn, an old event is reported once more.
    pub stale_event: u64,
    /// After a turn, the driver wakes up for nothing.
    pub idle_turn: u64,
    /// An event of a task, an actor or the consumer is reported twice.
    pub duplicate_event: u64,
    /// Nodes on which work takes longer for a time.
    pub slowdowns: Vec<Slowdown>,
    /// From then on nothing goes wrong by chance any more, so that all that is left must finish.
    pub calm_at: Option<Time>,
    /// Nodes that join later.
    pub joins: Vec<(Time, NodeSpec)>,
    /// Nodes that are told to drain.
    pub drains: Vec<(Time, NodeId)>,
    /// Nodes that are lost with all that is on them.
    pub losses: Vec<(Time, NodeId)>,
    /// When the run is stopped from outside.
    pub stop_at: Option<Time>,
}

/// A node on which work takes longer for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slowdown {
    /// The node.
    pub node: NodeId,
    /// When it begins.
    pub from: Time,
    /// When it is over.
    pub until: Time,
    /// The factor of all durations, in thousandths.
    pub factor: u64,
}

/// An attempt that begins.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// How many there were before.
    pub number: u64,
    /// The operator and the first item of its work: the same for all attempts at it.
    pub work: [u64; 2],
    /// Whether it runs on an actor.
    pub is_on_actor: bool,
    /// How long it works.
    pub span: Span,
    /// When it was launched.
    pub at: Time,
}

/// Something that happens to an attempt at a share of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blow {
    /// How long after its start.
    pub after: Span,
    /// What.
    pub kind: BlowKind,
}

/// What happens to an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlowKind {
    /// The task alone ends.
    Task(TaskFailure),
    /// The actor that runs it dies.
    Actor,
}

impl Faults {
    /// What happens to an attempt.
    pub fn attempt(&self, random: &mut Random, seed: u64, attempt: &Attempt) -> Option<Blow> {
        let blow = self.blow(random, seed, attempt)?;
        self.is_stormy(attempt.at.after(blow.after)).then_some(blow)
    }

    /// What happens to a task that begins where nothing can work any more: on a broken actor that began
    /// so many before, or at a broken node.
    #[must_use]
    pub fn breakage(
        &self,
        seed: u64,
        task: (TaskId, Span),
        actor: Option<(ActorId, u64)>,
        (node, now): (NodeId, Time),
    ) -> Option<Blow> {
        let is_broken = |(id, begun): (ActorId, u64)| {
            let mut random = Random::of(&[seed, id.0, BREAK]);
            random.chance(self.actor_break) && begun >= random.between(0, TASKS_BEFORE_BREAK)
        };
        let is_bad = |(from, at): &(Time, NodeId)| *at == node && *from <= now;
        let breaks = actor.is_some_and(is_broken) || self.node_breaks.iter().any(is_bad);
        let kind = match actor {
            Some(_) => TaskFailure::WorkerBroken,
            None => TaskFailure::WorkerDied,
        };
        let share = Random::of(&[seed, task.0.0, BREAK]).between(0, 900);
        let after = Span(scaled(task.1.0, share, 1_000));
        let happens = breaks && self.is_stormy(now.after(after));
        happens.then_some(Blow { after, kind: BlowKind::Task(kind) })
    }

    /// The factor of the durations of what begins now on a node, in thousandths.
    #[must_use]
    pub fn slowness(&self, node: NodeId, now: Time) -> u64 {
        let hits = |slow: &&Slowdown| slow.node == node && slow.from <= now && now < slow.until;
        self.slowdowns.iter().filter(hits).map(|slow| slow.factor).max().unwrap_or(1_000)
    }

    /// The factor of the time that one of several consumers takes, in thousandths.
    #[must_use]
    pub fn consumer_slowness(&self, consumer: u32) -> u64 {
        let factor = self.consumers_slow.get(consumer as usize).or(self.consumers_slow.last());
        factor.copied().unwrap_or(1_000)
    }

    /// Whether things may still go wrong by chance.
    #[must_use]
    pub fn is_stormy(&self, now: Time) -> bool {
        self.calm_at.is_none_or(|calm| now < calm)
    }

    fn blow(&self, random: &mut Random, seed: u64, attempt: &Attempt) -> Option<Blow> {
        let Attempt { number, work, is_on_actor, span, .. } = *attempt;
        if self.attempt_killed == Some(number) {
            let task = BlowKind::Task(TaskFailure::WorkerDied);
            let kind = if is_on_actor { BlowKind::Actor } else { task };
            return Some(Blow { after: Span(span.0 / 2), kind });
        }
        if Random::of(&[seed, work[0], work[1], USER]).chance(self.user_error) {
            let after = Span(random.between(0, span.0));
            return Some(Blow { after, kind: BlowKind::Task(TaskFailure::UserCode) });
        }
        // Beyond the end too: a task that waits for room may be hit later than it works.
        let after = Span(scaled(span.0, random.between(0, 1500), 1000));
        let kind = if is_on_actor {
            random.chance(self.actor_death).then_some(BlowKind::Actor)?
        } else if random.chance(self.task_death) {
            BlowKind::Task(TaskFailure::WorkerDied)
        } else if random.chance(self.out_of_memory) {
            BlowKind::Task(TaskFailure::OutOfMemory)
        } else {
            return None;
        };
        Some(Blow { after, kind })
    }

    /// Whether blocks are lost, alone or with their node.
    #[must_use]
    pub fn may_lose_blocks(&self) -> bool {
        self.block_loss > 0 || !self.losses.is_empty()
    }

    /// How long after it became known a block is lost, if it is.
    pub fn block_loss(&self, random: &mut Random) -> Option<Span> {
        let after = Span(random.between(0, BLOCK_LIFE_MAX_US));
        random.chance(self.block_loss).then_some(after)
    }

    /// Whether an actor dies `after` it started to load, and whether its constructor raised.
    pub fn load(&self, random: &mut Random, now: Time, load: Span) -> Option<(Span, bool)> {
        let after = Span(random.between(0, load.0));
        let has_raised = random.chance(self.load_error);
        let has_died = has_raised || random.chance(self.load_death);
        (has_died && self.is_stormy(now.after(after))).then_some((after, has_raised))
    }
}

/// Longer than most blocks exist.
const BLOCK_LIFE_MAX_US: u64 = 500_000;
/// Keeps these draws apart from those of the models.
const USER: u64 = 3;
/// Likewise.
const BREAK: u64 = 14;
/// An actor that breaks does so after so many at most.
const TASKS_BEFORE_BREAK: u64 = 3;
