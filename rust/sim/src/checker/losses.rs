//! What losses mean for the books: which rows must be made again, and for whom.
//!
//! Thinks in rows, since an attempt may cut its blocks elsewhere.

use std::collections::BTreeMap;

use millstream_core::{BlockId, Rows};

use crate::checker::actions::ensure;
use crate::checker::{BlockBook, Checker, Finding, Place, WorkKey};
use crate::rows::Content;

impl Checker<'_> {
    /// A block is gone. A task that runs may have read it before.
    pub(super) fn note_block_lost(&mut self, id: BlockId) {
        let Some(book) = self.blocks.get_mut(&id) else { return };
        let place = std::mem::replace(&mut book.place, Place::Useless);
        if place == Place::Useless {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&book.node) {
            node.store_used -= book.bytes;
        }
        book.bytes = 0;
        let (producer, content) = (book.producer, book.content.clone());
        let left = content.part(book.taken, u64::MAX);
        for (key, part) in std::mem::take(&mut book.readers) {
            self.lost_input.entry(key).or_default().push((producer, part));
            if !self.works[&key].is_running {
                self.note_lost_input(key);
            }
        }
        match place {
            Place::Queued => {
                self.note_gone(producer, &left);
                self.note_missing(producer, &left);
            }
            Place::Emitted => {
                if content.rows() == 0 {
                    self.takers.release(id);
                } else {
                    self.replacements.insert(id, (producer, content.clone()));
                }
                self.note_missing(producer, &content);
            }
            Place::Replacing => {
                let waits =
                    |(op, waited): &(usize, Content)| *op == producer && waited.overlaps(&content);
                let lost = self.replacements.iter().find(|(_, waited)| waits(waited));
                let lost = *lost.expect("because the consumer waits for what is replaced").0;
                self.take_replacement(lost, &content);
                self.lost_in_hand.insert(id, lost);
                self.replacements.insert(id, (producer, content.clone()));
                self.note_missing(producer, &content);
            }
            Place::Input | Place::Useless => {}
        }
    }

    /// The attempt at a piece of work is over, so what it has lost of its input is needed again.
    pub(super) fn note_lost_input(&mut self, key: WorkKey) {
        let Some(lost) = self.lost_input.remove(&key) else { return };
        for (producer, content) in lost {
            self.note_missing(producer, &content);
        }
        // Without rows nothing is made again, and nothing is left to work on.
        let work = self.works.get_mut(&key).expect("because every input has its reader");
        if work.input.rows() == 0 && !has_input(&self.blocks, key) {
            work.is_done = true;
            work.is_over = true;
            work.is_guess_due = false;
            self.end_guess(key.0);
        }
    }

    /// Rows of an operator must be made again, and so must the input of the work that made them, if
    /// it was done with that. After a stop nothing is made again.
    fn note_missing(&mut self, op: usize, rows: &Content) {
        if self.is_stopped {
            return;
        }
        if self.is_unwanted(op) {
            // They may have been missing already when that was given up which needed them.
            self.missing[op].remove(rows);
        }
        self.missing[op].add(rows).expect("because rows are lost once before they are there again");
        for key in self.makers(op, rows) {
            let work = self.works.get_mut(&key).expect("because it was found there just now");
            if std::mem::take(&mut work.is_over) {
                (work.attempts, work.deaths) = (1, 0);
                for (producer, input) in self.sources_of(key) {
                    self.note_missing(producer, &input);
                }
            }
        }
    }

    /// Work that was given up, since nobody wants more of it, has lost some of its input. What was lost of
    /// its output in the same turn is wanted still, so that input is, too.
    pub(super) fn note_given_up(&mut self, key: WorkKey, producer: usize, input: &Content) {
        let work = self.works.get_mut(&key).expect("because every reader is known");
        work.is_over = !self.missing[key.0].has_any(&work.output);
        if !work.is_over {
            (work.attempts, work.deaths) = (1, 0);
            self.note_missing(producer, input);
        }
    }

    /// What a piece of work reads: whose output it is, and which rows of that.
    fn sources_of(&self, key: WorkKey) -> Vec<(usize, Content)> {
        let input = &self.works[&key].input;
        let is_cut = |limit: usize, rows: &Content| !self.makers(limit, rows).is_empty();
        let inputs = 0..self.rows.inputs(key.0);
        inputs.flat_map(|port| self.rows.upstream(key.0, port, input, &is_cut)).collect()
    }

    /// The work whose output has some of these rows.
    fn makers(&self, op: usize, rows: &Content) -> Vec<WorkKey> {
        let works = self.works.range((op, 0, 0)..(op + 1, 0, 0));
        works.filter(|(_, work)| work.output.overlaps(rows)).map(|(key, _)| *key).collect()
    }

    /// Rows exist again: where they are now, and which work reads them.
    pub(super) fn note_remade(
        &mut self,
        op: usize,
        rows: &Content,
    ) -> (Place, Vec<(WorkKey, Content)>) {
        self.missing[op].remove(rows);
        let waits = |(producer, lost): &(usize, Content)| *producer == op && lost.overlaps(rows);
        if self.replacements.values().any(waits) {
            return (Place::Replacing, Vec::new());
        }
        let reader = self.rows.next_readers(op).find_map(|reader| self.reader_of(op, rows, reader));
        match reader {
            Some(key) => (Place::Input, vec![(key, rows.clone())]),
            None => (Place::Queued, Vec::new()),
        }
    }

    /// The work of `reader` that has these rows of `op` as its input.
    fn reader_of(&self, op: usize, rows: &Content, reader: usize) -> Option<WorkKey> {
        let (_, rows) = self.rows.arriving(op, rows, Some(reader))?;
        let mut works = self.works.range((reader, 0, 0)..(reader + 1, 0, 0));
        works.find(|(_, work)| work.input.overlaps(&rows)).map(|(key, _)| *key)
    }

    /// Whether rows that are made again were lost, and are still of use.
    pub(super) fn check_remake(
        &self,
        key: WorkKey,
        skipped: Rows,
        wanted: Rows,
    ) -> Result<(), Finding> {
        let rows = self.works[&key].output.part(skipped.0, wanted.0);
        ensure!(
            wanted > Rows::ZERO && rows.rows() == wanted.0,
            "protocol",
            "there are no such rows"
        );
        ensure!(self.missing[key.0].has_all(&rows), "I9", "{:?} are not lost", rows.stretches());
        Ok(())
    }

    /// Whether a block has the next rows of the lost one in whose place it is emitted.
    pub(super) fn check_replacement(&mut self, id: BlockId, lost: BlockId) -> Result<(), Finding> {
        if self.lost_in_hand.remove(&id) == Some(lost) {
            return Ok(());
        }
        let Some((_, waited)) = self.replacements.get_mut(&lost) else {
            return Err(("I9", format!("the consumer does not wait for {lost}")));
        };
        let Some(block) = self.blocks.get_mut(&id) else {
            return Err(("I2", "it does not exist".to_owned()));
        };
        ensure!(block.place == Place::Replacing, "I2", "it is {:?}", block.place);
        let rows = block.content.rows();
        ensure!(waited.part(0, rows) == block.content, "I9", "{:?} come next", waited.stretches());
        block.place = Place::Emitted;
        let content = block.content.clone();
        self.take_replacement(lost, &content);
        Ok(())
    }

    /// The consumer gets rows that it waits for in the place of a lost block; not the next ones, if those
    /// before them are on their way.
    fn take_replacement(&mut self, lost: BlockId, rows: &Content) {
        let waited = self.replacements.get_mut(&lost);
        let (_, waited) = waited.expect("because the caller found it there");
        *waited = waited.without(rows);
        if waited.rows() == 0 {
            self.replacements.remove(&lost);
        }
    }

    /// What was made in the place of a lost block is emitted at once.
    pub(super) fn check_replaced(&self) -> Result<(), Finding> {
        let kept = self.blocks.iter().find(|(_, block)| block.place == Place::Replacing);
        let kept = kept.map(|(id, _)| id).or_else(|| self.lost_in_hand.keys().next());
        let Some(id) = kept.filter(|_| !self.is_stopped) else { return Ok(()) };
        Err(("I2", format!("{id} was made for the consumer, who did not get it")))
    }

    /// Whether all that was lost is there again.
    pub(super) fn check_nothing_missing(&self) -> Result<(), Finding> {
        for (op, missing) in self.missing.iter().enumerate() {
            let is_right = missing.is_empty() || self.is_unwanted(op);
            ensure!(is_right, "I9", "rows of operator {op} were lost: {missing:?}");
        }
        let lost = self.replacements.keys().next();
        ensure!(lost.is_none(), "I9", "the consumer waits in vain for {lost:?}");
        Ok(())
    }
}

fn has_input(blocks: &BTreeMap<BlockId, BlockBook>, key: WorkKey) -> bool {
    blocks.values().any(|book| book.readers.iter().any(|(reader, _)| *reader == key))
}
