//! What lost blocks can be made again from.
//!
//! Owns, for each piece of work whose output is still of use to somebody, what it read. A record goes
//! when the last block that follows from it is gone, so what is kept grows with the blocks that
//! exist and not with the work that was done. Knows nothing of tasks, nodes or bytes.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::table::Table;
use crate::units::{Epoch, OpId, Rows};

/// Consecutive rows of what one piece of work puts out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowRange {
    pub(crate) op: OpId,
    /// The number of the work in its operator.
    pub(crate) number: u64,
    /// The first row, counted from the first that the work puts out.
    pub(crate) row: u64,
    pub(crate) rows: Rows,
}

impl RowRange {
    fn is_continued_by(&self, next: &Self) -> bool {
        (self.op, self.number, self.row + self.rows.0) == (next.op, next.number, next.row)
    }
}

/// What a piece of work read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Consecutive units of a source, which can always be read again.
    Units { first: u64, count: u64 },
    /// Consecutive rows of one piece of work.
    Range(RowRange),
    /// Rows from several places, in this order.
    Ranges(Box<[RowRange]>),
}

impl Origin {
    /// The rows of some blocks. Those without rows, which only tell of a schema, are left out.
    pub(crate) fn of_blocks(blocks: impl Iterator<Item = RowRange>) -> Self {
        let mut blocks = blocks.filter(|range| range.rows > Rows::ZERO);
        let Some(mut last) = blocks.next() else { return Self::Ranges(Box::default()) };
        let mut ranges: Vec<RowRange> = Vec::new();
        for next in blocks {
            if last.is_continued_by(&next) {
                last.rows += next.rows;
            } else {
                ranges.push(core::mem::replace(&mut last, next));
            }
        }
        if ranges.is_empty() {
            return Self::Range(last);
        }
        ranges.push(last);
        Self::Ranges(ranges.into())
    }

    /// The rows that it is, where it is not units.
    pub(crate) fn ranges(&self) -> &[RowRange] {
        match self {
            Self::Units { .. } => &[],
            Self::Range(range) => core::slice::from_ref(range),
            Self::Ranges(ranges) => ranges,
        }
    }
}

#[derive(Clone, Debug)]
struct Record {
    origin: Origin,
    /// Units or rows that the work reads.
    items: u64,
    /// Blocks of its output, records that read it, and the work itself while it is not finished.
    uses: u32,
    /// That of the units from which it follows.
    epoch: Epoch,
}

/// All records, by operator and the number of the work.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    records: Vec<Table<u64, Record>>,
    /// How many there are of each epoch that has any.
    epochs: BTreeMap<Epoch, u64>,
}

impl Lineage {
    pub(crate) fn new(operators: usize) -> Self {
        let records = (0..operators).map(|_| Table::new()).collect();
        Self { records, epochs: BTreeMap::new() }
    }

    /// Notes a piece of work that begins. It counts as a use of itself until it is released.
    pub(crate) fn begin(
        &mut self,
        op: OpId,
        number: u64,
        origin: Origin,
        items: u64,
        epoch: Epoch,
    ) {
        for range in origin.ranges() {
            self.retain(range.op, range.number);
        }
        *self.epochs.entry(epoch).or_default() += 1;
        self.records[op.0 as usize].insert(number, Record { origin, items, uses: 1, epoch });
    }

    /// The epoch of a piece of work.
    pub(crate) fn epoch(&self, op: OpId, number: u64) -> Epoch {
        let record = self.records[op.0 as usize].get(&number);
        record.expect("because what is of use has a record").epoch
    }

    /// Whether anything of an epoch is still of use.
    pub(crate) fn has_epoch(&self, epoch: Epoch) -> bool {
        self.epochs.contains_key(&epoch)
    }

    /// What the work read, and of how many items.
    pub(crate) fn origin(&self, op: OpId, number: u64) -> (&Origin, u64) {
        let record =
            self.records[op.0 as usize].get(&number).expect("because what is of use has a record");
        (&record.origin, record.items)
    }

