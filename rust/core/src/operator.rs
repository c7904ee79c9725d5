//! The run-time state of one operator: its input queue, its live tasks, its counters.
//!
//! Owns the order of blocks. Decides nothing: policies read it, the scheduler changes it.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::attribution::Stretch;
use crate::estimate::TaskEstimates;
use crate::pool::Pool;
use crate::protocol::Work;
use crate::table::Table;
use crate::units::{ActorId, BlockId, Bytes, NodeId, OpId, Rows, Span, TaskId, Time};

/// A block's place in the flow of its producer: the number of the work that made it, then its
/// number among the blocks of that work. Both are the same for every attempt.
pub(crate) type Position = (u64, u32);

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
    next: Position,
    /// How many blocks each work made that ended and is not passed yet.
    ended: BTreeMap<u64, u32>,
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

    /// Notes that work `number` has made all its `blocks`.
    pub(crate) fn end_work(&mut self, number: u64, blocks: u32) {
        if self.in_order {
            self.ended.insert(number, blocks);
            self.advance();
        }
    }

    /// Notes that nothing more comes.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
    }

    fn advance(&mut self) {
        loop {
            if let Some(queued) = self.early.remove(&self.next) {
                self.make_ready(queued);
                self.next.1 += 1;
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
    pub(crate) rows_out: Rows,
    pub(crate) bytes_out: Bytes,
    /// Rows that it is still expected to put out.
    pub(crate) rows_coming: u64,
    pub(crate) node: NodeId,
    pub(crate) actor: Option<ActorId>,
    /// Room promised on `node`; kept between attempts, so that a retry can always run.
    pub(crate) reserved: Bytes,
    /// The part of `reserved` that holds copies of input from other nodes.
    pub(crate) copies: Bytes,
    pub(crate) is_cancelled: bool,
    /// Since when it is launched; once it has ended, how long it held its worker.
    pub(crate) stretch: Stretch,
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
    pub(crate) paused: BTreeMap<u64, TaskId>,
    pub(crate) retries: BTreeMap<u64, Task>,
    pub(crate) pool: Option<Pool>,
    pub(crate) is_done: bool,
    pub(crate) rows_coming: u64,
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
            retries: BTreeMap::new(),
            pool,
            is_done: false,
            rows_coming: 0,
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

    /// Whether work `number` is the first of those that are not finished.
    pub(crate) fn is_oldest(&self, number: u64) -> bool {
        self.live.first().is_none_or(|(oldest, _)| number <= oldest)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.input_ended()
            && self.unit_next == self.units_total
            && self.queued_blocks() == 0
            && self.live.is_empty()
            && self.retries.is_empty()
    }
}

/// Blocks that left a queue to become a task's input.
pub(crate) fn pop_blocks(queue: &mut InputQueue, count: usize) -> (Vec<BlockId>, Rows) {
    let taken: Vec<Queued> = (0..count).filter_map(|_| queue.pop()).collect();
    (taken.iter().map(|q| q.block).collect(), taken.iter().map(|q| q.rows).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn queued(block: u64) -> Queued {
        Queued { block: BlockId(block), rows: Rows(2), bytes: Bytes(10) }
    }

    fn drain(queue: &mut InputQueue) -> Vec<u64> {
        core::iter::from_fn(|| queue.pop()).map(|q| q.block.0).collect()
    }

    #[test]
    fn a_block_is_held_until_those_before_it_came() {
        let mut queue = InputQueue::new(true);
        queue.push((1, 0), queued(10));
        assert_eq!((queue.ready_blocks(), queue.early_blocks()), (0, 1));
        queue.push((0, 0), queued(1));
        assert_eq!(queue.ready_blocks(), 1);
        queue.end_work(0, 1);
        assert_eq!(drain(&mut queue), [1, 10]);
    }

    #[test]
    fn without_order_blocks_are_ready_as_they_come() {
        let mut queue = InputQueue::new(false);
        queue.push((1, 0), queued(10));
        queue.push((0, 0), queued(1));
        assert_eq!(drain(&mut queue), [10, 1]);
        assert_eq!((queue.rows(), queue.bytes()), (Rows::ZERO, Bytes::ZERO));
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
                match ordinal {
                    Some(ordinal) => {
                        queue.push((work, ordinal), queued(work * 100 + u64::from(ordinal)));
                    }
                    None => queue.end_work(work, counts[usize::try_from(work).expect("small")]),
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
