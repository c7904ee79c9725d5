//! What a run went through over time: why operators launched nothing, and how much there was to
//! work with.
//!
//! Owns the sums and the stretches. Knows events and snapshots, and nothing of who makes them.

use std::collections::BTreeMap;
use std::mem::discriminant;

use millstream_core::{
    Event, NodeId, OpId, OpSpec, Reason, Resources, Slots, Snapshot, Span, Time, Verdict,
};
use serde::Serialize;

use crate::cluster::OpSpans;
use crate::trace::NodeSpec;

/// A stretch of time in which an operator launched nothing for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hold {
    /// The operator.
    pub op: OpId,
    /// When it began.
    pub from: Time,
    /// When it ended.
    pub until: Time,
    /// The reason, with its numbers as they were at the beginning.
    pub reason: Reason,
    /// The same in words.
    pub words: String,
}

/// How many actors an operator has from a moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PoolSize {
    /// Since when.
    pub since: Time,
    /// Those that take tasks.
    pub ready: u64,
    /// Those that load.
    pub starting: u64,
}

impl PoolSize {
    /// All of them.
    #[must_use]
    pub const fn actors(&self) -> u64 {
        self.ready + self.starting
    }
}

/// How much of a resource there was over a run, and how much of that tasks worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceReport {
    /// `"cpu"`, `"gpu"`, or the name of a custom resource.
    pub name: String,
    /// What there was: the time for which one of it was there, all of them together.
    pub available: Span,
    /// The part of it in which tasks worked; waiting for input or for room is no work.
    pub worked: Span,
}

/// The record of a run so far.
#[derive(Clone, Debug)]
pub struct Timeline {
    holds: Vec<Hold>,
    present: Vec<Option<(Reason, Time)>>,
    pools: Vec<Vec<PoolSize>>,
    nodes: BTreeMap<NodeId, Resources>,
    available: BTreeMap<String, u128>,
    now: Time,
}

impl Timeline {
    /// A record that begins, of a run of `ops` operators.
    #[must_use]
    pub fn new(ops: usize, nodes: &[NodeSpec]) -> Self {
        Self {
            holds: Vec::new(),
            present: vec![None; ops],
            pools: vec![Vec::new(); ops],
            nodes: nodes.iter().map(|spec| (spec.node, spec.resources.clone())).collect(),
            available: BTreeMap::new(),
            now: Time::default(),
        }
    }

    /// Takes note of a turn.
    pub fn note(&mut self, now: Time, events: &[Event], snapshot: &Snapshot) {
        self.pass(now);
        for event in events {
            match event {
                Event::NodeJoined { node, resources, .. } => {
                    self.nodes.insert(*node, resources.clone());
                }
                Event::NodeLost { node } => {
                    self.nodes.remove(node);
                }
                _ => {}
            }
        }
        for (op, seen) in (0..).map(OpId).zip(&snapshot.ops) {
            self.note_verdict(op, &seen.verdict);
            self.note_pool(op, seen.actors_ready, seen.actors_starting);
        }
    }

    /// All holds, in the order in which they ended.
    #[must_use]
    pub fn holds(mut self) -> Vec<Hold> {
        for op in (0..).map(OpId).take(self.present.len()) {
            self.end_hold(op);
        }
        self.holds
    }

    /// For each operator each change of its number of actors.
    #[must_use]
    pub fn pools(&self) -> &[Vec<PoolSize>] {
        &self.pools
    }

    /// How much of each resource there was, and what operators made of it.
    #[must_use]
    pub fn resources(&self, ops: &[OpSpec], spans: &[OpSpans]) -> Vec<ResourceReport> {
        let report = |(name, available): (&String, &u128)| {
            let worked = ops.iter().zip(spans);
            let worked =
                worked.map(|(op, spans)| slot_time(amount(&op.resources, name), spans.working));
            ResourceReport {
                name: name.clone(),
                available: unit_time(*available),
                worked: unit_time(worked.sum()),
            }
        };
        self.available.iter().map(report).filter(|report| report.available > Span::ZERO).collect()
    }

    fn pass(&mut self, now: Time) {
        let span = now.since(self.now);
        self.now = now;
        for resources in self.nodes.values() {
            for (name, slots) in amounts(resources) {
                *self.available.entry(name.to_owned()).or_default() += slot_time(slots, span);
            }
        }
    }

    fn note_verdict(&mut self, op: OpId, verdict: &Verdict) {
        let present = self.present[op.0 as usize].as_ref().map(|(reason, _)| discriminant(reason));
        let reason = match verdict {
            Verdict::Admit | Verdict::Hold(Reason::Done) => None,
            Verdict::Hold(reason) => Some(reason),
        };
        if present == reason.map(discriminant) {
            return;
        }
        self.end_hold(op);
        self.present[op.0 as usize] = reason.map(|reason| (reason.clone(), self.now));
    }

    fn note_pool(&mut self, op: OpId, ready: u64, starting: u64) {
        let (sizes, size) =
            (&mut self.pools[op.0 as usize], PoolSize { since: self.now, ready, starting });
        let last = sizes.last().map_or((0, 0), |last| (last.ready, last.starting));
        if last != (ready, starting) {
            sizes.push(size);
        }
    }

    fn end_hold(&mut self, op: OpId) {
        let Some((reason, from)) = self.present[op.0 as usize].take() else { return };
        if from < self.now {
            let words = reason.to_string();
            self.holds.push(Hold { op, from, until: self.now, reason, words });
        }
    }
}

fn amounts(resources: &Resources) -> impl Iterator<Item = (&str, Slots)> {
    let custom = resources.custom.iter().map(|(name, slots)| (name.as_str(), *slots));
    [(CPU, resources.cpu), (GPU, resources.gpu)].into_iter().chain(custom)
}

fn amount(resources: &Resources, name: &str) -> Slots {
    amounts(resources).find(|(other, _)| *other == name).map_or(Slots::ZERO, |(_, slots)| slots)
}

fn slot_time(slots: Slots, span: Span) -> u128 {
    u128::from(slots.0) * u128::from(span.0)
}

fn unit_time(slot_time: u128) -> Span {
    Span(u64::try_from(slot_time / u128::from(Slots::PER_UNIT)).unwrap_or(u64::MAX))
}

const CPU: &str = "cpu";
const GPU: &str = "gpu";
