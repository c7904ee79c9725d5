//! Which rows have come out, and whether each did once.

use std::collections::BTreeMap;

use crate::rows::{Content, Stretch};

/// A set of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    /// First row → row after the last, of stretches that do not touch.
    stretches: BTreeMap<u64, u64>,
}

impl Coverage {
    /// Adds rows. The first stretch that was there before, at least in part, is the error.
    pub(crate) fn add(&mut self, content: &Content) -> Result<(), Stretch> {
        for stretch in content.stretches() {
            self.add_stretch(*stretch)?;
        }
        Ok(())
    }

    /// Takes rows away, as many of them as are there.
    pub(crate) fn remove(&mut self, content: &Content) {
        for stretch in content.stretches() {
            self.remove_stretch(*stretch);
        }
    }

    /// Whether all these rows are there.
    pub(crate) fn has_all(&self, content: &Content) -> bool {
        content.stretches().iter().all(|stretch| {
            let before = self.stretches.range(..=stretch.first).next_back();
            before.is_some_and(|(_, end)| *end >= stretch.end)
        })
    }

    /// Whether any of these rows is there.
    pub(crate) fn has_any(&self, content: &Content) -> bool {
        content.stretches().iter().any(|stretch| {
            let before = self.stretches.range(..stretch.end).next_back();
            before.is_some_and(|(_, end)| *end > stretch.first)
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stretches.is_empty()
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> u64 {
        self.stretches.iter().map(|(first, end)| end - first).sum()
    }

    /// Whether it is all rows before `total`, and no other.
    pub(crate) fn is_all(&self, total: u64) -> bool {
        match total {
            0 => self.stretches.is_empty(),
            _ => self.stretches.len() == 1 && self.stretches.get(&0) == Some(&total),
        }
    }

    /// The row after the first stretch, if that begins with row zero; else zero.
    pub(crate) fn prefix(&self) -> u64 {
        self.stretches.get(&0).copied().unwrap_or(0)
    }

    fn remove_stretch(&mut self, stretch: Stretch) {
        let Stretch { first, end } = stretch;
        let overlapping: Vec<(u64, u64)> = self
            .stretches
            .range(..end)
            .rev()
            .take_while(|(_, stop)| **stop > first)
            .map(|(begin, stop)| (*begin, *stop))
            .collect();
        for (begin, stop) in overlapping {
            self.stretches.remove(&begin);
            if begin < first {
                self.stretches.insert(begin, first);
            }
            if stop > end {
                self.stretches.insert(end, stop);
            }
        }
    }

    fn add_stretch(&mut self, stretch: Stretch) -> Result<(), Stretch> {
        let before = self.stretches.range(..stretch.end).next_back();
        let mut first = stretch.first;
        match before.map(|(first, end)| (*first, *end)) {
            Some((_, end)) if end > stretch.first => return Err(stretch),
            Some((begin, end)) if end == stretch.first => {
                self.stretches.remove(&begin);
                first = begin;
            }
            _ => {}
        }
        let end = self.stretches.remove(&stretch.end).unwrap_or(stretch.end);
        self.stretches.insert(first, end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_any_order_but_once() {
        let mut coverage = Coverage::default();
        for (first, end) in [(4, 6), (0, 2), (2, 4), (9, 10), (6, 9)] {
            assert_eq!(coverage.add(&Content::of(first, end)), Ok(()));
        }
        assert!(coverage.is_all(10));
        assert!(!coverage.is_all(11));
        assert!(coverage.add(&Content::of(3, 5)).is_err());
        assert!(coverage.add(&Content::of(9, 12)).is_err());
    }

    #[test]
    fn rows_can_be_taken_away() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.add(&Content::of(0, 10)), Ok(()));
        coverage.remove(&Content::of(3, 5));
        coverage.remove(&Content::of(9, 20));
        assert!(coverage.has_all(&Content::of(5, 9)) && coverage.has_all(&Content::of(0, 3)));
        assert!(!coverage.has_all(&Content::of(2, 4)) && coverage.has_any(&Content::of(2, 4)));
        assert!(!coverage.has_any(&Content::of(3, 5)) && !coverage.is_empty());
    }

    #[test]
    fn a_gap_ends_the_prefix() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.add(&Content::of(5, 7)), Ok(()));
        assert_eq!(coverage.prefix(), 0);
        assert_eq!(coverage.add(&Content::of(0, 3)), Ok(()));
        assert_eq!(coverage.prefix(), 3);
    }
}
