//! What happened to each task, actor and output of a recorded run, and when.

use std::collections::{BTreeMap, BTreeSet};

use millstream_core::{Action, ActorId, BlockId, Event, NodeId, OpId, Span, TaskId, Time, Work};

use crate::learn::tables::Done;
use crate::random::scaled;
use crate::recorded::{BeyondWork, MILLION, Recorded};
use crate::trace::{RecordedRun, Turn};
use crate::workload::{Consumer, Emission, OpModel};

/// The log of a run.
#[derive(Debug, Default)]
pub(super) struct Log {
    tasks: BTreeMap<TaskId, Task>,
    /// Work that is done, over all its attempts.
    pub(super) works: Vec<Done>,
    open_works: BTreeMap<WorkKey, Vec<BlockId>>,
    /// Rows, bytes and producer of each block.
    pub(super) blocks: BTreeMap<BlockId, Block>,
    /// Blocks that were made again: of which work, and the row of its output at which they begin.
    pub(super) remade: Vec<(WorkKey, u64, BlockId)>,
    actors: BTreeMap<ActorId, (OpId, Time)>,
    /// When an actor was through with its last task, or loaded.
    free_since: BTreeMap<ActorId, Time>,
    loads: Vec<(OpId, Span)>,
    /// Stateless tasks that run on a node, and the most that ever did.
    running: BTreeMap<NodeId, (u64, u64)>,
    emitted: BTreeMap<BlockId, Time>,
    taken_last: Time,
    resumed: BTreeMap<TaskId, Time>,
    /// From an order to go on to the next block.
    answers: Vec<Span>,
    served: Vec<Span>,
    ended: Vec<Task>,
}

/// A piece of work over all its attempts: its operator, and its first unit or block.
pub(super) type WorkKey = (OpId, u64);

/// A block of a recorded run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// One attempt that ended well.
#[derive(Clone, Debug)]
struct Task {
    op: OpId,
    work: Work,
    node: NodeId,
    actor: Option<ActorId>,
    began: Time,
    /// Whether its worker had to be started for it.
    is_cold: bool,
    is_first_attempt: bool,
    /// The next row, if it makes lost blocks again.
    remakes_from: Option<u64>,
    first_block: Option<Time>,
    blocks: Vec<BlockId>,
    busy: Span,
    ended: Time,
}

impl Log {
    pub(super) fn of(run: &RecordedRun) -> Self {
        let mut log = Self::default();
        let mut stale = BTreeSet::new();
        for turn in &run.turns {
            for event in &turn.events {
                log.note_event(turn.now, event);
            }
            for action in &turn.actions {
                log.note_action(turn.now, action);
            }
            stale.extend(stale_blocks(turn));
        }
        for work in &mut log.works {
            work.outputs.retain(|block| !stale.contains(block));
        }
        log
    }

    /// How long a worker of a task without an actor takes to start, beside what is known of each
    /// operator.
    pub(super) fn worker_start(&self, beyond_work: &[BeyondWork]) -> Span {
        let cold = self.ended.iter().filter(|task| task.is_cold && task.is_first_attempt);
        let order = self.order_span();
        let extras = cold.map(|task| {
            let warm = beyond_work[task.op.0 as usize].for_bytes(self.bytes_timed(task));
            self.extra(task).saturating_sub(warm + order)
        });
        mean(extras.collect())
    }

    /// How long an order and the answer to it travel: what tasks take to hand over a block that was
    /// ready before they were told to go on.
    pub(super) fn order_span(&self) -> Span {
        let mut answers = self.answers.clone();
        answers.sort_unstable();
        answers.get(answers.len() / READY_SHARE).copied().unwrap_or(Span::ZERO)
    }

    /// How the consumer works: on a block, and one long rest if there was one.
    pub(super) fn consumer(&self) -> Consumer {
        let block = median(self.served.clone());
        let longest = (0..).zip(&self.served).max_by_key(|(_, span)| **span);
        let rest = longest.filter(|(_, span)| **span > block.times(REST_BLOCKS));
        let rest = rest.map(|(number, span)| (number, span.saturating_sub(block)));
        let usual = match rest {
            Some((number, _)) => {
                let others = (0..).zip(&self.served).filter(|(other, _)| *other != number);
                mean(others.map(|(_, span)| *span).collect())
            }
            None => mean(self.served.clone()),
        };
        Consumer { block: usual, blocks_max: None, rest }
    }

    /// The model of an operator with its table.
    pub(super) fn model(
        &self,
        op: OpId,
        table: Recorded,
        beyond_work: BeyondWork,
        worker_start: Span,
    ) -> OpModel {
        let loads = self.loads.iter().filter(|(other, _)| *other == op).map(|(_, load)| *load);
        OpModel {
            emission: self.emission(op),
            emits_empty: true,
            load: mean(loads.collect()).saturating_sub(worker_start),
            recorded: Some(Recorded { beyond_work, cut_bytes: self.cut_bytes(op), ..table }),
            ..OpModel::even(Span::ZERO, Span::ZERO)
        }
    }

