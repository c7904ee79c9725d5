//! What a source has still to read: the units that are known and not begun, and whether more may come.
//!
//! Owns nothing of a unit but its size, and nothing at all once a task has begun on it: a task and its
//! lineage know their units by number. So what is kept does not grow with what was read. Decides
//! nothing.

use alloc::collections::VecDeque;

use crate::plan::Unit;
use crate::units::{Bytes, Time};

/// The units of a source; of any other operator there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listing {
    /// For each unit that waits, the bytes of all units up to its end.
    ends: VecDeque<u64>,
    /// The number of the next unit, and the bytes of all before it.
    begun: u64,
    bytes_begun: u64,
    /// What all units so far are alike in, if they are.
    size: Option<u64>,
    is_uneven: bool,
    is_open: bool,
    asked: Option<Asked>,
}

/// A request for more units.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// How many units there are in all once it is answered.
    until: u64,
    at: Time,
}

impl Listing {
    pub(crate) fn new(units: &[Unit], is_open: bool) -> Self {
        let mut listing = Self { is_open, ..Self::default() };
        listing.extend(units);
        listing
    }

    /// Adds units behind those that are known. One of unknown size counts as much as the mean of those
    /// before it.
    pub(crate) fn extend(&mut self, units: &[Unit]) {
        self.ends.reserve(units.len());
        for unit in units {
            let bytes = self.bytes_listed();
            let size = match unit.bytes {
                Bytes::ZERO => bytes.checked_div(self.listed()).unwrap_or(0),
                Bytes(known) => known,
            };
            self.is_uneven |= *self.size.get_or_insert(size) != size;
            self.ends.push_back(bytes.saturating_add(size));
        }
    }

    /// Notes that so many units more were asked for.
    pub(crate) fn ask(&mut self, now: Time, units: u64) {
        self.asked = Some(Asked { until: self.listed() + units, at: now });
    }

    /// Since when the units that are there by now were asked for, if none is awaited any more.
    pub(crate) fn take_answered(&mut self) -> Option<Time> {
        let is_answered = |asked: &Asked| !self.is_open || self.listed() >= asked.until;
        let asked = self.asked.filter(is_answered)?;
        self.asked = None;
        Some(asked.at)
    }

    /// Units that were asked for and have not come.
    pub(crate) fn awaited(&self) -> u64 {
        self.asked.map_or(0, |asked| asked.until.saturating_sub(self.listed()))
    }

    /// Notes that there are no more units.
    pub(crate) fn close(&mut self) {
        self.is_open = false;
    }

    /// Forgets what nobody will begin.
    pub(crate) fn abandon(&mut self) {
        self.close();
        self.asked = None;
    }

    /// Takes the next units, and tells their bytes.
    pub(crate) fn take(&mut self, count: u64) -> Bytes {
        let bytes = self.bytes_of(count);
        self.ends.drain(..at(count));
        self.begun += count;
        self.bytes_begun += bytes.0;
        bytes
    }

    /// The bytes of the next units, as far as they are known.
    pub(crate) fn bytes_of(&self, count: u64) -> Bytes {
        let last = at(count).min(self.ends.len()).checked_sub(1);
        Bytes(last.map_or(0, |last| self.ends[last] - self.bytes_begun))
    }

    /// How many of the next units have no more than so many bytes together.
    pub(crate) fn fitting(&self, bytes: Bytes) -> u64 {
        let end = self.bytes_begun.saturating_add(bytes.0);
        self.ends.partition_point(|unit| *unit <= end) as u64
    }

    /// The number of the next unit.
    pub(crate) fn next(&self) -> u64 {
        self.begun
    }

    /// Units that are known and not begun.
    pub(crate) fn waiting(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Units that are known, those that were begun among them.
    pub(crate) fn listed(&self) -> u64 {
        self.begun + self.waiting()
    }

    /// Units that are not begun. As long as the list is open, it assumes that the listing will double.
    pub(crate) fn expected(&self) -> u64 {
        self.waiting() + if self.is_open { self.listed() } else { 0 }
    }

    /// The bytes of those.
    pub(crate) fn bytes_expected(&self) -> Bytes {
        let listed = self.bytes_listed();
        let coming = if self.is_open { listed } else { 0 };
        Bytes((listed - self.bytes_begun).saturating_add(coming))
    }

    fn bytes_listed(&self) -> u64 {
        self.ends.back().copied().unwrap_or(self.bytes_begun)
    }

    /// Whether the sizes of its units are known and differ.
    pub(crate) fn is_uneven(&self) -> bool {
        self.is_uneven
    }

    /// Whether more units may come.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether all its units are known and begun.
    pub(crate) fn is_through(&self) -> bool {
        !self.is_open && self.ends.is_empty()
    }

    /// Whether all units before number `end` that there are have begun.
    pub(crate) fn has_begun(&self, end: u64) -> bool {
        self.begun >= end || self.is_through()
    }
}

fn at(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn units(sizes: &[u64]) -> Vec<Unit> {
        sizes.iter().map(|bytes| Unit { bytes: Bytes(*bytes) }).collect()
    }

    #[test]
    fn units_are_numbered_on_and_forgotten_once_begun() {
        let mut listing = Listing::new(&units(&[10, 20]), true);
        assert_eq!(listing.take(2), Bytes(30));
        listing.extend(&units(&[5, 50, 1]));
        assert_eq!((listing.next(), listing.waiting(), listing.listed()), (2, 3, 5));
        assert_eq!((listing.fitting(Bytes(54)), listing.fitting(Bytes(55))), (1, 2));
        assert_eq!((listing.bytes_of(2), listing.bytes_of(9)), (Bytes(55), Bytes(56)));
        assert!(listing.is_uneven() && !listing.is_through());
    }

    #[test]
    fn a_unit_of_unknown_size_counts_as_the_mean() {
        let listing = Listing::new(&units(&[10, 30, 0]), false);
        assert_eq!(listing.bytes_of(3), Bytes(60));
        let unknown = Listing::new(&units(&[0, 0]), false);
        assert_eq!((unknown.bytes_of(2), unknown.is_uneven()), (Bytes::ZERO, false));
    }

    #[test]
    fn a_request_is_answered_once_its_last_unit_or_the_end_is_there() {
        let mut listing = Listing::new(&[], true);
        listing.ask(Time(7), 3);
        listing.extend(&units(&[1, 1]));
        assert_eq!((listing.awaited(), listing.take_answered()), (1, None));
        listing.close();
        assert_eq!((listing.take_answered(), listing.awaited()), (Some(Time(7)), 0));
        assert!(listing.has_begun(0) && !listing.has_begun(3));
        listing.take(2);
        assert!(listing.has_begun(3) && listing.is_through());
    }
}
