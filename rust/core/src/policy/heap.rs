//! How much heap a task or actor is thought to need.
//!
//! What the user declared, or the most that a worker of the operator was seen to use, whichever is
//! more. That is the peak of a worker's whole life, and so an upper bound of what one task needs.
//! Nothing is held until something is declared or seen. A worker that is killed for lack of memory
//! was given too little, so the next one is given half as much again.

use crate::units::Bytes;

/// What to hold for workers that used `peak` at most: a little more, so that what is held changes
/// only a few times while the peak grows.
pub(crate) fn rounded(peak: Bytes) -> Bytes {
    let step = (peak.0.checked_next_power_of_two().unwrap_or(u64::MAX) / STEPS).max(1);
    Bytes(peak.0.div_ceil(step).saturating_mul(step))
}

/// What to hold after a kill of a worker for which `held` was held, where the largest node has
/// `largest`.
pub(crate) fn raised(held: Bytes, largest: Bytes) -> Bytes {
    (held + Bytes(held.0 / 2)).max(Bytes(largest.0 / FIRST_SHARE)).max(Bytes(1))
}

/// Of the power of two above.
const STEPS: u64 = 16;
/// Of a node: what is held first when nothing was. It takes seven kills from there to all of it.
const FIRST_SHARE: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_held_is_little_more_than_the_peak(peak in 0u64..1 << 50) {
            let held = rounded(Bytes(peak)).0;
            prop_assert!(held >= peak && held - peak <= peak / 8);
        }
    }

    #[test]
    fn few_kills_lead_to_a_whole_node() {
        let largest = Bytes(1 << 34);
        let mut held = Bytes::ZERO;
        let kills = core::iter::from_fn(|| {
            held = raised(held, largest);
            (held < largest).then_some(())
        });
        assert_eq!(kills.count(), 7);
    }
}
