//! How long a task takes by how much it works on: what the call takes, and what each item adds.
//!
//! Owns that estimate. It takes tasks of different sizes to tell one from the other; before there were
//! some, and where a call takes next to nothing, there is none and a task is as long as its items.

use crate::estimate::quantity;

/// A line through what tasks took by their items (least squares), in which the past fades.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Line {
    samples: u64,
    items: f64,
    busy: f64,
    /// Central moments.
    items_items: f64,
    items_busy: f64,
    busy_busy: f64,
    /// The fewest and the most items of a task.
    least: u64,
    most: u64,
    call: f64,
}

/// What a task takes, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pace {
    /// Whatever it works on.
    pub(crate) call: f64,
    /// For each item.
    pub(crate) each: f64,
    /// Items up to which that can be relied on: as far beyond the largest task as that is beyond the
    /// smallest.
    pub(crate) reach: f64,
}

impl Line {
    pub(crate) fn add(&mut self, items: u64, busy: u64) {
        self.least = if self.samples == 0 { items } else { self.least.min(items) };
        self.most = self.most.max(items);
        self.samples += 1;
        let (items, busy) = (quantity(items), quantity(busy));
        let gain = 1.0 / quantity(self.samples.min(SAMPLES_MAX));
        let (more, longer) = (items - self.items, busy - self.busy);
        self.items += gain * more;
        self.busy += gain * longer;
        let fade = |moment: f64, product: f64| (1.0 - gain) * (moment + gain * product);
        self.items_items = fade(self.items_items, more * more);
        self.items_busy = fade(self.items_busy, more * longer);
        self.busy_busy = fade(self.busy_busy, longer * longer);
        // Tasks that are all alike tell nothing new.
        self.call = if self.tells() { self.call_now() } else { self.call.min(self.busy) };
    }

    /// Whether tasks of clearly different sizes have ended.
    pub(crate) fn is_known(&self) -> bool {
        self.most >= self.least.saturating_mul(SIZES_DIFFER) && self.least > 0
    }

    /// None where a call takes nothing that is certain.
    pub(crate) fn pace(&self) -> Option<Pace> {
        if !self.is_known() || self.call <= 0.0 {
            return None;
        }
        let each = ((self.busy - self.call) / self.items).max(0.0);
        let reach = quantity(self.most) / quantity(self.least) * quantity(self.most);
        Some(Pace { call: self.call, each, reach })
    }

    fn tells(&self) -> bool {
        self.is_known() && self.items_items * SPREAD_SQUARED >= self.items * self.items
    }

    /// What no items would take, if that is beyond what chance may make of it.
    fn call_now(&self) -> f64 {
        let each = (self.items_busy / self.items_items).max(0.0);
        let call = self.busy - each * self.items;
        let beside = (self.busy_busy - each * self.items_busy).max(0.0);
        let samples = quantity(self.samples.min(SAMPLES_MAX));
        let error = beside / samples * (1.0 + self.items * self.items / self.items_items);
        if call > SLIGHT * self.busy && call * call >= ERRORS_SQUARED * error { call } else { 0.0 }
    }
}

impl Pace {
    /// Items of a task that takes `span`, and several times as long as its call.
    pub(crate) fn items_long(&self, span: u64) -> f64 {
        let span = quantity(span).max(CALLS_IN_TASK * self.call);
        ((span - self.call) / self.each).min(self.reach)
    }

    /// Items that take as long as the call.
    pub(crate) fn items_of_call(&self) -> f64 {
        (self.call / self.each).min(self.reach)
    }
}

/// Over how many tasks the past fades.
const SAMPLES_MAX: u64 = 32;
/// Sizes differ clearly where one is so many times another.
pub(crate) const SIZES_DIFFER: u64 = 2;
/// The mean squared over the variance of sizes from which on they tell a call from items.
const SPREAD_SQUARED: f64 = 16.0;
/// A call counts where it is three times its standard error.
const ERRORS_SQUARED: f64 = 9.0;
/// A smaller part of a task is what rounding makes of nothing.
const SLIGHT: f64 = 1e-6;
/// A task is long enough if its call takes one of so many parts of it.
const CALLS_IN_TASK: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tasks: &[(u64, u64)]) -> Line {
        let mut line = Line::default();
        for (items, busy) in tasks {
            line.add(*items, *busy);
        }
        line
    }

    #[test]
    fn a_call_and_its_items_are_told_apart_by_two_tasks() {
        let pace = line(&[(1, 301_000), (12, 312_000)]).pace().expect("because sizes differ");
        assert!((pace.call - 300_000.0).abs() < 1.0, "{pace:?}");
        assert!((pace.each - 1_000.0).abs() < 1.0, "{pace:?}");
        assert!((pace.reach - 144.0).abs() < 1e-9, "{pace:?}");
    }

    #[test]
    fn tasks_of_one_size_tell_nothing_and_items_alone_are_no_call() {
        assert_eq!(line(&[(3, 300_000), (3, 310_000), (4, 290_000)]).pace(), None);
        assert_eq!(line(&[(1, 300_000), (12, 3_600_000)]).pace(), None);
    }

    #[test]
    fn what_may_be_chance_is_no_call() {
        let noisy = [(1, 300_000), (1, 900_000), (1, 100_000), (2, 700_000), (2, 300_000)];
        assert_eq!(line(&noisy).pace(), None);
    }

    #[test]
    fn what_was_learned_stays_when_tasks_become_alike() {
        let mut line = line(&[(1, 300_000), (12, 300_000)]);
        for _ in 0..200 {
            line.add(100, 310_000);
        }
        let pace = line.pace().expect("because sizes differed");
        assert!((290_000.0..=310_000.0).contains(&pace.call), "{pace:?}");
    }
}
