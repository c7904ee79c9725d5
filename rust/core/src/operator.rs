//! The run-time state of one operator: its input queue, its live tasks, its counters.
//!
//! Owns the order of blocks. Decides nothing: policies read it, the scheduler changes it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::attribution::Stretch;
use crate::estimate::TaskEstimates;
use crate::lineage::RowRange;
use crate::pool::Pool;
use crate::protocol::Work;
use crate::table::Table;
use crate::units::{ActorId, BlockId, Bytes, NodeId, OpId, Rows, Span, TaskId, Time};

/// A block's place in the flow of its producer. It is the same for every attempt, however that cuts
/// its blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The number of the work that made it.
    pub(crate) number: u64,
    /// Its first row, counted from the first that the work puts out.
    pub(crate) row: u64,
    /// Tells blocks without rows apart.
    pub(crate) ordinal: u32,
}

/// A block as a queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) block: BlockId,
    pub(crate) rows: Rows,
    pub(crate) bytes: Bytes,
}

/// Blocks on their way into an operator or to the consumer.
///
/// In order, a block is ready once every block before it has been; else as soon as it is there.
#[derive(Clone, Debug)]
pub(crate) struct InputQueue {
    in_order: bool,
    ready: VecDeque<Queued>,
    early: BTreeMap<Position, Queued>,
    /// Whether its producer has made all its blocks.
    is_closed: bool,
    /// The work and the row that come next.
    next: (u64, u64),
    /// How many rows each work made that ended and is not passed yet.
    ended: BTreeMap<u64, u64>,
    rows: Rows,
    bytes: Bytes,
    ready_rows: Rows,
}

impl InputQueue {
    pub(crate) fn new(in_order: bool) -> Self {
        Self {
            in_order,
            ready: VecDeque::new(),
            early: BTreeMap::new(),
            is_closed: false,
            next: (0, 0),
            ended: BTreeMap::new(),
            rows: Rows::ZERO,
            bytes: Bytes::ZERO,
            ready_rows: Rows::ZERO,
        }
    }

    pub(crate) fn push(&mut self, position: Position, queued: Queued) {
        self.rows += queued.rows;
        self.bytes += queued.bytes;
        if self.in_order {
            self.early.insert(position, queued);
            self.advance();
        } else {
            self.make_ready(queued);
        }
    }

    /// Notes that work `number` has made all its `rows`.
    pub(crate) fn end_work(&mut self, number: u64, rows: Rows) {
        if self.in_order {
            self.ended.insert(number, rows.0);
            self.advance();
        }
    }

    /// Notes that nothing more comes.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Notes that something of what had come is made again.
    pub(crate) fn reopen(&mut self) {
        self.is_closed = false;
    }

    /// Takes lost blocks out. In order, those behind the first of them wait until it is there again;
    /// `position` tells where the blocks of the queue belong.
    pub(crate) fn lose(
        &mut self,
        is_lost: impl Fn(BlockId) -> bool,
        position: impl Fn(BlockId) -> Position,
    ) {
        let waiting = self.early.values().chain(&self.ready);
        let lost = waiting.filter(|queued| is_lost(queued.block));
        let (rows, bytes) = lost.fold((Rows::ZERO, Bytes::ZERO), |(rows, bytes), queued| {
            (rows + queued.rows, bytes + queued.bytes)
        });
        self.rows -= rows;
        self.bytes -= bytes;
        self.early.retain(|_, queued| !is_lost(queued.block));
        if self.in_order {
            self.rewind(&is_lost, position);
        }
        self.ready.retain(|queued| !is_lost(queued.block));
        self.ready_rows = self.ready.iter().map(|queued| queued.rows).sum();
    }

