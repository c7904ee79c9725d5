//! Several consumers that share the output: who holds what, and who gets what comes next.
//!
//! Owns the rule. A consumer has two blocks in hand at most, so a slow one keeps nobody waiting; what
//! comes goes to the one with the fewest rows. One that is alone has no such bound. Also which rows of
//! the whole each block has: in order, these are the same in every run. Knows nothing of queues or tasks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::operators::OpKind;
use crate::plan::OpSpec;
use crate::protocol::{OutputPlace, OutputRows};
use crate::queue::Queued;
use crate::units::{BlockId, Epoch, Rows};

/// The consumers of a run.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Whether all get equally many rows.
    pub(crate) is_equal: bool,
    takers: Vec<Taker>,
    /// By the number of the work that passed it, or makes it: what has not been given.
    passed: BTreeMap<u64, Passed>,
    /// Where the row after all that passed belongs.
    next: OutputPlace,
    /// Rows that count as none.
    left_out: Vec<OutputRows>,
    /// Blocks in the consumers' hands, lost ones too that they wait for.
    in_hand: BTreeMap<BlockId, InHand>,
    /// Rows that no consumer got, or that one had not taken when it went.
    pub(crate) rows_dropped: Rows,
}

#[derive(Clone, Debug, Default)]
struct Taker {
    /// Rows that are meant for it, all that it got too.
    rows: Rows,
    is_gone: bool,
}

#[derive(Clone, Copy, Debug)]
struct Passed {
    /// Who is to get it; none, unless all get equally many: who has the fewest rows then.
    consumer: Option<u32>,
    rows_left: Rows,
    /// Where its first row belongs.
    at: OutputPlace,
}

/// A block in a consumer's hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InHand {
    pub(crate) consumer: u32,
    /// As it was in the queue, from which another consumer would get it.
    pub(crate) queued: Queued,
    /// Where its first row belongs.
    pub(crate) at: OutputPlace,
}

impl Split {
    /// What an operator's output is shared by, if it is a split.
    pub(crate) fn of(op: &OpSpec) -> Option<Self> {
        match &op.kind {
            OpKind::Split { consumers, equal, left_out } => {
                Some(Self::new(*consumers, *equal, left_out))
            }
            _ => None,
        }
    }

    fn new(consumers: u32, is_equal: bool, left_out: &[OutputRows]) -> Self {
        Self {
            is_equal,
            takers: (0..consumers).map(|_| Taker::default()).collect(),
            passed: BTreeMap::new(),
            next: OutputPlace::default(),
            left_out: left_out.to_vec(),
            in_hand: BTreeMap::new(),
            rows_dropped: Rows::ZERO,
        }
    }

    /// How many of `rows` rows from a place on count.
    fn counted(&self, first: u64, rows: Rows) -> Rows {
        let end = first + rows.0;
        let from = self.left_out.partition_point(|out| out.end <= first);
        let out = self.left_out[from..].iter().take_while(|out| out.first < end);
        Rows(rows.0 - out.map(|out| out.end.min(end) - out.first.max(first)).sum::<u64>())
    }

    /// How many of the next `rows` rows count.
    pub(crate) fn counted_next(&self, rows: Rows) -> Rows {
        self.counted(self.next.row, rows)
    }

    /// How many rows to take of the next `rows`, so that `wanted` of them count; all, if they do not.
    pub(crate) fn with_counted(&self, wanted: Rows, rows: Rows) -> Rows {
        let mut end = self.next.row + wanted.0;
        let from = self.left_out.partition_point(|out| out.end <= self.next.row);
        for out in &self.left_out[from..] {
            if out.first >= end {
                break;
            }
            end += out.end - out.first.max(self.next.row);
        }
        Rows(end - self.next.row).min(rows)
    }

