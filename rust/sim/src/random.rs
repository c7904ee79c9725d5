//! The simulator's only source of chance: numbers that follow from a seed.
//!
//! Owns the generator. Knows nothing of what is drawn.

/// A stream of numbers that follows from its seed (`SplitMix64`, Steele and others 2014).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream that follows from `parts` alone, so that it does not depend on when it is asked.
    #[must_use]
    pub fn of(parts: &[u64]) -> Self {
        let mut state = Self(0);
        for part in parts {
            state.0 ^= *part;
            state.0 = state.number();
        }
        state
    }

    /// The next number, any of all.
    pub const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `first` to `last`, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        let width = u128::from(last.saturating_sub(first)) + 1;
        let drawn = ((u128::from(self.number()) * width) >> 64) as u64;
        first + drawn
    }

    /// True in `per_mille` of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.between(0, 999) < per_mille
    }

    /// One of `choices`.
    pub fn pick<T: Copy, const COUNT: usize>(&mut self, choices: &[T; COUNT]) -> T {
        #[expect(clippy::cast_possible_truncation, reason = "it is a position in an array")]
        let position = self.between(0, COUNT as u64 - 1) as usize;
        choices[position]
    }

    /// `value` scaled by a factor from `1000 - spread` to `1000 + spread` thousandths.
    pub fn around(&mut self, value: u64, spread_per_mille: u64) -> u64 {
        if spread_per_mille == 0 {
            return value;
        }
        let factor = self.between(1000 - spread_per_mille.min(1000), 1000 + spread_per_mille);
        scaled(value, factor, 1000)
    }
}

/// `value * numerator / denominator`, rounded down, held at the largest number.
#[must_use]
pub fn scaled(value: u64, numerator: u64, denominator: u64) -> u64 {
    let wide = u128::from(value) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(wide).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_its_stream() {
        let stream = |seed| {
            let mut random = Random::new(seed);
            [random.number(), random.number(), random.number()]
        };
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut random = Random::new(1);
        for _ in 0..1_000 {
            assert!((3..=5).contains(&random.between(3, 5)));
            assert!((800..=1200).contains(&random.around(1000, 200)));
        }
        assert!(!random.chance(0));
        assert!(random.chance(1000));
    }
}
