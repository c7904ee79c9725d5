//! Exchanges as the oracles see them: the reduce side begins when the map side has ended, and each
//! partition is read by one piece of work, after those before it.

use std::collections::BTreeSet;

use millstream_core::OpKind;

use crate::checker::actions::ensure;
use crate::checker::{Checker, Finding};
use crate::rows::Content;

impl Checker<'_> {
    /// Judges new work of the reduce side of an exchange.
    pub(super) fn check_partition(&mut self, op: usize, input: &Content) -> Result<(), Finding> {
        if self.scenario.plan.ops()[op].kind != OpKind::Gather {
            return Ok(());
        }
        self.check_map_side(op)?;
        let partitions: BTreeSet<u32> = self.rows.partitions(op, input);
        ensure!(partitions.len() <= 1, "exchange", "it has rows of partitions {partitions:?}");
        let Some(partition) = partitions.first().copied() else { return Ok(()) };
        let last = self.partitions_begun.insert(op, partition);
        ensure!(
            last.is_none_or(|last| last < partition),
            "exchange",
            "partition {partition} comes after {last:?}"
        );
        Ok(())
    }

    pub(super) fn is_scatter(&self, op: usize) -> bool {
        matches!(self.scenario.plan.ops()[op].kind, OpKind::Scatter { .. })
    }

    /// Whether the map side that operator `op` reads has dealt out all its rows, and all are there.
    fn check_map_side(&self, op: usize) -> Result<(), Finding> {
        let scatter = self.scenario.plan.ops()[op].inputs[0].0 as usize;
        let mut rows = 0;
        for (key, work) in self.works.range((scatter, 0, 0)..(scatter + 1, 0, 0)) {
            ensure!(work.is_done, "exchange", "work {} of the map side is not done", key.1);
            rows += work.output.rows();
        }
        let total = self.rows.total_of_input(op, 0);
        ensure!(rows == total, "exchange", "{rows} of {total} rows are dealt out");
        let missing = &self.missing[scatter];
        ensure!(missing.is_empty(), "exchange", "rows of the map side are lost: {missing:?}");
        Ok(())
    }
}
