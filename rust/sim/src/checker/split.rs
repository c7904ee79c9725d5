//! Several consumers: who has what, and whether it is fair.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

use millstream_core::{BlockId, OutputPlace, Snapshot};

use crate::checker::actions::ensure;
use crate::checker::coverage::Coverage;
use crate::checker::{BlockBook, Checker, Finding, Place};
use crate::rows::Content;

/// The consumers.
#[derive(Clone, Debug)]
pub(super) struct Takers {
    all: Vec<Taker>,
    /// Who has a block in hand, or waits for what takes its place.
    hands: BTreeMap<BlockId, u32>,
    /// Rows that one gave back and others have not got.
    returned: Coverage,
    /// Whether some rows have come out of their turn.
    has_returned: bool,
    /// Rows that were dropped up to the last turn.
    rows_dropped_before: u64,
    /// Of which epoch the rows are that begin one.
    epochs: BTreeMap<u64, u64>,
}

#[derive(Clone, Debug, Default)]
struct Taker {
    rows: u64,
    /// The row after the last that it was given.
    end: u64,
    is_gone: bool,
}

impl Takers {
    pub(super) fn new(count: u32) -> Self {
        Self {
            all: (0..count).map(|_| Taker::default()).collect(),
            hands: BTreeMap::new(),
            returned: Coverage::default(),
            has_returned: false,
            rows_dropped_before: 0,
            epochs: BTreeMap::new(),
        }
    }

    pub(super) fn release(&mut self, block: BlockId) {
        self.hands.remove(&block);
    }

    /// Whether rows were given back before, and so are out already.
    pub(super) fn take_returned(&mut self, rows: &Content) -> bool {
        let is_returned = rows.rows() > 0 && self.returned.has_all(rows);
        if is_returned {
            self.returned.remove(rows);
        }
        is_returned
    }

    fn has_gone(&self) -> bool {
        self.all.iter().any(|taker| taker.is_gone)
    }

    fn there(&self) -> impl Iterator<Item = &Taker> {
        self.all.iter().filter(|taker| !taker.is_gone)
    }
}

