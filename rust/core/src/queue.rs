//! Blocks on their way from one operator to the next, or to the consumer.
//!
//! Owns the order of blocks. Knows nothing of operators or tasks.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::protocol::Slice;
use crate::units::{BlockId, Bytes, OpId, Rows};

/// A block's place in the flow of its producer. It is the same for every attempt, however that cuts
/// its blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// The partition that its rows are of, if a scatter made it; else zero.
    pub(crate) partition: u32,
    /// The number of the work that made it.
    pub(crate) number: u64,
    /// Its first row, counted from the first that the work puts out.
    pub(crate) row: u64,
    /// Tells blocks without rows apart.
    pub(crate) ordinal: u32,
}

impl Position {
    /// The place `rows` further on in the same work.
    pub(crate) fn after(self, rows: Rows) -> Self {
        Self { row: self.row + rows.0, ..self }
    }
}

/// A place in the queue that an operator's output waits in. Operators that pass blocks through unchanged
/// share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) after: OpId,
    pub(crate) at: Position,
}

/// A block as a queue sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    pub(crate) block: BlockId,
    /// Where its next row belongs in the queue.
    pub(crate) at: Position,
    /// Rows of it that were taken before.
    pub(crate) first: Rows,
    /// Rows of it that are left.
    pub(crate) rows: Rows,
    /// The bytes of all its rows.
    pub(crate) bytes: Bytes,
}

/// Blocks on their way into an operator or to the consumer.
///
/// In order, a block is ready once every block before it has been; else as soon as it is there; behind
/// a barrier, when all are there.
#[derive(Clone, Debug)]
pub(crate) struct InputQueue {
    release: Release,
    ready: VecDeque<Queued>,
    early: BTreeMap<Position, Queued>,
    /// Whether its producer has made all its blocks.
    is_closed: bool,
    /// The work and the row that come next.
    next: (u64, u64),
    /// How many rows each work made that ended and is not passed yet.
    ended: BTreeMap<u64, u64>,
    rows: Rows,
    /// Rows that ever came, except those that were lost here.
    rows_total: Rows,
    bytes: Bytes,
    ready_rows: Rows,
}

/// When the blocks of a queue are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// Each one at once.
    AsTheyCome,
    /// When all before it are.
    InOrder,
    /// All together when nothing more comes: by partition, and of each in order.
    AtEnd,
}

impl InputQueue {
    pub(crate) fn new(release: Release) -> Self {
        Self {
            release,
            ready: VecDeque::new(),
            early: BTreeMap::new(),
            is_closed: false,
            next: (0, 0),
            ended: BTreeMap::new(),
            rows: Rows::ZERO,
            rows_total: Rows::ZERO,
            bytes: Bytes::ZERO,
            ready_rows: Rows::ZERO,
        }
    }

    pub(crate) fn push(&mut self, queued: Queued) {
        self.rows += queued.rows;
        self.rows_total += queued.rows;
        self.bytes += queued.bytes;
        if self.release == Release::AsTheyCome {
            return self.make_ready(queued);
        }
        self.early.insert(queued.at, queued);
        if self.release == Release::InOrder {
            self.advance();
        }
    }

    /// Notes that work `number` has made all its `rows`.
    pub(crate) fn end_work(&mut self, number: u64, rows: Rows) {
        if self.release == Release::InOrder {
            self.ended.insert(number, rows.0);
            self.advance();
        }
    }

