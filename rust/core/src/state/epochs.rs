//! Epochs: which work is of which, and which of them are over.
//!
//! An epoch is over when all its units have begun and no lineage of it is left: then nothing that
//! follows from them waits, runs, lies in a store or could be made again. So all that is kept of an
//! epoch is the count of its records, while it has any.

use crate::operators::source::listing::Listing;
use crate::state::State;
use crate::units::{BlockId, Epoch};

impl State {
    /// The epoch of a unit of a source.
    pub(crate) fn epoch_of_unit(&self, unit: u64) -> Epoch {
        let epoch = unit.checked_div(self.plan.config().epoch_units).unwrap_or(0);
        Epoch(u32::try_from(epoch).unwrap_or(u32::MAX))
    }

    /// How many units there are from one up to the end of its epoch.
    pub(crate) fn units_to_epoch_end(&self, unit: u64) -> u64 {
        let units = self.plan.config().epoch_units;
        unit.checked_rem(units).map_or(u64::MAX, |before| units - before)
    }

    /// The epoch of a block.
    pub(crate) fn epoch_of(&self, block: BlockId) -> Epoch {
        let block = &self.blocks[&block];
        self.lineage.epoch(block.producer, block.at.number)
    }

    /// The epoch to commit next, if it is over.
    pub(crate) fn epoch_over(&self) -> Option<Epoch> {
        let next = self.epochs_committed;
        let end = (u64::from(next.0) + 1).saturating_mul(self.plan.config().epoch_units);
        let has_begun = || self.ops.iter().all(|op| op.is_ended_early || op.listing.has_begun(end));
        let is_over = !self.are_epochs_committed() && !self.lineage.has_epoch(next) && has_begun();
        is_over.then_some(next)
    }

    /// Whether there is none left to commit.
    pub(crate) fn are_epochs_committed(&self) -> bool {
        let (units, committed) =
            (self.plan.config().epoch_units, u64::from(self.epochs_committed.0));
        let is_through =
            |listing: &Listing| !listing.is_open() && listing.listed().div_ceil(units) <= committed;
        units == 0 || self.ops.iter().all(|op| is_through(&op.listing))
    }
}