impl Checker<'_> {
    /// Whether a block is told to be where its rows belong.
    pub(super) fn check_place(
        &mut self,
        rows: &Content,
        at: OutputPlace,
        epoch: u64,
    ) -> Result<(), Finding> {
        if !self.scenario.is_split() {
            ensure!(at == OutputPlace::default(), "protocol", "it has the place {at:?}");
            return Ok(());
        }
        if rows.rows() == 0 || !self.scenario.plan.config().preserve_order {
            return Ok(());
        }
        ensure!(at.row == rows.first(), "I9", "it is told to begin with row {}", at.row);
        ensure!(u64::from(at.epoch.0) == epoch, "epochs", "it is of epoch {epoch}");
        let begun = self.takers.epochs.entry(at.epoch_row).or_insert(epoch);
        ensure!(at.epoch_row <= at.row, "epochs", "{at:?} is before its epoch");
        let is_known = *begun == epoch;
        let mut between = self.takers.epochs.range((Excluded(at.epoch_row), Included(at.row)));
        ensure!(is_known && between.next().is_none(), "epochs", "{at:?} is not of epoch {epoch}");
        Ok(())
    }

    /// Whether a consumer may get a block.
    pub(super) fn check_taker(
        &mut self,
        id: BlockId,
        consumer: u32,
        rows: &Content,
        at: OutputPlace,
    ) -> Result<(), Finding> {
        let counted = self.scenario.rows_counted(at.row, rows.rows());
        let is_ordered = self.scenario.plan.config().preserve_order && !self.takers.has_returned;
        let takers = &mut self.takers;
        let held = takers.hands.values().filter(|holder| **holder == consumer).count();
        let is_split = takers.all.len() > 1;
        let Some(taker) = takers.all.get_mut(consumer as usize) else {
            return Err(("protocol", "there is no such consumer".to_owned()));
        };
        ensure!(!taker.is_gone, "protocol", "consumer {consumer} is gone");
        ensure!(!is_split || held < 2, "protocol", "consumer {consumer} has {held} blocks");
        let is_next = rows.rows() == 0 || rows.first() >= taker.end;
        ensure!(!is_ordered || is_next, "I9", "consumer {consumer} had row {} before", taker.end);
        taker.end = rows.stretches().last().map_or(taker.end, |last| last.end);
        taker.rows += counted;
        takers.hands.insert(id, consumer);
        Ok(())
    }

    /// Whether it is the consumer that found a block gone that gets what takes its place.
    pub(super) fn check_taker_of_lost(
        &mut self,
        id: BlockId,
        lost: BlockId,
        consumer: u32,
    ) -> Result<(), Finding> {
        let holder = self.takers.hands.get(&lost).copied();
        ensure!(holder == Some(consumer), "protocol", "{holder:?} waits for {lost}");
        self.takers.hands.insert(id, consumer);
        Ok(())
    }

    /// A consumer takes nothing more: what it has goes to the others, or to nobody.
    pub(super) fn note_consumer_gone(&mut self, consumer: u32) {
        let is_equal = self.scenario.is_split_equally();
        let taker = self.takers.all.get_mut(consumer as usize);
        let Some(taker) = taker.filter(|taker| !taker.is_gone && !self.is_stopped) else { return };
        taker.is_gone = true;
        if self.takers.there().next().is_none() {
            self.is_stopped = true;
            return;
        }
        let hands = std::mem::take(&mut self.takers.hands);
        let (had, kept) = hands.into_iter().partition(|(_, holder)| *holder == consumer);
        self.takers.hands = kept;
        let had: BTreeMap<BlockId, u32> = had;
        for id in had.into_keys() {
            self.note_returned(id, is_equal);
        }
    }

    fn note_returned(&mut self, id: BlockId, is_equal: bool) {
        if let Some((producer, waited)) = self.replacements.remove(&id) {
            self.return_rows(producer, &waited, is_equal);
        }
        let Some(book) = self.blocks.get_mut(&id).filter(|book| book.place == Place::Emitted)
        else {
            return;
        };
        book.place = if is_equal { Place::Useless } else { Place::Queued };
        let (producer, content) = (book.producer, book.content.clone());
        self.return_rows(producer, &content, is_equal);
    }

    fn return_rows(&mut self, producer: usize, content: &Content, is_equal: bool) {
        if is_equal {
            return;
        }
        self.takers.has_returned = true;
        if let Some((_, rows)) = self.rows.arriving(producer, content, None) {
            self.takers.returned.add(&rows).expect("because rows are in one hand");
        }
    }

    /// Whether a block may be dropped that no consumer can have, since there are not enough for all.
    pub(super) fn is_left_over(&self, block: &BlockBook) -> bool {
        let left = block.content.rows() - block.taken;
        let is_for_nobody = block.place != Place::Emitted || self.takers.there().count() == 0;
        let has_gone = self.takers.has_gone();
        let has_left_out = !self.scenario.rows_left_out().is_empty();
        self.scenario.is_split_equally()
            && self.is_output(block)
            && is_for_nobody
            && (has_gone || has_left_out || left < self.takers.all.len() as u64)
    }

    fn is_output(&self, block: &BlockBook) -> bool {
        self.rows.arriving(block.producer, &block.content, None).is_some()
    }

    /// Whether the output is without gaps at each moment. What is dropped with a consumer leaves one.
    pub(super) fn is_output_in_order(&self) -> bool {
        let has_gaps = self.scenario.is_split_equally() && self.takers.has_gone();
        self.scenario.plan.config().preserve_order && !has_gaps
    }

    /// Only where all get equally many rows are some dropped, and at most fewer than there are consumers,
    /// while all of them stay.
    pub(super) fn check_dropped(&mut self, snapshot: &Snapshot) -> Result<(), Finding> {
        let dropped = snapshot.rows_dropped - self.takers.rows_dropped_before;
        self.takers.rows_dropped_before = snapshot.rows_dropped;
        if dropped == 0 {
            return Ok(());
        }
        let count = self.takers.all.len() as u64;
        let has_gone = self.takers.has_gone();
        ensure!(self.scenario.is_split_equally(), "I9", "rows were dropped");
        ensure!(
            has_gone || self.is_stopped || snapshot.rows_dropped < count,
            "I9",
            "{} rows were dropped, which is enough for all",
            snapshot.rows_dropped
        );
        self.note_left_over(dropped);
        Ok(())
    }

    /// What is not enough for all is dropped out of a block that some work may read still: nobody
    /// waits for that part any more.
    fn note_left_over(&mut self, dropped: u64) {
        let waits = |block: &BlockBook| block.place == Place::Queued && self.is_output(block);
        let waiting = || self.blocks.iter().filter(|(_, block)| waits(block));
        let Some((id, cut)) = waiting().find(|(_, block)| block.taken > 0) else { return };
        let left = cut.content.rows() - cut.taken;
        let is_last = waiting().all(|(other, block)| other == id || block.producer != cut.producer);
        // What does not count is not told to be dropped.
        let is_whole = self.scenario.rows_left_out().is_empty();
        let is_known = match (is_whole, self.takers.has_gone()) {
            (true, false) => left == dropped,
            (true, true) => is_last && left <= dropped,
            (false, _) => is_last,
        };
        let id = *id;
        if let Some(block) = self.blocks.get_mut(&id).filter(|_| is_known) {
            (block.taken, block.place) = (block.content.rows(), Place::Input);
        }
    }

    /// All consumers that stayed got equally many rows, as many as there are for all.
    pub(super) fn check_equal_output(&self) -> Result<(), Finding> {
        let rows: Vec<u64> = self.takers.there().map(|taker| taker.rows).collect();
        let (least, most) = (rows.iter().min(), rows.iter().max());
        ensure!(least == most, "I9", "the consumers got {rows:?} rows");
        let count = self.takers.all.len() as u64;
        if rows.len() as u64 == count {
            let out: u64 = rows.iter().sum();
            let total = self.scenario.rows_counted(0, self.rows.total());
            ensure!(out == total / count * count, "I9", "{out} of {total} rows are out to {count}");
        }
        Ok(())
    }
}