    /// Goes back to the first lost row among those that were ready.
    fn rewind(
        &mut self,
        is_lost: impl Fn(BlockId) -> bool,
        position: impl Fn(BlockId) -> Position,
    ) {
        let is_gap = |queued: &Queued| is_lost(queued.block) && queued.rows > Rows::ZERO;
        let Some(first) = self.ready.iter().position(is_gap) else { return };
        let reached = core::mem::take(&mut self.next).0;
        let mut begun = None;
        for queued in self.ready.split_off(first) {
            let at = position(queued.block);
            if begun.is_none() {
                begun = Some(at.number);
                self.next = (at.number, at.row);
            }
            if at.number < reached {
                self.ended.insert(at.number, at.row + queued.rows.0);
            }
            if !is_lost(queued.block) {
                self.early.insert(at, queued);
            }
        }
        // Work that was passed and left no row behind.
        for number in begun.unwrap_or(reached)..reached {
            self.ended.entry(number).or_insert(0);
        }
    }

    fn advance(&mut self) {
        loop {
            let first = self.early.first_entry();
            let next = first.filter(|entry| (entry.key().number, entry.key().row) == self.next);
            if let Some(entry) = next {
                let queued = entry.remove();
                self.make_ready(queued);
                self.next.1 += queued.rows.0;
            } else if self.ended.get(&self.next.0) == Some(&self.next.1) {
                self.ended.remove(&self.next.0);
                self.next = (self.next.0 + 1, 0);
            } else {
                return;
            }
        }
    }

    fn make_ready(&mut self, queued: Queued) {
        self.ready_rows += queued.rows;
        self.ready.push_back(queued);
    }

    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let queued = self.ready.pop_front()?;
        self.rows -= queued.rows;
        self.ready_rows -= queued.rows;
        self.bytes -= queued.bytes;
        Some(queued)
    }

    pub(crate) fn ready(&self) -> impl Iterator<Item = &Queued> {
        self.ready.iter()
    }

    pub(crate) fn ready_blocks(&self) -> usize {
        self.ready.len()
    }

    pub(crate) fn ready_rows(&self) -> Rows {
        self.ready_rows
    }

    pub(crate) fn early_blocks(&self) -> usize {
        self.early.len()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.ready.len() + self.early.len()
    }

    pub(crate) fn rows(&self) -> Rows {
        self.rows
    }

    pub(crate) fn bytes(&self) -> Bytes {
        self.bytes
    }

    /// Empties the queue at the end of a run.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.in_order);
    }
}

/// A piece of an operator's work, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) op: OpId,
    /// The number of the work in its operator; gives the order of its output.
    pub(crate) number: u64,
    pub(crate) attempt: u32,
    pub(crate) deaths: u32,
    pub(crate) work: Work,
    /// Units or rows that it works on.
    pub(crate) items: u64,
    pub(crate) blocks_out: u32,
    /// Those of its present attempt.
    pub(crate) handed_over: u32,
    pub(crate) rows_out: Rows,
    pub(crate) bytes_out: Bytes,
    /// Rows that it is still expected to put out.
    pub(crate) rows_coming: u64,
    /// Bytes that it is still expected to put out beyond those of its input.
    pub(crate) growth: Bytes,
    pub(crate) node: NodeId,
    pub(crate) actor: Option<ActorId>,
    /// Room on `node` for what it may put out; kept between attempts.
    pub(crate) credit: Bytes,
    /// Room on `node` for copies of input from other nodes.
    pub(crate) copies: Bytes,
    /// The size of the finished block with which it waits for credit.
    pub(crate) ready: Option<Bytes>,
    /// The size of the last block with which an attempt waited: the next one has to make it again.
    pub(crate) block_known: Bytes,
    pub(crate) is_cancelled: bool,
    /// Since when it is launched; once it has ended, how long it held its worker.
    pub(crate) stretch: Stretch,
    /// Whether all its output has been made once. What remains are its gaps.
    pub(crate) is_complete: bool,
    /// Whether its present attempt fills the first of its gaps.
    pub(crate) is_filling: bool,
    /// Rows of its output that are made again.
    pub(crate) gaps: Vec<Gap>,
}

impl Task {
    /// Work that was never launched.
    pub(crate) fn new(op: OpId, number: u64, work: Work, items: u64) -> Self {
        Self {
            op,
            number,
            attempt: 0,
            deaths: 0,
            work,
            items,
            blocks_out: 0,
            rows_out: Rows::ZERO,
            bytes_out: Bytes::ZERO,
            rows_coming: 0,
            node: NO_NODE,
            actor: None,
            growth: Bytes::ZERO,
            credit: Bytes::ZERO,
            copies: Bytes::ZERO,
            ready: None,
            block_known: Bytes::ZERO,
            handed_over: 0,
            is_cancelled: false,
            is_complete: false,
            is_filling: false,
            gaps: Vec::new(),
            stretch: Stretch::default(),
        }
    }