    fn note_event(&mut self, now: Time, event: &Event) {
        match *event {
            Event::BlockProduced { task, block, rows, bytes, .. } => {
                // An event may be told twice.
                if self.blocks.contains_key(&block) {
                    return;
                }
                if let Some(resumed) = self.resumed.remove(&task) {
                    self.answers.push(now.since(resumed));
                }
                let Some(task) = self.tasks.get_mut(&task) else { return };
                task.first_block.get_or_insert(now);
                task.blocks.push(block);
                self.blocks.insert(block, Block { rows: rows.0, bytes: bytes.0 });
                let key = (task.op, first_item(&task.work));
                if let Some(row) = &mut task.remakes_from {
                    self.remade.push((key, *row, block));
                    *row += rows.0;
                    return;
                }
                self.open_works.entry(key).or_default().push(block);
            }
            Event::TaskFinished { task, busy, .. } => self.note_finished(now, task, busy),
            Event::TaskFailed { task, .. } => {
                if let Some(task) = self.tasks.remove(&task) {
                    self.free(now, &task);
                }
            }
            Event::ActorReady { actor, .. } => {
                if let Some((op, started)) = self.actors.get(&actor) {
                    self.loads.push((*op, now.since(*started)));
                    self.free_since.insert(actor, now);
                }
            }
            Event::OutputTaken { block } => {
                if let Some(emitted) = self.emitted.remove(&block) {
                    self.served.push(now.since(emitted.max(self.taken_last)));
                    self.taken_last = now;
                }
            }
            _ => {}
        }
    }

    fn note_action(&mut self, now: Time, action: &Action) {
        match action {
            Action::LaunchTask {
                task,
                op,
                attempt,
                node,
                actor,
                work,
                rows_skipped,
                rows_wanted,
                ..
            } => {
                let is_cold = actor.is_none() && {
                    let (running, most) = self.running.entry(*node).or_default();
                    *running += 1;
                    let is_cold = *running > *most;
                    *most = (*most).max(*running);
                    is_cold
                };
                let task_log = Task {
                    op: *op,
                    work: work.clone(),
                    node: *node,
                    actor: *actor,
                    began: now,
                    is_cold,
                    is_first_attempt: *attempt == 0 && rows_wanted.is_none(),
                    remakes_from: rows_wanted.map(|_| rows_skipped.0),
                    first_block: None,
                    blocks: Vec::new(),
                    busy: Span::ZERO,
                    ended: now,
                };
                self.tasks.insert(*task, task_log);
            }
            Action::ResumeTask { task, .. } => {
                self.resumed.insert(*task, now);
            }
            Action::StartActor { actor, op, .. } => {
                self.actors.insert(*actor, (*op, now));
            }
            Action::EmitBlock { block, .. } => {
                self.emitted.insert(*block, now);
            }
            _ => {}
        }
    }

    fn note_finished(&mut self, now: Time, id: TaskId, busy: Span) {
        let Some(mut task) = self.tasks.remove(&id) else { return };
        // A task that waited behind another on its actor began when that one was through.
        if let Some(free) = task.actor.and_then(|actor| self.free_since.get(&actor)) {
            task.began = task.began.max(*free);
        }
        self.free(now, &task);
        task.busy = busy;
        task.ended = now;
        if task.remakes_from.is_some() {
            return;
        }
        let key = (task.op, first_item(&task.work));
        let outputs = self.open_works.remove(&key).unwrap_or_default();
        self.works.push(Done { key, work: task.work.clone(), outputs, busy });
        self.ended.push(task);
    }

    fn free(&mut self, now: Time, task: &Task) {
        if let Some(actor) = task.actor {
            self.free_since.insert(actor, now);
        } else {
            let (running, _) = self.running.entry(task.node).or_default();
            *running = running.saturating_sub(1);
        }
    }

