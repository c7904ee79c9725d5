//! Several consumers that share the output: who holds what, and who gets what comes next.
//!
//! Owns the rule. A consumer has two blocks in hand at most, so a slow one keeps nobody waiting; what
//! comes goes to the one with the fewest rows. Knows nothing of queues or tasks.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::queue::Queued;
use crate::units::{BlockId, Rows};

/// The consumers of a run.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Whether all get equally many rows.
    pub(crate) is_equal: bool,
    takers: Vec<Taker>,
    /// By the number of the work that passes it, or makes it: what is meant for whom and has not been
    /// given. Only where all get equally many.
    meant: BTreeMap<u64, Meant>,
    /// Blocks in the consumers' hands, lost ones too that they wait for.
    held: BTreeMap<BlockId, Held>,
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
struct Meant {
    consumer: u32,
    rows_left: Rows,
}

/// A block in a consumer's hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) consumer: u32,
    /// As it was in the queue, from which another consumer would get it.
    pub(crate) queued: Queued,
}

impl Split {
    pub(crate) fn new(consumers: u32, is_equal: bool) -> Self {
        Self {
            is_equal,
            takers: (0..consumers).map(|_| Taker::default()).collect(),
            meant: BTreeMap::new(),
            held: BTreeMap::new(),
            rows_dropped: Rows::ZERO,
        }
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
    pub(crate) fn leave(&mut self, consumer: u32) -> Vec<(BlockId, Held)> {
        self.takers[consumer as usize].is_gone = true;
        let has = |(_, held): &(&BlockId, &Held)| held.consumer == consumer;
        let mut held: Vec<(BlockId, Held)> =
            self.held.iter().filter(has).map(|(id, held)| (*id, *held)).collect();
        held.sort_by_key(|(_, held)| held.queued.at);
        held
    }

    pub(crate) fn are_all_gone(&self) -> bool {
        self.there().next().is_none()
    }

    fn is_free(&self, consumer: u32) -> bool {
        let held = self.held.values().filter(|held| held.consumer == consumer).count();
        let meant = self.meant.values().filter(|meant| meant.consumer == consumer).count();
        held + meant < HELD_MAX
    }

    /// Who gets the next block of so many rows. Up to `level` rows, where all get equally many.
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

    /// Notes that what work `number` passes or makes is meant for a consumer.
    pub(crate) fn mean(&mut self, number: u64, consumer: u32, rows: Rows) {
        self.takers[consumer as usize].rows += rows;
        self.meant.insert(number, Meant { consumer, rows_left: rows });
    }

    /// Whose the next block of the output is; none: whoever it is has enough in hand.
    pub(crate) fn owner(&self, queued: &Queued) -> Option<u32> {
        let Some(meant) = self.meant.get(&queued.at.number) else {
            return self.next(queued.rows, None);
        };
        let has = |held: &&Held| held.consumer == meant.consumer;
        let is_free = self.held.values().filter(has).count() < HELD_MAX;
        (is_free || self.is_gone(meant.consumer)).then_some(meant.consumer)
    }

    /// Notes that a block of the output is given to a consumer, or dropped since that is gone.
    pub(crate) fn give(&mut self, consumer: u32, queued: Queued) {
        let number = queued.at.number;
        match self.meant.get_mut(&number) {
            Some(meant) => {
                meant.rows_left = meant.rows_left.saturating_sub(queued.rows);
                if meant.rows_left == Rows::ZERO {
                    self.meant.remove(&number);
                }
            }
            None => self.takers[consumer as usize].rows += queued.rows,
        }
        if !self.is_gone(consumer) {
            self.hold(consumer, queued);
        }
    }

    /// Notes that a consumer has a block in hand.
    pub(crate) fn hold(&mut self, consumer: u32, queued: Queued) {
        self.held.insert(queued.block, Held { consumer, queued });
    }

    /// Notes that a block is in nobody's hand any more.
    pub(crate) fn release(&mut self, block: BlockId) {
        self.held.remove(&block);
    }

    /// Who waits for what takes the place of a block, and where that is in the queue. What comes after
    /// `rows` more is behind it.
    pub(crate) fn replace(&mut self, lost: BlockId, rows: Rows) -> Option<Held> {
        let held = self.held.get_mut(&lost)?;
        let now = *held;
        held.queued.at = held.queued.at.after(rows);
        Some(now)
    }

    /// Forgets all blocks at the end of a run.
    pub(crate) fn clear(&mut self) {
        self.meant.clear();
        self.held.clear();
    }
}

/// The block that a consumer works on, and the one that waits for it.
const HELD_MAX: usize = 2;
