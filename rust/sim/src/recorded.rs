//! What an operator did in a recorded run: how long it worked on each item, and what came out.
//!
//! Owns the table and how it is read between its points. Knows nothing of where it comes from.

use millstream_core::Span;
use serde::{Deserialize, Serialize};

use crate::random::scaled;
use crate::rows::Content;

/// The sums over all items before one, items being units for a source and rows of input for any
/// other operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// The item.
    pub item: u64,
    /// Rows that came out for those before it.
    pub rows: u64,
    /// How long they took.
    pub busy: Span,
}

/// The sum over all rows that came out before one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// The row.
    pub row: u64,
    /// The bytes of those before it.
    pub bytes: u64,
}

/// What an operator did in a recorded run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// In the order of the items; the first one is all zeros. Between two, all grow evenly.
    pub points: Vec<Point>,
    /// In the order of the rows, at the ends of blocks; between two, bytes grow evenly.
    pub sizes: Vec<Size>,
    /// The size at which workers cut blocks.
    pub cut_bytes: u64,
    /// How long a task works, whatever its items.
    pub task: Span,
    /// What it takes beyond its work.
    pub beyond_work: BeyondWork,
}

/// What a task takes beyond its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeyondWork {
    /// However much it puts out.
    pub call: Span,
    /// For each million bytes that it puts out, beside that.
    pub hand_over: Span,
}

impl BeyondWork {
    /// What a task takes that puts out so many bytes.
    #[must_use]
    pub fn for_bytes(&self, bytes: u64) -> Span {
        self.call + Span(scaled(self.hand_over.0, bytes, MILLION))
    }
}

impl Recorded {
    /// The rows that come out for the items before one.
    #[must_use]
    pub fn rows_before(&self, item: u64) -> u64 {
        let (from, to) = around(&self.points, item, |point| point.item);
        from.rows + part(to.rows - from.rows, item - from.item, to.item - from.item)
    }

    /// How long a task works on `items`.
    #[must_use]
    pub fn span(&self, items: &Content) -> Span {
        let before = |item| {
            let (from, to) = around(&self.points, item, |point| point.item);
            let more = part(to.busy.0 - from.busy.0, item - from.item, to.item - from.item);
            Span(from.busy.0 + more)
        };
        let spans = items.stretches().iter().map(|s| before(s.end).saturating_sub(before(s.first)));
        self.task + spans.sum()
    }

    /// The bytes of rows that came out.
    #[must_use]
    pub fn bytes(&self, output: &Content) -> u64 {
        let before = |row| {
            let (from, to) = around(&self.sizes, row, |size| size.row);
            from.bytes + part(to.bytes - from.bytes, row - from.row, to.row - from.row)
        };
        output.stretches().iter().map(|s| before(s.end) - before(s.first)).sum()
    }

    /// How many of the rows from position `skip` on make a full block: at least one.
    #[must_use]
    pub fn block_rows(&self, output: &Content, skip: u64) -> u64 {
        let fits = |rows: u64| self.bytes(&output.part(skip, rows)) <= self.cut_bytes;
        let (mut least, mut most) = (1, output.rows().saturating_sub(skip).max(1));
        while least < most {
            let middle = least + (most - least).div_ceil(2);
            if fits(middle) {
                least = middle;
            } else {
                most = middle - 1;
            }
        }
        least
    }
}

/// The points before and after a position, as `key` counts it. Past the end: the last one.
fn around<T: Copy + Default>(points: &[T], position: u64, key: fn(&T) -> u64) -> (T, T) {
    let after = points.partition_point(|point| key(point) <= position);
    let last = points.len().saturating_sub(1);
    let point = |number: usize| points.get(number.min(last)).copied().unwrap_or_default();
    (point(after.saturating_sub(1)), point(after))
}

/// `done` parts of `all` of an amount.
fn part(amount: u64, done: u64, all: u64) -> u64 {
    if all == 0 { 0 } else { scaled(amount, done.min(all), all) }
}

/// Bytes for which handing over is told.
pub const MILLION: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> Recorded {
        let point = |item, rows, busy| Point { item, rows, busy: Span(busy) };
        let points = vec![point(0, 0, 0), point(2, 4, 100), point(3, 4, 400), point(5, 10, 500)];
        let size = |row, bytes| Size { row, bytes };
        let sizes = vec![size(0, 0), size(4, 40), size(10, 640)];
        let beyond_work = BeyondWork { call: Span(5), hand_over: Span(30) };
        Recorded { points, sizes, cut_bytes: 200, task: Span(7), beyond_work }
    }

    #[test]
    fn sums_of_parts_are_the_sum_of_all() {
        let table = recorded();
        let whole = Content::of(0, 5);
        let parts = (0..5).map(|item| table.span(&Content::of(item, item + 1)));
        assert_eq!(parts.sum::<Span>() - Span(4 * 7), table.span(&whole));
        assert_eq!(table.span(&whole), Span(507));
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 9].map(|item| table.rows_before(item)),
            [0, 2, 4, 4, 7, 10, 10]
        );
        let rows = (0..10).map(|row| table.bytes(&Content::of(row, row + 1)));
        assert_eq!(rows.sum::<u64>(), 640);
    }

    #[test]
    fn handing_over_takes_as_long_as_there_are_bytes() {
        let beyond = recorded().beyond_work;
        assert_eq!([0, 1_500_000].map(|bytes| beyond.for_bytes(bytes)), [Span(5), Span(50)]);
    }

    #[test]
    fn blocks_are_cut_where_they_are_full() {
        let table = recorded();
        let output = Content::of(0, 10);
        assert_eq!(table.block_rows(&output, 0), 5, "40 bytes, and 100 of a row");
        assert_eq!(table.block_rows(&output, 5), 2);
        assert_eq!(table.block_rows(&output, 9), 1);
    }
}
