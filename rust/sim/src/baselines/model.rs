//! A cluster small enough that a simple policy can run on it: slots, a limit of blocks, a queue
//! before each stage.
//!
//! Owns what happens, in the terms in which the published workloads are told. All blocks count
//! alike. A stage between the first and the last holds its input and its output while it runs; a
//! source holds none of what it has not emitted; the last stage's output is not counted. Knows
//! nothing of the core.

use std::collections::{BTreeMap, VecDeque};

use millstream_core::{Span, Time};

/// Tasks of one kind, by item.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    pub(crate) is_gpu: bool,
    /// How long each item takes, in their order.
    pub(crate) spans: Vec<Span>,
    /// Blocks that a task of the source puts out; any other puts out one.
    pub(crate) blocks: usize,
}

/// What a stage did and has.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// Items before it, in the order of their arrival.
    queue: VecDeque<usize>,
    /// Tasks that hold a slot.
    pub(super) live: usize,
    /// Tasks whose work is done.
    pub(super) worked: usize,
    /// How long those took, all together.
    pub(super) busy: Span,
    /// Tasks that have ended.
    ended: usize,
}

/// What decides which stages may launch; the rest is the same for all.
pub(super) trait Policy {
    /// Whether a stage that has a slot, input and room may launch a task.
    fn admits(&mut self, model: &Model, stage: usize) -> bool;

    /// When it wants to be asked again though nothing has happened.
    fn wakeup(&self, _now: Time) -> Option<Time> {
        None
    }
}

#[derive(Clone, Debug)]
struct Task {
    stage: usize,
    item: usize,
    span: Span,
    emitted: usize,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) stages: Vec<Stage>,
    pub(super) progress: Vec<Progress>,
    pub(super) now: Time,
    pub(super) blocks_max: usize,
    blocks: usize,
    /// Free CPU and GPU slots.
    free: [usize; 2],
    /// By when they have worked and their number.
    running: BTreeMap<(Time, usize), Task>,
    /// Sources that have blocks left to emit.
    stalled: BTreeMap<usize, Task>,
    launched: usize,
}

impl Model {
    pub(super) fn new(stages: Vec<Stage>, slots: [usize; 2], blocks_max: usize) -> Self {
        let mut progress = vec![Progress::default(); stages.len()];
        progress[0].queue = (0..stages[0].spans.len()).collect();
        Self {
            stages,
            progress,
            now: Time::default(),
            blocks_max,
            blocks: 0,
            free: slots,
            running: BTreeMap::new(),
            stalled: BTreeMap::new(),
            launched: 0,
        }
    }

    /// Runs to the end. None: it is stuck.
    pub(super) fn run(mut self, policy: &mut dyn Policy) -> Option<Span> {
        loop {
            while self.emit() || self.launch(policy) {}
            if self.last().ended == self.stages[self.stages.len() - 1].spans.len() {
                return Some(self.now.since(Time::default()));
            }
            let worked = self.running.first_key_value().map(|((time, _), _)| *time);
            let wakeup = policy.wakeup(self.now);
            self.now = worked.into_iter().chain(wakeup).min()?;
            if worked.is_none() && self.now > STUCK_AFTER {
                return None;
            }
            while let Some(entry) = self.running.first_entry().filter(|e| e.key().0 <= self.now) {
                let ((_, number), task) = entry.remove_entry();
                self.work_ends(number, task);
            }
        }
    }

    /// Whether no block is there.
    pub(super) const fn is_empty(&self) -> bool {
        self.blocks == 0
    }

    fn last(&self) -> &Progress {
        &self.progress[self.stages.len() - 1]
    }

    fn slot(&self, stage: usize) -> usize {
        usize::from(self.stages[stage].is_gpu)
    }

    /// Stages whose tasks hold their output from their start.
    fn is_between(&self, stage: usize) -> bool {
        stage > 0 && stage + 1 < self.stages.len()
    }

    /// The oldest source that waits emits a block, but leaves one for each stage between, without
    /// which nothing would ever make room.
    fn emit(&mut self) -> bool {
        let between = (1..self.stages.len()).filter(|stage| self.is_between(*stage));
        let open = between.filter(|s| self.progress[*s].ended < self.stages[*s].spans.len());
        if self.blocks + 1 + open.count() > self.blocks_max {
            return false;
        }
        let Some(mut entry) = self.stalled.first_entry() else { return false };
        let task = entry.get_mut();
        let item = task.item * self.stages[0].blocks + task.emitted;
        task.emitted += 1;
        self.blocks += 1;
        if task.emitted == self.stages[0].blocks {
            entry.remove();
            self.end(0);
        }
        self.progress[1].queue.push_back(item);
        true
    }

    /// The stage nearest to the output that can launch a task does.
    fn launch(&mut self, policy: &mut dyn Policy) -> bool {
        let found = (0..self.stages.len()).rev().find(|stage| {
            let has_room = !self.is_between(*stage) || self.blocks < self.blocks_max;
            let can = self.free[self.slot(*stage)] > 0 && !self.progress[*stage].queue.is_empty();
            can && has_room && policy.admits(self, *stage)
        });
        let Some(stage) = found else { return false };
        let Some(item) = self.progress[stage].queue.pop_front() else { return false };
        let slot = self.slot(stage);
        self.free[slot] -= 1;
        self.blocks += usize::from(self.is_between(stage));
        self.progress[stage].live += 1;
        let span = self.stages[stage].spans[item];
        let task = Task { stage, item, span, emitted: 0 };
        self.running.insert((self.now.after(span), self.launched), task);
        self.launched += 1;
        true
    }

    fn work_ends(&mut self, number: usize, task: Task) {
        let stage = task.stage;
        self.progress[stage].worked += 1;
        self.progress[stage].busy += task.span;
        if stage == 0 {
            self.stalled.insert(number, task);
            return;
        }
        self.blocks -= 1;
        if self.is_between(stage) {
            self.progress[stage + 1].queue.push_back(task.item);
        }
        self.end(stage);
    }

    fn end(&mut self, stage: usize) {
        let slot = self.slot(stage);
        self.free[slot] += 1;
        self.progress[stage].live -= 1;
        self.progress[stage].ended += 1;
    }
}

/// When nothing has run for so long that no policy will start anything: an hour of virtual time.
const STUCK_AFTER: Time = Time(3_600_000_000);
