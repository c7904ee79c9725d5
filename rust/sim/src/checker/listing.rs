//! Sources whose units are listed while they are read: what is known of each, and what may be asked for.

use millstream_core::{OpId, OpKind};

use crate::checker::actions::ensure;
use crate::checker::{Checker, Finding};
use crate::workload::Scenario;

/// What is known of the units of a source.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ListBook {
    /// Units that were reported, those at submit among them.
    pub(super) listed: u64,
    /// Whether more may come.
    pub(super) is_open: bool,
    /// How many there will be when the request that is under way is answered.
    asked_until: u64,
}

/// One for each operator.
pub(super) fn books(scenario: &Scenario) -> Vec<ListBook> {
    let plan = scenario.submitted();
    let book = |kind: &OpKind| match kind {
        OpKind::Source { units, is_open } => {
            ListBook { listed: units.len() as u64, is_open: *is_open, asked_until: 0 }
        }
        _ => ListBook::default(),
    };
    plan.ops().iter().map(|op| book(&op.kind)).collect()
}

impl Checker<'_> {
    pub(super) fn note_listed(&mut self, op: OpId, first: u64, units: u64) {
        let book = self.lists.get_mut(op.0 as usize);
        if let Some(book) = book.filter(|book| book.is_open && book.listed == first) {
            book.listed += units;
        }
    }

    pub(super) fn note_exhausted(&mut self, op: OpId) {
        if let Some(book) = self.lists.get_mut(op.0 as usize) {
            book.is_open = false;
        }
    }

    /// Whether more units may be asked for: of a list that is open, as long as anyone wants them, and
    /// once at a time.
    pub(super) fn check_extend(&mut self, op: OpId, first: u64, units: u64) -> Result<(), Finding> {
        ensure!(self.failure.is_none(), "I8", "asked for after the run failed");
        let at = op.0 as usize;
        let Some(book) = self.lists.get(at).copied().filter(|book| book.is_open) else {
            return Err(("protocol", "there is no such open list".to_owned()));
        };
        ensure!(units > 0, "protocol", "it asks for nothing");
        ensure!(book.listed == first, "protocol", "{} units are known", book.listed);
        ensure!(book.listed >= book.asked_until, "protocol", "a request is under way");
        ensure!(!self.is_unwanted(at), "protocol", "nobody wants more units");
        self.lists[at].asked_until = first + units;
        Ok(())
    }
}