    /// Whether it waits with a finished block for which it has no credit.
    pub(crate) const fn is_paused(&self) -> bool {
        self.ready.is_some()
    }

    /// All room that it holds on its node.
    pub(crate) fn reserved(&self) -> Bytes {
        self.credit + self.copies
    }

    /// The size of its next block, where `usual` is that of its operator.
    pub(crate) fn block_next(&self, usual: Bytes) -> Bytes {
        self.ready.unwrap_or(usual.max(self.block_known))
    }

    /// What its next attempt is to put out: rows to leave out, and how many to make after them if
    /// not all.
    pub(crate) fn portion(&self) -> (Rows, Option<Rows>) {
        match self.gaps.first() {
            Some(gap) => (Rows(gap.at.row), Some(gap.rows)),
            None => (self.rows_out, None),
        }
    }

    /// Notes rows that it handed over, and tells where they belong and who waits for them. None: for
    /// nobody, since it makes other blocks again than were lost.
    pub(crate) fn hand_over(&mut self, rows: Rows) -> Option<(Position, Goal)> {
        if self.is_filling {
            return self.gaps.first_mut().and_then(|gap| gap.fill(rows));
        }
        let (number, row) = (self.number, self.rows_out.0);
        let at = Position { number, row, ordinal: self.blocks_out };
        self.blocks_out += 1;
        self.rows_out += rows;
        Some((at, Goal::Queue))
    }
}

/// Rows of a work's output that were lost and are made again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// Where the next block of them belongs.
    pub(crate) at: Position,
    /// The rows that are missing.
    pub(crate) rows: Rows,
    pub(crate) goal: Goal,
}

impl Gap {
    fn fill(&mut self, rows: Rows) -> Option<(Position, Goal)> {
        if rows == Rows::ZERO || rows > self.rows {
            return None;
        }
        let at = self.at;
        self.at.row += rows.0;
        self.at.ordinal += 1;
        self.rows -= rows;
        Some((at, self.goal))
    }
}

/// Who waits for what is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The queue that the lost block was in.
    Queue,
    /// A piece of work that read it.
    Work(OpId, u64),
    /// The consumer, in the place of this block.
    Consumer(BlockId),
}

/// A piece of work that cannot run until lost blocks among its input are there again.
#[derive(Clone, Debug)]
pub(crate) struct Starved {
    pub(crate) task: Task,
    pub(crate) input: Vec<Part>,
}

/// A part of some work's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A block that exists.
    Here(BlockId),
    /// Rows that are made again.
    Coming(RowRange),
}

/// Totals since the start of the run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) tasks_finished: u64,
    pub(crate) tasks_failed: u64,
    pub(crate) tasks_retried: u64,
    pub(crate) tasks_preempted: u64,
    pub(crate) rows_in: u64,
    pub(crate) units_done: u64,
    pub(crate) blocks_out: u64,
    pub(crate) rows_out: u64,
    pub(crate) bytes_out: u64,
    pub(crate) blocks_lost: u64,
    pub(crate) blocks_remade: u64,
    pub(crate) busy: Span,
    pub(crate) heap_peak: Bytes,
    pub(crate) actors_started: u64,
    pub(crate) actors_lost: u64,
}