    /// The rows that each consumer got, or is meant to get.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Rows> {
        self.takers.iter().map(|taker| taker.rows)
    }

    fn there(&self) -> impl Iterator<Item = (u32, &Taker)> {
        (0..).zip(&self.takers).filter(|(_, taker)| !taker.is_gone)
    }

    pub(crate) fn is_gone(&self, consumer: u32) -> bool {
        self.takers.get(consumer as usize).is_none_or(|taker| taker.is_gone)
    }

    /// Notes that a consumer takes nothing more, and tells what it has in hand, oldest first.
    pub(crate) fn leave(&mut self, consumer: u32) -> Vec<(BlockId, InHand)> {
        self.takers[consumer as usize].is_gone = true;
        let has = |(_, in_hand): &(&BlockId, &InHand)| in_hand.consumer == consumer;
        let mut in_hand: Vec<(BlockId, InHand)> =
            self.in_hand.iter().filter(has).map(|(id, in_hand)| (*id, *in_hand)).collect();
        in_hand.sort_by_key(|(_, in_hand)| in_hand.queued.at);
        in_hand
    }

    pub(crate) fn are_all_gone(&self) -> bool {
        self.there().next().is_none()
    }

    fn is_free(&self, consumer: u32) -> bool {
        if self.takers.len() == 1 {
            return true;
        }
        let in_hand = self.in_hand.values().filter(|in_hand| in_hand.consumer == consumer).count();
        let meant = self.passed.values().filter(|passed| passed.consumer == Some(consumer)).count();
        in_hand + meant < IN_HAND_MAX
    }

    /// Who gets the next block of so many rows that count. Up to `level` rows, where all get equally many.
    pub(crate) fn next(&self, rows: Rows, level: Option<Rows>) -> Option<u32> {
        let fits = |taker: &Taker| level.is_none_or(|level| taker.rows + rows <= level);
        let free = self.there().filter(|(id, taker)| fits(taker) && self.is_free(*id));
        free.min_by_key(|(id, taker)| (taker.rows, *id)).map(|(id, _)| id)
    }

    /// Whether a block of so many rows is for anyone, who may have two in hand.
    pub(crate) fn fits(&self, rows: Rows, level: Rows) -> bool {
        self.there().any(|(_, taker)| taker.rows + rows <= level)
    }

    /// How many rows each may have at most, if so many wait: all that there are, divided by all.
    pub(crate) fn level(&self, waiting: Rows) -> Rows {
        let rows: Rows = self.there().map(|(_, taker)| taker.rows).sum();
        Rows((rows + waiting).0 / (self.there().count() as u64).max(1))
    }

    /// Who has the fewest rows, and how many it lacks of `level`; none: nobody lacks any.
    pub(crate) fn behind(&self, level: Rows) -> Option<(u32, Rows)> {
        let (id, taker) = self.there().min_by_key(|(id, taker)| (taker.rows, *id))?;
        let lacks = level.saturating_sub(taker.rows);
        (lacks > Rows::ZERO).then_some((id, lacks))
    }

    /// How many rows must wait before a block of `rows` rows is for anyone.
    pub(crate) fn wanted(&self, rows: Rows) -> Rows {
        let least = self.there().map(|(_, taker)| taker.rows).min().unwrap_or(Rows::ZERO);
        let given: Rows = self.there().map(|(_, taker)| taker.rows).sum();
        let all = (least + rows).0.saturating_mul(self.there().count() as u64);
        Rows(all).saturating_sub(given)
    }

    /// Notes that the next `rows` rows, which are of one epoch, pass as the output of work `number`, or
    /// are its input: for a consumer, if all get equally many.
    pub(crate) fn pass(&mut self, number: u64, rows: Rows, epoch: Epoch, consumer: Option<u32>) {
        let at = self.next;
        let is_same = at.epoch == epoch;
        let epoch_row = if is_same { at.epoch_row } else { at.row };
        let at = OutputPlace { row: at.row, epoch, epoch_row };
        if let Some(consumer) = consumer {
            let counted = self.counted(at.row, rows);
            self.takers[consumer as usize].rows += counted;
        }
        self.passed.insert(number, Passed { consumer, rows_left: rows, at });
        self.next = OutputPlace { row: at.row + rows.0, ..at };
    }

    /// Where the first row of a block of the output belongs. Only of one without rows it may be forgotten.
    fn place(&self, queued: &Queued) -> OutputPlace {
        let passed = self.passed.get(&queued.at.number);
        passed.map_or(self.next, |Passed { at, .. }| OutputPlace {
            row: at.row + queued.at.row,
            ..*at
        })
    }

    /// Whose the next block of the output is; none: whoever it is has enough in hand.
    pub(crate) fn owner(&self, queued: &Queued) -> Option<u32> {
        let passed = self.passed.get(&queued.at.number);
        let Some(consumer) = passed.and_then(|passed| passed.consumer) else {
            return self.next(self.counted(self.place(queued).row, queued.rows), None);
        };
        let has = |in_hand: &&InHand| in_hand.consumer == consumer;
        let is_free =
            self.takers.len() == 1 || self.in_hand.values().filter(has).count() < IN_HAND_MAX;
        (is_free || self.is_gone(consumer)).then_some(consumer)
    }

    /// Notes that a block of the output is given to a consumer, or dropped since that is gone, and tells
    /// where its first row belongs.
    pub(crate) fn give(&mut self, consumer: u32, queued: Queued) -> OutputPlace {
        let at = self.place(&queued);
        let number = queued.at.number;
        let mut is_meant = false;
        if let Some(passed) = self.passed.get_mut(&number) {
            passed.rows_left = passed.rows_left.saturating_sub(queued.rows);
            is_meant = passed.consumer.is_some();
            if passed.rows_left == Rows::ZERO {
                self.passed.remove(&number);
            }
        }
        if !is_meant {
            let counted = self.counted(at.row, queued.rows);
            self.takers[consumer as usize].rows += counted;
        }
        if !self.is_gone(consumer) {
            self.hold(consumer, queued, at);
        }
        at
    }

    /// Notes that a block that had been given is in the output again, for anyone.
    pub(crate) fn take_back(&mut self, queued: &Queued, at: OutputPlace) {
        let first = OutputPlace { row: at.row - queued.at.row, ..at };
        let none = Passed { consumer: None, rows_left: Rows::ZERO, at: first };
        self.passed.entry(queued.at.number).or_insert(none).rows_left += queued.rows;
    }

    /// Notes that a consumer has a block in hand.
    pub(crate) fn hold(&mut self, consumer: u32, queued: Queued, at: OutputPlace) {
        self.in_hand.insert(queued.block, InHand { consumer, queued, at });
    }

    /// Notes that a block is in nobody's hand any more.
    pub(crate) fn release(&mut self, block: BlockId) {
        self.in_hand.remove(&block);
    }

    /// Who waits for what takes the place of a block, and where that is in the queue. What comes after
    /// `rows` more is behind it.
    pub(crate) fn replace(&mut self, lost: BlockId, rows: Rows) -> Option<InHand> {
        let in_hand = self.in_hand.get_mut(&lost)?;
        let now = *in_hand;
        in_hand.queued.at = in_hand.queued.at.after(rows);
        in_hand.at.row += rows.0;
        Some(now)
    }

    /// Forgets all blocks at the end of a run.
    pub(crate) fn clear(&mut self) {
        self.passed.clear();
        self.in_hand.clear();
    }
}

/// The block that a consumer works on, and the one that waits for it.
const IN_HAND_MAX: usize = 2;