    /// What tasks of an operator take beyond their work when their worker is there, and for each
    /// million bytes: a line whose slope is that between the medians of the third with the fewest
    /// bytes and of the third with the most (Tukey's resistant line), since some wait for room.
    pub(super) fn beyond_work(&self, op: OpId) -> BeyondWork {
        let warm = self.ended.iter().filter(|task| task.op == op && !task.is_cold);
        let warm = warm.filter(|task| task.is_first_attempt);
        let mut tasks: Vec<(u64, Span)> =
            warm.map(|task| (self.bytes_timed(task), self.extra(task))).collect();
        tasks.sort_unstable();
        let third = tasks.len().div_ceil(3);
        let middle = |tasks: &[(u64, Span)]| {
            let bytes = tasks.get(tasks.len() / 2).map_or(0, |(bytes, _)| *bytes);
            (bytes, median(tasks.iter().map(|(_, extra)| *extra).collect()))
        };
        let (few, many) = (middle(&tasks[..third]), middle(&tasks[tasks.len() - third..]));
        let hand_over = match many.0 - few.0 {
            0 => Span::ZERO,
            bytes => Span(scaled(many.1.saturating_sub(few.1).0, MILLION, bytes)),
        };
        let line = BeyondWork { call: Span::ZERO, hand_over };
        let rest = |(bytes, extra): &(u64, Span)| extra.saturating_sub(line.for_bytes(*bytes));
        let call = median(tasks.iter().map(rest).collect());
        BeyondWork { call: call.saturating_sub(self.order_span()), hand_over }
    }

    /// The bytes that a task had put out when the time ended that [`Log::extra`] looks at.
    fn bytes_timed(&self, task: &Task) -> u64 {
        task.blocks.first().map_or(0, |block| self.blocks[block].bytes)
    }

    /// What a task took beyond its work, without the time for which it waited for room: that is
    /// known of tasks with one block, and until the first block of the others.
    fn extra(&self, task: &Task) -> Span {
        let (Some(first), true) = (task.first_block, task.blocks.len() > 1) else {
            return task.ended.since(task.began).saturating_sub(task.busy);
        };
        let work = match self.emission(task.op) {
            Emission::AtEnd => task.busy,
            Emission::Streamed => self.work_until_first(task),
        };
        first.since(task.began).saturating_sub(work)
    }

    /// How long a task that streams works on its first block.
    fn work_until_first(&self, task: &Task) -> Span {
        let rows = |block: &BlockId| self.blocks[block].rows;
        let all: u64 = task.blocks.iter().map(rows).sum();
        let first = task.blocks.first().map_or(0, rows);
        Span(scaled(task.busy.0, first, all))
    }

    /// When tasks with several blocks had finished the first: near their end, or before.
    fn emission(&self, op: OpId) -> Emission {
        let several = self.ended.iter().filter(|task| {
            task.op == op && task.blocks.len() > 1 && task.is_first_attempt && !task.is_cold
        });
        let late = several.clone().filter(|task| {
            let waited = task.first_block.map_or(Span::ZERO, |first| first.since(task.began));
            // Half-way between what a task would take that streams and one that does not.
            waited.0 * 2 > task.busy.0 + self.work_until_first(task).0
        });
        if late.count() * 2 > several.count() { Emission::AtEnd } else { Emission::Streamed }
    }

    /// The size at which blocks were cut: that of blocks which another of their task followed.
    fn cut_bytes(&self, op: OpId) -> u64 {
        let tasks = self.ended.iter().filter(|task| task.op == op);
        let full = tasks.flat_map(|task| &task.blocks[..task.blocks.len().saturating_sub(1)]);
        let sizes: Vec<(u64, u64)> =
            full.map(|block| (self.blocks[block].bytes, self.blocks[block].rows)).collect();
        let (bytes, rows): (Vec<u64>, Vec<u64>) = sizes.into_iter().unzip();
        let (count, bytes, rows) =
            (bytes.len() as u64, bytes.iter().sum::<u64>(), rows.iter().sum::<u64>());
        if count == 0 {
            return u64::MAX;
        }
        // Half a row more, since what is cut is rows.
        bytes / count + bytes / rows.max(1) / 2
    }
}

/// Blocks of dead attempts: those dropped in the turn that tells of them.
fn stale_blocks(turn: &Turn) -> impl Iterator<Item = BlockId> {
    let told = turn.events.iter().filter_map(|event| match event {
        Event::BlockProduced { block, .. } => Some(*block),
        _ => None,
    });
    let told: BTreeSet<BlockId> = told.collect();
    turn.actions.iter().filter_map(move |action| match action {
        Action::DropBlock { block } if told.contains(block) => Some(*block),
        _ => None,
    })
}

fn first_item(work: &Work) -> u64 {
    match work {
        Work::Units { first, .. } => *first,
        Work::Blocks(_) | Work::Slices(_) => work.blocks().next().map_or(0, |block| block.0),
    }
}

fn mean(spans: Vec<Span>) -> Span {
    let count = spans.len() as u64;
    let sum: Span = spans.into_iter().sum();
    Span(sum.0.checked_div(count).unwrap_or(0))
}

fn median(spans: Vec<Span>) -> Span {
    let mut spans = spans;
    spans.sort_unstable();
    spans.get(spans.len() / 2).copied().unwrap_or(Span::ZERO)
}

/// One in so many tasks is taken to have had its block ready when it was told to go on.
const READY_SHARE: usize = 10;
/// A consumer that takes this many times as long as usual is taken to rest.
const REST_BLOCKS: u64 = 20;
