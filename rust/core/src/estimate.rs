//! What an operator's past tells about its next task.
//!
//! Owns the only floating-point numbers of the core. They guide choices and never enter an account.

use crate::line::Line;
use crate::units::{Bytes, Span};

/// A running mean with its mean deviation, in which the past fades.
///
/// The update is that of TCP's round-trip estimator (Jacobson 1988, gains 1/8 and 1/4).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Estimate {
    samples: u64,
    mean: f64,
    deviation: f64,
    largest: f64,
    recent_peak: f64,
    recent_low: f64,
}

impl Estimate {
    pub(crate) fn add(&mut self, sample: u64) {
        self.add_among(sample, 8);
    }

    /// Adds a sample with the weight 1 / (n + 1), given the n others.
    #[allow(clippy::cast_precision_loss)] // an estimate needs no more than 52 bits
    fn add_among(&mut self, sample: u64, others: u64) {
        let sample = sample as f64;
        if self.samples == 0 {
            self.mean = sample;
        } else {
            let error = sample - self.mean;
            let distance = if error < 0.0 { -error } else { error };
            // The first few samples count alike, so that a cold start does not linger.
            let counted = if self.samples < others { self.samples + 1 } else { others };
            let gain = 1.0 / counted as f64;
            self.mean += gain * error;
            self.deviation += 0.25 * (distance - self.deviation);
        }
        self.samples += 1;
        let faded = self.recent_peak - PEAK_FADES * (self.recent_peak - self.mean);
        self.recent_peak = if sample > faded { sample } else { faded };
        let faded = self.recent_low + LOW_FADES * (self.mean - self.recent_low);
        self.recent_low = if sample < faded || self.samples == 1 { sample } else { faded };
        self.largest = if sample > self.largest { sample } else { self.largest };
    }

    pub(crate) fn is_known(&self) -> bool {
        self.samples > 0
    }

    /// The smallest of the last few samples, which fades towards the mean.
    pub(crate) fn recent_low(&self) -> Option<f64> {
        self.is_known().then_some(self.recent_low)
    }

    pub(crate) fn mean(&self) -> Option<f64> {
        self.is_known().then_some(self.mean)
    }

    /// The largest of the last samples, which fades towards the mean.
    pub(crate) fn recent_peak(&self) -> Option<f64> {
        self.is_known().then_some(self.recent_peak)
    }

    /// A value that few samples exceed: the mean and four deviations, at most the largest seen.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // samples are not negative
    pub(crate) fn high(&self) -> Option<u64> {
        let high = self.mean + 4.0 * self.deviation;
        self.is_known().then_some(if high < self.largest { high } else { self.largest } as u64)
    }
}

/// What is known of an operator's tasks. An *item* is a row of input, or a unit of a source.
#[derive(Clone, Debug, Default)]
pub(crate) struct TaskEstimates {
    pub(crate) block_bytes: Estimate,
    pub(crate) blocks_per_task: Estimate,
    busy_per_item: Estimate,
    rows_per_item: Estimate,
    bytes_per_item: Estimate,
    pub(crate) busy: Estimate,
    /// From a task's launch until its first block is finished, pauses left out.
    pub(crate) lead: Estimate,
    pub(crate) load: Estimate,
    /// From a request for more units until the last of them is there.
    pub(crate) listing: Estimate,
    line: Line,
    units: UnitEstimates,
}

/// How much a task has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// So many items, all more or less alike.
    Items(u64),
    /// Units of so many bytes, whose sizes differ.
    Bytes(Bytes),
}

/// What a finished task did.
pub(crate) struct TaskRecord {
    pub(crate) items: u64,
    /// The bytes of its units, as far as they are known.
    pub(crate) unit_bytes: Bytes,
    /// Tasks of the operator that run beside it.
    pub(crate) live: u64,
    pub(crate) busy: Span,
    pub(crate) blocks: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: Bytes,
}

/// An amount as estimates take it: they need no more than 52 bits.
#[allow(clippy::cast_precision_loss)]
pub(crate) const fn quantity(amount: u64) -> f64 {
    amount as f64
}

/// The whole part of an estimate, which is not negative; held at the largest number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(crate) const fn whole(estimate: f64) -> u64 {
    estimate as u64
}

/// The least whole number that is no smaller.
pub(crate) fn whole_above(estimate: f64) -> u64 {
    let below = whole(estimate);
    below + u64::from(quantity(below) < estimate)
}

/// By which part a peak comes nearer to the mean with each sample.
const PEAK_FADES: f64 = 1.0 / 16.0;
/// The same of a low.
const LOW_FADES: f64 = 1.0 / 4.0;
/// Work that takes no time at all would make a rate infinite.
pub(crate) const MIN_SPAN_US: f64 = 0.01;
/// Per-item values are kept in thousandths, since a row may take less than a microsecond.
const PER_ITEM_SCALE: f64 = 1_000.0;
const PER_ITEM_STEPS: u64 = 1_000;
/// A task counts for no more bytes of units than this many usual ones: the largest units, which cannot be
/// divided, are not what tasks are packed by.
const TASKS_OF_LARGEST: f64 = 8.0;
/// Over how many tasks means of units are taken, at least. Units differ, and tasks are to be alike.
const TASKS_OF_UNITS: u64 = 256;
/// And over how many times those that run at a time. What ends next is not a fair sample of them: first
/// the small ones do, then the large ones.
const ROUNDS_OF_UNITS: u64 = 4;