    pub(crate) fn retain(&mut self, op: OpId, number: u64) {
        let record = self.records[op.0 as usize].get_mut(&number);
        record.expect("because what is of use has a record").uses += 1;
    }

    /// Takes a use away, and the record with its last one.
    pub(crate) fn release(&mut self, op: OpId, number: u64) {
        let (mut next, mut released) = (Some((op, number)), Vec::new());
        while let Some((op, number)) = next.take().or_else(|| released.pop()) {
            let records = &mut self.records[op.0 as usize];
            let record = records.get_mut(&number).expect("because what is of use has a record");
            record.uses -= 1;
            if record.uses > 0 {
                continue;
            }
            let Some(Record { origin, epoch, .. }) = records.remove(&number) else { continue };
            self.leave_epoch(epoch);
            if let Some((first, others)) = origin.ranges().split_first() {
                next = Some((first.op, first.number));
                released.extend(others.iter().map(|range| (range.op, range.number)));
            }
        }
    }

    fn leave_epoch(&mut self, epoch: Epoch) {
        let left = self.epochs.get_mut(&epoch).expect("because each record is counted");
        *left -= 1;
        if *left == 0 {
            self.epochs.remove(&epoch);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.iter().all(Table::is_empty)
    }

    /// Forgets everything at the end of a run.
    pub(crate) fn clear(&mut self) {
        self.records.iter_mut().for_each(|records| *records = Table::new());
        self.epochs.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: OpId = OpId(0);
    const MAP: OpId = OpId(1);

    fn rows(number: u64, row: u64, rows: u64) -> RowRange {
        RowRange { op: READ, number, row, rows: Rows(rows) }
    }

    fn lineage() -> Lineage {
        let mut lineage = Lineage::new(2);
        lineage.begin(READ, 0, Origin::Units { first: 0, count: 1 }, 1, Epoch(0));
        lineage
    }

    #[test]
    fn neighbours_are_kept_as_one_and_empty_blocks_not_at_all() {
        let blocks = [rows(0, 0, 3), rows(0, 3, 2), rows(1, 0, 0), rows(2, 4, 1)];
        let expected = [rows(0, 0, 5), rows(2, 4, 1)];
        assert_eq!(Origin::of_blocks(blocks.into_iter()).ranges(), expected);
    }

    #[test]
    fn a_record_lives_as_long_as_something_that_follows_from_it() {
        let mut lineage = lineage();
        lineage.begin(MAP, 0, Origin::of_blocks([rows(0, 0, 2)].into_iter()), 2, Epoch(0));
        lineage.release(READ, 0);
        lineage.retain(MAP, 0);
        lineage.release(MAP, 0);
        assert!(!lineage.is_empty(), "a block of the map's output exists");
        lineage.release(MAP, 0);
        assert!(lineage.is_empty(), "the read goes with the last block that followed from it");
    }

    #[test]
    fn an_epoch_is_known_as_long_as_work_of_it_is_of_use() {
        let mut lineage = lineage();
        lineage.begin(READ, 1, Origin::Units { first: 1, count: 1 }, 1, Epoch(1));
        lineage.begin(READ, 2, Origin::Units { first: 2, count: 1 }, 1, Epoch(1));
        lineage.release(READ, 1);
        assert!(lineage.has_epoch(Epoch(0)) && lineage.has_epoch(Epoch(1)));
        lineage.release(READ, 2);
        assert!(lineage.has_epoch(Epoch(0)) && !lineage.has_epoch(Epoch(1)));
        assert_eq!(lineage.epoch(READ, 0), Epoch(0));
    }

    #[test]
    #[should_panic(expected = "what is of use has a record")]
    fn what_is_gone_cannot_be_used() {
        let mut lineage = lineage();
        lineage.release(READ, 0);
        lineage.retain(READ, 0);
    }
}