/// The run-time state of one operator.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    /// One for each input.
    pub(crate) queues: Vec<InputQueue>,
    /// The next unit of a source.
    pub(crate) unit_next: u64,
    pub(crate) units_total: u64,
    pub(crate) work_next: u64,
    pub(crate) live: Table<u64, TaskId>,
    /// Those that wait for credit with a finished block.
    pub(crate) paused: BTreeMap<u64, TaskId>,
    /// Those that used up their credit and go on until their next block is finished.
    pub(crate) hungry: BTreeMap<u64, TaskId>,
    pub(crate) retries: BTreeMap<u64, Task>,
    pub(crate) starved: BTreeMap<u64, Starved>,
    /// Stretches of lost rows that its work has yet to make again.
    pub(crate) gaps: usize,
    pub(crate) pool: Option<Pool>,
    pub(crate) is_done: bool,
    pub(crate) rows_coming: u64,
    /// What its live tasks will put out beyond the bytes of their input.
    pub(crate) growth: Bytes,
    /// What its tasks, those that wait for their next attempt too, may put out now.
    pub(crate) credit: Bytes,
    pub(crate) estimates: TaskEstimates,
    pub(crate) counters: Counters,
}

impl Operator {
    pub(crate) fn new(queues: Vec<InputQueue>, units_total: u64, pool: Option<Pool>) -> Self {
        Self {
            queues,
            unit_next: 0,
            units_total,
            work_next: 0,
            live: Table::new(),
            paused: BTreeMap::new(),
            hungry: BTreeMap::new(),
            retries: BTreeMap::new(),
            starved: BTreeMap::new(),
            gaps: 0,
            pool,
            is_done: false,
            rows_coming: 0,
            growth: Bytes::ZERO,
            credit: Bytes::ZERO,
            estimates: TaskEstimates::default(),
            counters: Counters::default(),
        }
    }

    /// The queue of an operator with one input.
    pub(crate) fn queue(&self) -> &InputQueue {
        self.queues.first().expect("because only sources have no input")
    }

    pub(crate) fn queue_mut(&mut self) -> &mut InputQueue {
        self.queues.first_mut().expect("because only sources have no input")
    }

    /// Blocks that wait in its queues.
    pub(crate) fn queued_blocks(&self) -> usize {
        self.queues.iter().map(InputQueue::blocks).sum()
    }

    /// Whether no input has more to come. True for a source.
    pub(crate) fn input_ended(&self) -> bool {
        self.queues.iter().all(|queue| queue.is_closed)
    }

    /// Tasks that run and are not paused. Those queued at an actor behind another do not run.
    pub(crate) fn moving(&self) -> usize {
        match &self.pool {
            Some(pool) => pool.moving() as usize,
            None => self.live.len() - self.paused.len(),
        }
    }

    pub(crate) fn set_paused(
        &mut self,
        number: u64,
        task: TaskId,
        actor: Option<ActorId>,
        now: Time,
        is_paused: bool,
    ) {
        if is_paused {
            self.paused.insert(number, task);
        } else {
            self.paused.remove(&number);
        }
        if let (Some(actor), Some(pool)) = (actor, self.pool.as_mut()) {
            pool.set_paused(actor, task, now, is_paused);
        }
    }

    /// Whether it waits for lost rows, or has some to make again.
    pub(crate) fn has_losses(&self) -> bool {
        self.gaps > 0 || !self.starved.is_empty()
    }

    /// Whether work that fills a gap waits for its next attempt.
    pub(crate) fn awaits_remake(&self) -> bool {
        self.gaps > 0 && self.retries.values().any(|task| !task.gaps.is_empty())
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.input_ended()
            && self.unit_next == self.units_total
            && self.queued_blocks() == 0
            && self.live.is_empty()
            && self.retries.is_empty()
            && self.starved.is_empty()
    }
}

/// Blocks that left a queue to become a task's input.
pub(crate) fn pop_blocks(queue: &mut InputQueue, count: usize) -> (Vec<BlockId>, Rows) {
    let taken: Vec<Queued> = (0..count).filter_map(|_| queue.pop()).collect();
    (taken.iter().map(|q| q.block).collect(), taken.iter().map(|q| q.rows).sum())
}

