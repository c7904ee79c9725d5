//! Blocks on their way from one operator to the next, or to the consumer.
//!
//! Owns the order of blocks. Knows nothing of operators or tasks.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::units::{BlockId, Bytes, Rows};

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

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
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