    /// Notes that nothing more comes.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        if self.release == Release::AtEnd {
            for queued in core::mem::take(&mut self.early).into_values() {
                self.make_ready(queued);
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Notes that something of what had come is made again.
    pub(crate) fn reopen(&mut self) {
        self.is_closed = false;
        if self.release == Release::AtEnd {
            let ready = self.ready.drain(..).map(|queued| (queued.at, queued));
            self.early.extend(ready);
            self.ready_rows = Rows::ZERO;
        }
    }

    /// Takes lost blocks out, and tells what was left of them. In order, those behind the first of them
    /// wait until it is there again.
    pub(crate) fn lose(&mut self, is_lost: impl Fn(BlockId) -> bool) -> Vec<Queued> {
        let waiting = self.early.values().chain(&self.ready);
        let lost: Vec<Queued> = waiting.filter(|queued| is_lost(queued.block)).copied().collect();
        for queued in &lost {
            self.rows -= queued.rows;
            self.rows_total -= queued.rows;
            self.bytes -= queued.bytes;
        }
        self.early.retain(|_, queued| !is_lost(queued.block));
        if self.release == Release::InOrder {
            self.rewind(&is_lost);
        }
        self.ready.retain(|queued| !is_lost(queued.block));
        self.ready_rows = self.ready.iter().map(|queued| queued.rows).sum();
        lost
    }

    /// Goes back to the first lost row among those that were ready.
    fn rewind(&mut self, is_lost: impl Fn(BlockId) -> bool) {
        let is_gap = |queued: &Queued| is_lost(queued.block) && queued.rows > Rows::ZERO;
        let Some(first) = self.ready.iter().position(is_gap) else { return };
        let reached = core::mem::take(&mut self.next).0;
        let mut begun = None;
        for queued in self.ready.split_off(first) {
            let at = queued.at;
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

    /// Puts a block back before all that is ready.
    pub(crate) fn put_back(&mut self, queued: Queued) {
        self.rows += queued.rows;
        self.rows_total += queued.rows;
        self.bytes += queued.bytes;
        self.ready_rows += queued.rows;
        let place = self.ready.partition_point(|ready| ready.at < queued.at);
        self.ready.insert(if self.release == Release::InOrder { place } else { 0 }, queued);
    }

    /// Takes the next block if it is as wanted.
    pub(crate) fn pop_if(&mut self, is_wanted: impl FnOnce(&Queued) -> bool) -> Option<Queued> {
        if self.ready.front().is_some_and(is_wanted) { self.pop() } else { None }
    }

    /// Takes `count` rows, which are ready, and the empty blocks among and right after them. Tells
    /// of each part whether it is the last of its block.
    pub(crate) fn take_rows(&mut self, count: Rows) -> Vec<(Slice, bool)> {
        let mut left = count;
        let mut taken = Vec::new();
        while let Some(front) = self.ready.front_mut() {
            if left == Rows::ZERO && front.rows > Rows::ZERO {
                break;
            }
            let rows = front.rows.min(left);
            let is_last = rows == front.rows;
            taken.push((Slice { block: front.block, first: front.first, rows }, is_last));
            left -= rows;
            if is_last {
                self.pop();
            } else {
                front.first += rows;
                front.at = front.at.after(rows);
                front.rows -= rows;
                self.rows -= rows;
                self.ready_rows -= rows;
            }
        }
        taken
    }

    /// Rows that are ready up to the end of the block with which they are as many as `rows`, or
    /// before the one with which they would be more than `bytes`.
    pub(crate) fn rows_to_block_end(&self, rows: Rows, bytes: Bytes) -> Rows {
        let (mut rows_taken, mut bytes_taken) = (Rows::ZERO, Bytes::ZERO);
        for queued in &self.ready {
            let is_heavy = bytes_taken + queued.bytes > bytes;
            if rows_taken > Rows::ZERO && (rows_taken >= rows || is_heavy) {
                break;
            }
            rows_taken += queued.rows;
            bytes_taken += queued.bytes;
        }
        rows_taken
    }

    /// The blocks that have the next `count` rows, and the empty ones among and right after them.
    pub(crate) fn holders(&self, count: Rows) -> impl Iterator<Item = BlockId> {
        let before = self.ready.iter().scan(Rows::ZERO, |rows, queued| {
            let before = *rows;
            *rows += queued.rows;
            Some((before, queued))
        });
        let is_taken = move |before: Rows, rows: Rows| before < count || rows == Rows::ZERO;
        before
            .take_while(move |(before, queued)| is_taken(*before, queued.rows))
            .map(|(_, queued)| queued.block)
    }

    /// Takes all there is, in no order that matters.
    pub(crate) fn drain(&mut self) -> Vec<Queued> {
        let early = core::mem::take(&mut self.early).into_values();
        let all = core::mem::take(&mut self.ready).into_iter().chain(early).collect();
        (self.rows, self.ready_rows, self.bytes) = (Rows::ZERO, Rows::ZERO, Bytes::ZERO);
        all
    }

    /// Rows that ever came, except those that were lost here.
    pub(crate) fn rows_total(&self) -> Rows {
        self.rows_total
    }

    pub(crate) fn ready(&self) -> impl Iterator<Item = &Queued> {
        self.ready.iter()
    }

    /// Has the best of the next `count` blocks come next, if their order does not matter: the first of
    /// those with the most merit.
    pub(crate) fn bring_forward<T: Ord>(&mut self, count: usize, merit: impl Fn(&Queued) -> T) {
        if self.release != Release::AsTheyCome {
            return;
        }
        let ready = self.ready.iter().take(count).map(merit).enumerate();
        let best =
            ready.max_by(|(at, one), (other_at, other)| one.cmp(other).then(other_at.cmp(at)));
        if let Some((position, _)) = best
            && let Some(queued) = self.ready.remove(position)
        {
            self.ready.push_front(queued);
        }
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
        *self = Self::new(self.release);
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

    fn queued(at: Position, block: u64) -> Queued {
        Queued { block: BlockId(block), at, first: Rows::ZERO, rows: Rows(2), bytes: Bytes(10) }
    }

    fn at(number: u64, row: u64) -> Position {
        Position { number, row, ..Position::default() }
    }

    fn drain(queue: &mut InputQueue) -> Vec<u64> {
        core::iter::from_fn(|| queue.pop()).map(|q| q.block.0).collect()
    }

    #[test]
    fn a_block_is_held_until_those_before_it_came() {
        let mut queue = InputQueue::new(Release::InOrder);
        queue.push(queued(at(1, 0), 10));
        assert_eq!((queue.ready_blocks(), queue.early_blocks()), (0, 1));
        queue.push(queued(at(0, 0), 1));
        assert_eq!(queue.ready_blocks(), 1);
        queue.end_work(0, Rows(2));
        assert_eq!(drain(&mut queue), [1, 10]);
    }

    #[test]
    fn without_order_blocks_are_ready_as_they_come() {
        let mut queue = InputQueue::new(Release::AsTheyCome);
        queue.push(queued(at(1, 0), 10));
        queue.push(queued(at(0, 0), 1));
        assert_eq!(drain(&mut queue), [10, 1]);
        assert_eq!((queue.rows(), queue.bytes()), (Rows::ZERO, Bytes::ZERO));
    }

    /// Three pieces of work with two, no and one block, all of them ready.
    fn three_works() -> InputQueue {
        let mut queue = InputQueue::new(Release::InOrder);
        for (position, block) in [(at(0, 0), 0), (at(0, 2), 1), (at(2, 0), 20)] {
            queue.push(queued(position, block));
        }
        for (number, rows) in [(0, 4), (1, 0), (2, 2)] {
            queue.end_work(number, Rows(rows));
        }
        queue
    }

    #[test]
    fn blocks_behind_a_lost_one_wait_until_it_is_there_again() {
        let mut queue = three_works();
        let lost = queue.lose(|block| block == BlockId(1));
        assert_eq!(lost[0].at, at(0, 2));
        assert_eq!((queue.ready_blocks(), queue.early_blocks()), (1, 1));
        assert_eq!((queue.rows(), queue.ready_rows()), (Rows(4), Rows(2)));
        let half = |at, block| Queued { rows: Rows(1), ..queued(at, block) };
        queue.push(half(at(0, 3), 8));
        assert_eq!(queue.ready_blocks(), 1);
        queue.push(half(at(0, 2), 7));
        queue.push(queued(at(3, 0), 30));
        assert_eq!(drain(&mut queue), [0, 7, 8, 20, 30]);
    }

    #[test]
    fn losing_blocks_that_were_not_ready_or_without_rows_holds_nothing_up() {
        let mut queue = three_works();
        queue.push(queued(at(4, 0), 40));
        let empty = queued(Position { ordinal: 1, ..at(3, 0) }, 31);
        queue.push(Queued { rows: Rows::ZERO, ..empty });
        queue.lose(|block| block.0 > 30);
        queue.push(queued(at(3, 0), 30));
        assert_eq!(drain(&mut queue), [0, 1, 20, 30]);
        assert_eq!(queue.early_blocks(), 0);
    }

    #[test]
    fn of_a_block_that_was_taken_in_part_the_rest_is_made_again() {
        let mut queue = three_works();
        let taken = queue.take_rows(Rows(3));
        let slice = |block, first, rows| Slice { block: BlockId(block), first, rows };
        let expected = [(slice(0, Rows(0), Rows(2)), true), (slice(1, Rows(0), Rows(1)), false)];
        assert_eq!(taken, expected);
        let lost = queue.lose(|block| block == BlockId(1));
        assert_eq!((lost[0].at, lost[0].first, lost[0].rows), (at(0, 3), Rows(1), Rows(1)));
        queue.push(Queued { rows: Rows(1), ..queued(at(0, 3), 9) });
        assert_eq!(drain(&mut queue), [9, 20]);
    }

    #[test]
    fn behind_a_barrier_all_wait_for_the_end_and_then_come_by_partition() {
        let mut queue = InputQueue::new(Release::AtEnd);
        let of = |partition, number| Position { partition, ..at(number, 0) };
        for (position, block) in [(of(1, 0), 10), (of(0, 1), 1), (of(1, 1), 11), (of(0, 0), 0)] {
            queue.push(queued(position, block));
        }
        assert_eq!((queue.ready_blocks(), queue.early_blocks()), (0, 4));
        queue.close();
        assert_eq!(queue.pop().map(|first| first.block), Some(BlockId(0)));
        let lost = queue.lose(|block| block == BlockId(10));
        queue.reopen();
        assert_eq!((lost.len(), queue.ready_rows()), (1, Rows::ZERO));
        queue.push(queued(lost[0].at, 12));
        queue.close();
        assert_eq!(drain(&mut queue), [1, 12, 11]);
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
            let mut queue = InputQueue::new(Release::InOrder);
            for (work, ordinal) in arrivals {
                if let Some(ordinal) = ordinal {
                    let position = at(work, 2 * u64::from(ordinal));
                    queue.push(queued(position, work * 100 + u64::from(ordinal)));
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
