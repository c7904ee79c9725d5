//! Which rows a block holds, so that "each row once, in order" can be checked.
//!
//! The rows that an operator puts out over the whole run are numbered from zero in the order of the
//! source units. A block is then a list of stretches of such numbers. Knows nothing of time.

use millstream_core::{OpKind, Plan};

use serde::{Deserialize, Serialize};

use crate::random::scaled;
use crate::recorded::Recorded;

/// Consecutive rows: `first` and those after it, up to but not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first row.
    pub first: u64,
    /// The row after the last.
    pub end: u64,
}

/// The rows of a block or of a task's whole output, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(Vec<Stretch>);

impl Content {
    /// One stretch.
    #[must_use]
    pub fn of(first: u64, end: u64) -> Self {
        let mut content = Self::default();
        content.push(Stretch { first, end });
        content
    }

    /// The stretches, none of them empty.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.0
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.iter().map(|stretch| stretch.end - stretch.first).sum()
    }

    /// The first row; zero if there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.first().map_or(0, |stretch| stretch.first)
    }

    /// Adds rows at the end.
    pub fn push(&mut self, stretch: Stretch) {
        if stretch.first == stretch.end {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.end == stretch.first => last.end = stretch.end,
            _ => self.0.push(stretch),
        }
    }

    /// Adds all rows of `other` at the end.
    pub fn append(&mut self, other: &Self) {
        for stretch in &other.0 {
            self.push(*stretch);
        }
    }

    /// Whether both have some row.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.first < b.end && b.first < a.end))
    }

    /// `count` rows from position `skip` on, or fewer where there are not so many.
    #[must_use]
    pub fn part(&self, skip: u64, count: u64) -> Self {
        let (mut skip, mut count) = (skip, count);
        let mut part = Self::default();
        for stretch in &self.0 {
            let length = stretch.end - stretch.first;
            let first = stretch.first + skip.min(length);
            let end = first + count.min(stretch.end - first);
            part.push(Stretch { first, end });
            skip -= skip.min(length);
            count -= end - first;
        }
        part
    }
}

/// How many rows come out for the rows that go in: `out` for each `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRatio {
    /// Rows out.
    pub out: u64,
    /// Rows in.
    pub per: u64,
}

impl RowRatio {
    /// As many out as in.
    pub const ONE: Self = Self { out: 1, per: 1 };

    fn before(self, row: u64) -> u64 {
        scaled(row, self.out, self.per)
    }
}

/// Which rows an operator puts out for those that go in.
#[derive(Clone, Debug)]
pub enum RowFlow {
    /// By a rule.
    Ratio(RowRatio),
    /// As it did before.
    Recorded(Recorded),
}

impl RowFlow {
    fn before(&self, row: u64) -> u64 {
        match self {
            Self::Ratio(ratio) => ratio.before(row),
            Self::Recorded(recorded) => recorded.rows_before(row),
        }
    }
}

/// The rows of every operator of a plan.
#[derive(Clone, Debug)]
pub struct RowMap {
    unit_ends: Vec<u64>,
    flows: Vec<RowFlow>,
}

impl RowMap {
    /// `unit_rows`: the rows of each source unit; `flows`: one for each operator, unused for the
    /// source.
    #[must_use]
    pub fn new(unit_rows: &[u64], flows: Vec<RowFlow>) -> Self {
        let ends = unit_rows.iter().scan(0, |end, rows| {
            *end += rows;
            Some(*end)
        });
        Self { unit_ends: ends.collect(), flows }
    }

    /// What the source puts out for `count` units from `first` on.
    #[must_use]
    pub fn of_units(&self, first: u64, count: u64) -> Content {
        Content::of(self.unit_start(first), self.unit_start(first + count))
    }

    /// What operator `op` puts out for `input`.
    #[must_use]
    pub fn of_input(&self, op: usize, input: &Content) -> Content {
        let flow = &self.flows[op];
        let mut output = Content::default();
        for stretch in input.stretches() {
            let (first, end) = (flow.before(stretch.first), flow.before(stretch.end));
            output.push(Stretch { first, end });
        }
        output
    }

    /// How many rows the last operator of `plan` puts out in all.
    #[must_use]
    pub fn total(&self, plan: &Plan) -> u64 {
        let source = self.unit_ends.last().copied().unwrap_or(0);
        let maps = plan.ops().iter().enumerate();
        maps.filter(|(_, op)| !matches!(op.kind, OpKind::Source { .. }))
            .fold(source, |rows, (position, _)| self.flows[position].before(rows))
    }

    fn unit_start(&self, unit: u64) -> u64 {
        let unit = usize::try_from(unit).expect("because units are counted in memory");
        if unit == 0 { 0 } else { self.unit_ends[unit - 1] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_and_parts_cut_across_them() {
        let mut content = Content::of(0, 3);
        content.append(&Content::of(3, 5));
        content.append(&Content::of(9, 12));
        assert_eq!(content.stretches().len(), 2);
        assert_eq!(content.rows(), 8);
        let part = content.part(4, 2);
        assert_eq!(part.stretches(), [Stretch { first: 4, end: 5 }, Stretch { first: 9, end: 10 }]);
        assert_eq!(content.part(7, 100).rows(), 1);
    }

    #[test]
    fn outputs_of_neighbours_are_neighbours() {
        let map = RowMap::new(
            &[4, 0, 7],
            vec![RowFlow::Ratio(RowRatio::ONE), RowFlow::Ratio(RowRatio { out: 2, per: 3 })],
        );
        let first = map.of_input(1, &map.of_units(0, 2));
        let mut both = first.clone();
        both.append(&map.of_input(1, &map.of_units(2, 1)));
        assert_eq!(first.rows(), 2);
        assert_eq!(both.stretches(), [Stretch { first: 0, end: 7 }]);
    }
}