/// What is known of units whose sizes differ: means over tasks.
#[derive(Clone, Debug, Default)]
struct UnitEstimates {
    bytes: Estimate,
    busy: Estimate,
    rows: Estimate,
    bytes_out: Estimate,
    line: Line,
}

impl UnitEstimates {
    fn add(&mut self, record: &TaskRecord) {
        self.line.add(record.unit_bytes.0, record.busy.0);
        let among = (ROUNDS_OF_UNITS * record.live).max(TASKS_OF_UNITS);
        let bytes = record.unit_bytes.0;
        let most = self.bytes.mean().map_or(bytes, |mean| whole(TASKS_OF_LARGEST * mean).max(1));
        let counted = |value: u64| {
            if bytes <= most {
                value
            } else {
                whole(quantity(value) / quantity(bytes) * quantity(most))
            }
        };
        for (estimate, value) in [
            (&mut self.busy, record.busy.0),
            (&mut self.rows, record.rows),
            (&mut self.bytes_out, record.bytes.0),
            (&mut self.bytes, bytes),
        ] {
            estimate.add_among(counted(value), among);
        }
    }

    /// How much there is of something for a byte.
    fn per_byte(&self, what: &Estimate) -> Option<f64> {
        Some(what.mean()? / self.bytes.mean().filter(|bytes| *bytes > 0.0)?)
    }
}

impl TaskEstimates {
    pub(crate) fn add(&mut self, record: &TaskRecord) {
        let per_item = |value: u64| value.saturating_mul(PER_ITEM_STEPS) / record.items.max(1);
        self.busy_per_item.add(per_item(record.busy.0));
        self.rows_per_item.add(per_item(record.rows));
        self.bytes_per_item.add(per_item(record.bytes.0));
        self.line.add(record.items, record.busy.0);
        self.blocks_per_task.add(record.blocks);
        self.busy.add(record.busy.0);
        if record.unit_bytes > Bytes::ZERO {
            self.units.add(record);
        }
    }

    /// How a task's time grows with its items.
    pub(crate) fn by_items(&self) -> &Line {
        &self.line
    }

    /// How a task's time grows with the bytes of its units.
    pub(crate) fn by_unit_bytes(&self) -> &Line {
        &self.units.line
    }

    /// Microseconds of work for a byte of units.
    pub(crate) fn busy_per_byte(&self) -> Option<f64> {
        self.units.per_byte(&self.units.busy)
    }

    /// Bytes put out for a byte of units.
    pub(crate) fn bytes_per_byte(&self) -> Option<f64> {
        self.units.per_byte(&self.units.bytes_out)
    }

    /// Rows that a task puts out.
    pub(crate) fn rows_of(&self, load: Load) -> Option<f64> {
        match load {
            Load::Items(items) => self.rows_per_item().map(|each| each * quantity(items)),
            Load::Bytes(bytes) => {
                let each = self.units.per_byte(&self.units.rows);
                each.map(|each| each * quantity(bytes.0))
            }
        }
    }

    /// Bytes that a task puts out.
    pub(crate) fn bytes_of(&self, load: Load) -> Option<f64> {
        match load {
            Load::Items(items) => self.bytes_per_item().map(|each| each * quantity(items)),
            Load::Bytes(bytes) => self.bytes_per_byte().map(|each| each * quantity(bytes.0)),
        }
    }

    /// Microseconds of work per item.
    pub(crate) fn busy_per_item(&self) -> Option<f64> {
        self.busy_per_item.mean().map(|mean| mean / PER_ITEM_SCALE)
    }

    /// Rows put out per item.
    pub(crate) fn rows_per_item(&self) -> Option<f64> {
        self.rows_per_item.mean().map(|mean| mean / PER_ITEM_SCALE)
    }

    /// Bytes put out per item.
    pub(crate) fn bytes_per_item(&self) -> Option<f64> {
        self.bytes_per_item.mean().map(|mean| mean / PER_ITEM_SCALE)
    }

    /// Whether a task may put out more than one block, and so may have to be paused: nothing is known
    /// yet, or one did.
    pub(crate) fn may_pause(&self) -> bool {
        !self.blocks_per_task.is_known() || self.blocks_per_task.largest > 1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_are_estimated_exactly() {
        let mut estimate = Estimate::default();
        assert_eq!(estimate.high(), None);
        for _ in 0..50 {
            estimate.add(700);
        }
        assert_eq!((estimate.mean(), estimate.high()), (Some(700.0), Some(700)));
    }

    #[test]
    fn the_estimate_follows_a_change() {
        let mut estimate = Estimate::default();
        (0..20).for_each(|_| estimate.add(100));
        (0..60).for_each(|_| estimate.add(1_000));
        let mean = estimate.mean().expect("has samples");
        assert!(mean > 990.0 && mean <= 1_000.0, "{mean}");
    }

    #[test]
    fn few_samples_exceed_the_high_estimate() {
        let mut estimate = Estimate::default();
        (0..1_000u64).for_each(|i| estimate.add(900 + i * 7 % 200));
        let high = estimate.high().expect("has samples");
        assert!((1_000..=1_100).contains(&high), "{high}");
    }

    #[test]
    fn fast_rows_keep_their_fraction_of_a_microsecond() {
        let mut estimates = TaskEstimates::default();
        estimates.add(&TaskRecord {
            items: 1_000,
            unit_bytes: Bytes::ZERO,
            live: 0,
            busy: Span(250),
            blocks: 1,
            rows: 1_000,
            bytes: Bytes(8_000),
        });
        assert_eq!(estimates.busy_per_item(), Some(0.25));
        assert!(!estimates.may_pause());
    }
}
