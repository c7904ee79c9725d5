//! How durations and sizes vary from one piece of work to the next.
//!
//! Owns the distributions. A factor follows from the seed and from what is asked about, never from
//! when it is asked. Knows nothing of what it is a factor of.

use serde::{Deserialize, Serialize};

use crate::random::{Random, scaled};

/// Factors of a duration or a size, each in thousandths; all of them multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variation {
    /// Evenly drawn from this much less to this much more.
    pub spread: u64,
    /// So many of a thousand draws are in a tail, which makes the distribution a skewed one.
    pub tail: u64,
    /// There the factor is evenly drawn from one up to this.
    pub tail_factor: u64,
    /// The factor at and after the last item of a drift, which changes in a straight line from one
    /// at the first item.
    pub drift: u64,
    /// How many items the drift takes. Zero: there is none.
    pub drift_items: u64,
    /// So many neighbours draw alike.
    pub alike_items: u64,
}

impl Variation {
    /// Always the same.
    pub const NONE: Self = Self::spread(0);

    /// Evenly drawn from `per_mille` less to as much more.
    #[must_use]
    pub const fn spread(per_mille: u64) -> Self {
        Self {
            spread: per_mille,
            tail: 0,
            tail_factor: ONE,
            drift: ONE,
            drift_items: 0,
            alike_items: 1,
        }
    }

    /// `value` as it is at `item`. `draw` keeps apart what varies independently.
    #[must_use]
    pub fn apply(&self, value: u64, item: u64, draw: [u64; 3]) -> u64 {
        let [seed, op, kind] = draw;
        let mut random = Random::of(&[seed, op, item / self.alike_items.max(1), kind]);
        let mut varied = random.around(value, self.spread);
        if self.tail > 0 && random.chance(self.tail) {
            varied = scaled(varied, random.between(ONE, self.tail_factor), ONE);
        }
        if self.drift_items == 0 {
            return varied;
        }
        let (done, all) = (item.min(self.drift_items), self.drift_items);
        let factor = scaled(ONE, all - done, all) + scaled(self.drift, done, all);
        scaled(varied, factor, ONE)
    }

    /// The largest that `value` can become.
    #[must_use]
    pub fn most(&self, value: u64) -> u64 {
        let tail = if self.tail > 0 { self.tail_factor.max(ONE) } else { ONE };
        let drift = if self.drift_items > 0 { self.drift.max(ONE) } else { ONE };
        scaled(scaled(scaled(value, ONE + self.spread, ONE), tail, ONE), drift, ONE)
    }
}

impl Default for Variation {
    fn default() -> Self {
        Self::NONE
    }
}

/// The factor one, in thousandths.
const ONE: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(variation: Variation) -> Vec<u64> {
        (0..1_000).map(|item| variation.apply(10_000, item, [1, 2, 3])).collect()
    }

    #[test]
    fn without_variation_all_are_alike() {
        assert!(drawn(Variation::NONE).iter().all(|value| *value == 10_000));
    }

    #[test]
    fn a_tail_is_rare_and_long_and_never_beyond_the_most() {
        let skewed =
            Variation { tail: 50, tail_factor: 20_000, drift: 3_000, ..Variation::spread(100) };
        let values = drawn(skewed);
        let long = values.iter().filter(|value| **value > 20_000).count();
        assert!((10..100).contains(&long), "{long}");
        assert!(values.iter().all(|value| *value <= skewed.most(10_000)));
        let drifting = Variation { drift_items: 1_000, ..skewed };
        assert!(drawn(drifting).iter().all(|value| *value <= drifting.most(10_000)));
    }

    #[test]
    fn a_drift_goes_in_a_straight_line_and_stays() {
        let drifting = Variation { drift: 3_000, drift_items: 500, ..Variation::NONE };
        let values = drawn(drifting);
        assert_eq!(
            [values[0], values[250], values[500], values[999]],
            [10_000, 20_000, 30_000, 30_000]
        );
    }

    #[test]
    fn neighbours_draw_alike() {
        let values = drawn(Variation { alike_items: 10, ..Variation::spread(500) });
        assert!(values.chunks(10).all(|chunk| chunk.iter().all(|value| *value == chunk[0])));
        assert!(values.iter().any(|value| *value != values[0]));
    }
}
