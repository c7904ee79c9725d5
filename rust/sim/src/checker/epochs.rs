//! Epochs as the oracles see them: which work is of which, and whether all of one is done.

use std::collections::BTreeSet;

use millstream_core::{BlockId, Epoch, OpKind, Work};

use crate::checker::actions::ensure;
use crate::checker::coverage::Coverage;
use crate::checker::{BlockBook, Checker, Finding, Place};
use crate::rows::Content;

impl Checker<'_> {
    /// The epoch of new work, of which all that it works on must be.
    pub(super) fn epoch_of(&self, work: &Work) -> Result<u64, Finding> {
        let epochs: BTreeSet<u64> = match work {
            Work::Units { first, count } => {
                (*first..first + count).map(|unit| self.epoch_of_unit(unit)).collect()
            }
            Work::Blocks(_) | Work::Slices(_) => {
                let epoch = |id: BlockId| self.blocks.get(&id).map(|book| book.epoch);
                work.blocks().filter_map(epoch).collect()
            }
        };
        ensure!(epochs.len() <= 1 || !self.has_epochs(), "epochs", "it works on {epochs:?}");
        Ok(epochs.first().copied().unwrap_or(0))
    }

    /// Whether all that follows from the units of an epoch is there for good, and nothing of those
    /// before is missing.
    pub(super) fn check_commit(&mut self, epoch: Epoch) -> Result<(), Finding> {
        let epoch = u64::from(epoch.0);
        ensure!(self.failure.is_none(), "I8", "committed after the run failed");
        ensure!(epoch == self.epochs_committed, "epochs", "{} is next", self.epochs_committed);
        ensure!(epoch < self.epochs_total(), "epochs", "there are {} epochs", self.epochs_total());
        self.check_units_begun(epoch)?;
        self.check_works_done(epoch)?;
        let waiting = |book: &&BlockBook| book.epoch == epoch && book.place != Place::Useless;
        let left = self.blocks.values().find(waiting);
        ensure!(left.is_none(), "epochs", "a block of it exists: {left:?}");
        self.check_rows_out(epoch)?;
        self.epochs_committed += 1;
        Ok(())
    }

    /// At the end of a run that had all its rows, every epoch is committed.
    pub(super) fn check_all_committed(&self) -> Result<(), Finding> {
        let (committed, total) = (self.epochs_committed, self.epochs_total());
        // Of a list that nobody wants more of, nobody knows how long it is.
        let is_cut =
            self.scenario.listing.is_some() && (0..self.lists.len()).any(|op| self.is_unwanted(op));
        let begun = self.units_next.iter().map(|next| self.epochs_of(*next)).max().unwrap_or(0);
        let is_through = committed == total || (is_cut && (begun..total).contains(&committed));
        ensure!(is_through, "epochs", "{committed} of {total} were committed");
        Ok(())
    }

    fn check_units_begun(&self, epoch: u64) -> Result<(), Finding> {
        for (op, next) in self.units_next.iter().enumerate() {
            let (_, end) = self.units_of(op, epoch);
            let is_through = *next >= end || self.is_unwanted(op);
            ensure!(is_through, "epochs", "unit {next} of operator {op} was not read");
        }
        Ok(())
    }

    fn check_works_done(&self, epoch: u64) -> Result<(), Finding> {
        for (key, work) in self.works.iter().filter(|(_, work)| work.epoch == epoch) {
            let is_done = work.is_done && !self.missing[key.0].has_any(&work.output);
            ensure!(
                !work.is_running && (is_done || self.is_unwanted(key.0)),
                "epochs",
                "work {} of operator {} is not done",
                key.1,
                key.0
            );
        }
        Ok(())
    }

    /// Whether the rows that the units of an epoch become have been written and are out. Where a limit
    /// takes any rows, nobody knows which.
    fn check_rows_out(&self, epoch: u64) -> Result<(), Finding> {
        let sink = self.sink();
        let mut written = Coverage::default();
        let sinks = self.works.iter().filter(|(key, work)| Some(key.0) == sink && work.is_done);
        for (_, work) in sinks {
            written.add(&work.input).expect("because each row is the input of one piece of work");
        }
        for op in 0..self.units_next.len() {
            let (first, end) = self.units_of(op, epoch);
            let rows = self.rows.of_units(op, first, end - first);
            let is_out = |rows: Option<Content>, to: &Coverage| rows.is_none_or(|r| to.has_all(&r));
            ensure!(
                sink.is_none() || is_out(self.rows.reaching(op, &rows, sink), &written),
                "epochs",
                "not all rows of source {op} are written"
            );
            // What is left over of equal parts is dropped, and counts as done.
            ensure!(
                self.scenario.is_split_equally()
                    || is_out(self.rows.reaching(op, &rows, None), &self.output),
                "epochs",
                "not all rows of source {op} are out"
            );
        }
        Ok(())
    }

    fn sink(&self) -> Option<usize> {
        let ops = self.scenario.plan.ops();
        ops.iter().position(|op| matches!(op.kind, OpKind::Sink))
    }

    fn has_epochs(&self) -> bool {
        self.epoch_units() > 0
    }

    fn epoch_units(&self) -> u64 {
        self.scenario.plan.config().epoch_units
    }

    fn epoch_of_unit(&self, unit: u64) -> u64 {
        if self.has_epochs() { unit / self.epoch_units() } else { 0 }
    }

    fn epochs_total(&self) -> u64 {
        let units = self.scenario.unit_rows.iter().map(|units| units.len() as u64);
        units.map(|units| self.epochs_of(units)).max().unwrap_or(0)
    }

    fn epochs_of(&self, units: u64) -> u64 {
        if self.has_epochs() { units.div_ceil(self.epoch_units()) } else { 0 }
    }

    /// The units of an operator that are of an epoch: the first, and the one after the last.
    fn units_of(&self, op: usize, epoch: u64) -> (u64, u64) {
        let units = self.scenario.unit_rows[op].len() as u64;
        let unit = |epoch: u64| (epoch * self.epoch_units()).min(units);
        (unit(epoch), unit(epoch + 1))
    }
}