/// The node of work that was never launched; no account has this number.
const NO_NODE: NodeId = NodeId(u32::MAX);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queued(block: u64) -> Queued {
        Queued { block: BlockId(block), rows: Rows(2), bytes: Bytes(10) }
    }

    fn at(number: u64, row: u64) -> Position {
        Position { number, row, ordinal: 0 }
    }

    fn drain(queue: &mut InputQueue) -> Vec<u64> {
        core::iter::from_fn(|| queue.pop()).map(|q| q.block.0).collect()
    }

    #[test]
    fn a_block_is_held_until_those_before_it_came() {
        let mut queue = InputQueue::new(true);
        queue.push(at(1, 0), queued(10));
        assert_eq!((queue.ready_blocks(), queue.early_blocks()), (0, 1));
        queue.push(at(0, 0), queued(1));
        assert_eq!(queue.ready_blocks(), 1);
        queue.end_work(0, Rows(2));
        assert_eq!(drain(&mut queue), [1, 10]);
    }

    #[test]
    fn without_order_blocks_are_ready_as_they_come() {
        let mut queue = InputQueue::new(false);
        queue.push(at(1, 0), queued(10));
        queue.push(at(0, 0), queued(1));
        assert_eq!(drain(&mut queue), [10, 1]);
        assert_eq!((queue.rows(), queue.bytes()), (Rows::ZERO, Bytes::ZERO));
    }

    /// Three pieces of work with two, no and one block, all of them ready.
    fn three_works() -> InputQueue {
        let mut queue = InputQueue::new(true);
        for (position, block) in [(at(0, 0), 0), (at(0, 2), 1), (at(2, 0), 20)] {
            queue.push(position, queued(block));
        }
        for (number, rows) in [(0, 4), (1, 0), (2, 2)] {
            queue.end_work(number, Rows(rows));
        }
        queue
    }

    fn of_three_works(block: BlockId) -> Position {
        at(block.0 / 10, 2 * (block.0 % 10))
    }

    #[test]
    fn blocks_behind_a_lost_one_wait_until_it_is_there_again() {
        let mut queue = three_works();
        queue.lose(|block| block == BlockId(1), of_three_works);
        assert_eq!((queue.ready_blocks(), queue.early_blocks()), (1, 1));
        assert_eq!((queue.rows(), queue.ready_rows()), (Rows(4), Rows(2)));
        let half = |block| Queued { rows: Rows(1), ..queued(block) };
        queue.push(at(0, 3), half(8));
        assert_eq!(queue.ready_blocks(), 1);
        queue.push(at(0, 2), half(7));
        queue.push(at(3, 0), queued(30));
        assert_eq!(drain(&mut queue), [0, 7, 8, 20, 30]);
    }

    #[test]
    fn losing_blocks_that_were_not_ready_or_without_rows_holds_nothing_up() {
        let mut queue = three_works();
        queue.push(at(4, 0), queued(40));
        queue.push(Position { ordinal: 1, ..at(3, 0) }, Queued { rows: Rows::ZERO, ..queued(31) });
        queue.lose(|block| block.0 > 30, of_three_works);
        queue.push(at(3, 0), queued(30));
        assert_eq!(drain(&mut queue), [0, 1, 20, 30]);
        assert_eq!(queue.early_blocks(), 0);
    }

    proptest! {
        #[test]
        fn any_arrival_leaves_in_order(
            counts in proptest::collection::vec(0u32..4, 1..8),
            seed in any::<u64>(),
        ) {
            let mut arrivals: Vec<(u64, Option<u32>)> = Vec::new();
            for (work, count) in (0u64..).zip(&counts) {
                arrivals.extend((0..*count).map(|ordinal| (work, Some(ordinal))));
                arrivals.push((work, None));
            }
            arrivals.sort_by_key(|(work, ordinal)| {
                (work * 31 + u64::from(ordinal.unwrap_or(9)) + 1).wrapping_mul(seed | 1)
            });
            let mut queue = InputQueue::new(true);
            for (work, ordinal) in arrivals {
                if let Some(ordinal) = ordinal {
                    let position = at(work, 2 * u64::from(ordinal));
                    queue.push(position, queued(work * 100 + u64::from(ordinal)));
                } else {
                    let count = counts[usize::try_from(work).expect("small")];
                    queue.end_work(work, Rows(2 * u64::from(count)));
                }
            }
            let left = drain(&mut queue);
            let expected: Vec<u64> = (0u64..)
                .zip(&counts)
                .flat_map(|(work, count)| (0..u64::from(*count)).map(move |o| work * 100 + o))
                .collect();
            prop_assert_eq!(left, expected);
        }
    }
}
