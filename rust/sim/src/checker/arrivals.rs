//! Which rows have come to limits, and so what is above them of no more use.

use crate::checker::Checker;
use crate::checker::coverage::Coverage;
use crate::rows::Content;

/// What has come to a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    rows: Coverage,
    /// In the last turn and since.
    fresh: Vec<Content>,
    /// Those that it let pass in earlier turns, so that their loss brings none of them back.
    passed: Coverage,
}

impl Arrivals {
    /// How many rows have come that the limit can let pass.
    pub(super) fn passing(&self, in_order: bool) -> u64 {
        if in_order { self.rows.prefix() } else { self.rows.rows() }
    }

    fn add(&mut self, rows: &Content) {
        if !self.rows.has_any(rows) {
            self.rows.add(rows).expect("because none of them was there");
            self.fresh.push(rows.clone());
        }
    }

    fn lose(&mut self, rows: &Content) {
        if !self.passed.has_any(rows) {
            self.rows.remove(rows);
            self.fresh.retain(|fresh| !fresh.overlaps(rows));
        }
    }

    /// Lets pass what has come: in order, what has come without a gap.
    fn settle(&mut self, in_order: bool) {
        let prefix = self.rows.prefix();
        let (passed, fresh) = std::mem::take(&mut self.fresh)
            .into_iter()
            .partition(|rows: &Content| !in_order || rows.first() < prefix);
        self.fresh = fresh;
        let passed: Vec<Content> = passed;
        for rows in passed {
            self.passed.add(&rows).expect("because rows pass once");
        }
    }
}

impl Checker<'_> {
    /// Notes rows that come to limits before any operator works on them. A part that a limit cuts
    /// came as part of the whole block.
    pub(super) fn note_arrival(&mut self, producer: usize, content: &Content) {
        self.at_limits(producer, content, Arrivals::add);
    }

    /// Notes that rows are gone that may not have passed the limits that they came to.
    pub(super) fn note_gone(&mut self, producer: usize, content: &Content) {
        self.at_limits(producer, content, Arrivals::lose);
    }

    pub(super) fn settle_arrivals(&mut self) {
        for (limit, arrivals) in &mut self.arrivals {
            let in_order = self.rows.limit(*limit).is_some_and(|(_, in_order)| in_order);
            arrivals.settle(in_order);
        }
    }

    fn at_limits(
        &mut self,
        producer: usize,
        content: &Content,
        change: fn(&mut Arrivals, &Content),
    ) {
        if self.rows.passes(producer) {
            return;
        }
        for limit in self.rows.limits_below(producer) {
            if let Some((_, rows)) = self.rows.arriving(producer, content, Some(limit)) {
                change(self.arrivals.entry(limit).or_default(), &rows);
            }
        }
    }
}
