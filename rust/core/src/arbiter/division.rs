//! How much of one resource of one node is due to each run.
//!
//! Owns the arithmetic. Knows no resource by name, and no node.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// What a run has and wants of one resource of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Zero: it gets nothing.
    pub(super) weight: u32,
    pub(super) held: u64,
    /// The most that it may come to hold before it hears of its next share.
    pub(super) most: u64,
    /// What it gets whatever others want. All floors together fit.
    pub(super) floor: u64,
    /// How much of the floor it gets before anything else is given: no other has to let go for it.
    pub(super) near: u64,
    /// The least that more would help it; zero: it wants no more.
    pub(super) grain: u64,
}

impl Claim {
    /// What whole grains are counted from where so much is due.
    fn base(&self, due: u64) -> u64 {
        if due < self.held { self.floor } else { self.floor.max(self.held) }
    }

    /// A share as far as others leave it: of what lies beyond what it holds, whole grains, as long as they
    /// may still use the rest. It would use a part of a grain for something else, and could not start then
    /// what the whole is for.
    fn whole(&self, share: u64, most: u64) -> u64 {
        if share <= most {
            return share;
        }
        most - most.saturating_sub(self.held).checked_rem(self.grain).unwrap_or(0)
    }

    /// What it would keep of more than that.
    fn ceiling(&self) -> u64 {
        if self.grain > 0 { u64::MAX } else { self.held.max(self.floor) }
    }
}

/// Each run's share of `total`: what is due to it, as far as the others do not hold it and cannot come
/// to hold it.
pub(super) fn divide(total: u64, claims: &[Claim]) -> Vec<u64> {
    let due = due(total, claims);
    let reachable = spread(total, reachable(total, due, claims), claims);
    let mut most: Vec<u64> = claims.iter().map(|claim| claim.most).collect();
    let mut shares = alloc::vec![0; claims.len()];
    for (position, reachable) in reachable.into_iter().enumerate() {
        let all: u64 = most.iter().sum();
        let free = total.saturating_sub(all - most[position]);
        // A run may always be told less than what it goes by.
        shares[position] = claims[position].whole(reachable, free.max(most[position]));
        most[position] = most[position].max(shares[position]);
    }
    shares
}

/// As much of what is due as can be had while others keep what they hold: first what is near,
/// then whole grains. A part of a grain would lie idle with one run while another could use it.
fn reachable(total: u64, due: Vec<u64>, claims: &[Claim]) -> Vec<u64> {
    let mut reached: Vec<u64> =
        due.iter().zip(claims).map(|(due, claim)| *due.min(&claim.near)).collect();
    let taken = reached.iter().zip(claims).map(|(reached, claim)| *reached.max(&claim.held));
    let mut left = total.saturating_sub(taken.sum());
    for (reached, (due, claim)) in reached.iter_mut().zip(due.into_iter().zip(claims)) {
        let has = claim.held.max(*reached);
        if due <= has {
            *reached = due;
            continue;
        }
        let more = (due - has).min(left);
        let more = more - more.checked_rem(claim.grain).unwrap_or(0);
        *reached = has + more;
        left -= more;
    }
    reached
}

/// Adds what nobody wants nor holds, by weight.
fn spread(total: u64, mut shares: Vec<u64>, claims: &[Claim]) -> Vec<u64> {
    let taken = shares.iter().zip(claims).map(|(share, claim)| *share.max(&claim.held));
    let mut left = total.saturating_sub(taken.sum());
    let mut weights: u64 = claims.iter().map(|claim| u64::from(claim.weight)).sum();
    for (share, claim) in shares.iter_mut().zip(claims) {
        let part = u128::from(left) * u128::from(claim.weight) / u128::from(weights.max(1));
        let part = u64::try_from(part).unwrap_or(left);
        *share += part;
        left -= part;
        weights -= u64::from(claim.weight);
    }
    shares
}

/// What is due to each run: in proportion to its weight, but no less than its floor, and no more than it
/// holds where it wants no more; of what wants more, whole grains beyond the floor and what it holds.
fn due(total: u64, claims: &[Claim]) -> Vec<u64> {
    let mut due = level(total, claims);
    for (due, claim) in due.iter_mut().zip(claims).filter(|(_, claim)| claim.grain > 0) {
        *due -= (*due - claim.base(*due)) % claim.grain;
    }
    let left = total.saturating_sub(due.iter().sum());
    let mut left = give_grains(&mut due, left, claims);
    // What is of no use to others, those keep who hold it: to give it back and want it again goes
    // round forever. But who waits for its turn keeps nothing.
    for (due, claim) in due.iter_mut().zip(claims).filter(|(_, claim)| claim.weight > 0) {
        let kept = claim.held.saturating_sub(*due).min(left);
        *due += kept;
        left -= kept;
    }
    due
}

/// Those that so much left would help.
fn wanting(left: u64, claims: &[Claim]) -> impl Iterator<Item = (usize, &Claim)> {
    let fits = move |claim: &Claim| claim.weight > 0 && claim.grain > 0 && claim.grain <= left;
    claims.iter().enumerate().filter(move |(_, claim)| fits(claim))
}

/// To whom the next grain is due: to whom least is, for its weight.
fn lowest(due: &[u64], left: u64, claims: &[Claim]) -> Option<usize> {
    // Compares due over weight without a division.
    let scaled = |of: usize, by: usize| u128::from(due[of]) * u128::from(claims[by].weight);
    let wanting = wanting(left, claims).map(|(position, _)| position);
    wanting.min_by(|one, other| scaled(*one, *other).cmp(&scaled(*other, *one)))
}

/// Gives grain after grain to whom the next is due, until what is left helps nobody. Returns what is left.
fn give_grains(due: &mut [u64], mut left: u64, claims: &[Claim]) -> u64 {
    loop {
        left -= give_many(due, left, claims);
        let Some(position) = lowest(due, left, claims) else { return left };
        due[position] += claims[position].grain;
        left -= claims[position].grain;
    }
}

/// Gives many grains at once, as many as would be given one by one to whom is lowest as long as there is
/// something left for each. Returns how much that was.
///
/// Bytes may come in millions of grains. As one gives them, there is a moment at which all have just
/// reached a level for their weight, whatever it is: the highest such level is found by bisection.
fn give_many(due: &mut [u64], left: u64, claims: &[Claim]) -> u64 {
    let grains = || wanting(left, claims).map(|(_, claim)| claim.grain);
    let (Some(smallest), Some(largest)) = (grains().min(), grains().max()) else { return 0 };
    let (left, few) = (left - largest, smallest.saturating_mul(FEW_GRAINS));
    if left < few {
        return 0;
    }
    let raise = |level: u64, due: u64, claim: &Claim| {
        let lacking = (u128::from(level) * u128::from(claim.weight)).saturating_sub(due.into());
        lacking.next_multiple_of(claim.grain.into())
    };
    let wanting: Vec<(usize, &Claim)> = wanting(left + largest, claims).collect();
    let cost = |level: u64, due: &[u64]| -> u128 {
        wanting.iter().map(|(position, claim)| raise(level, due[*position], claim)).sum()
    };
    let (mut reached, mut beyond) = (0, u64::MAX);
    while beyond - reached > 1 {
        let level = reached + (beyond - reached) / 2;
        let fits = cost(level, due) <= u128::from(left);
        (reached, beyond) = if fits { (level, beyond) } else { (reached, level) };
    }
    let before: u64 = due.iter().sum();
    for (position, claim) in &wanting {
        due[*position] += u64::try_from(raise(reached, due[*position], claim)).unwrap_or(0);
    }
    due.iter().sum::<u64>() - before
}

/// So few grains are sooner given one by one.
const FEW_GRAINS: u64 = 64;

/// Fills all claims to the same level for their weight, between their floors and what they want. What
/// those that are at a bound have more or less, the others share.
fn level(total: u64, claims: &[Claim]) -> Vec<u64> {
    let mut shares: Vec<Option<u64>> = alloc::vec![None; claims.len()];
    loop {
        let open = || claims.iter().zip(&shares).filter(|(_, share)| share.is_none());
        let weights: u64 = open().map(|(claim, _)| u64::from(claim.weight)).sum();
        let left = total.saturating_sub(shares.iter().flatten().sum());
        let fair = |claim: &Claim| {
            let share = u128::from(left) * u128::from(claim.weight) / u128::from(weights.max(1));
            u64::try_from(share).unwrap_or(left)
        };
        let lifted: u64 = open().map(|(c, _)| c.floor.saturating_sub(fair(c))).sum();
        let lowered: u64 = open().map(|(c, _)| fair(c).saturating_sub(c.ceiling())).sum();
        let bound = |claim: &Claim| match lifted.cmp(&lowered) {
            Ordering::Greater => (claim.floor > fair(claim)).then_some(claim.floor),
            Ordering::Less => (claim.ceiling() < fair(claim)).then(|| claim.ceiling()),
            Ordering::Equal => Some(fair(claim).max(claim.floor).min(claim.ceiling())),
        };
        let settled: Vec<Option<u64>> = claims.iter().map(bound).collect();
        for (share, settled) in shares.iter_mut().zip(settled).filter(|(share, _)| share.is_none())
        {
            *share = settled;
        }
        if shares.iter().all(Option::is_some) {
            return shares.into_iter().flatten().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(weight: u32, held: u64, grain: u64) -> Claim {
        Claim { weight, held, most: held, floor: 0, near: 0, grain }
    }

    #[test]
    fn runs_that_want_more_share_by_weight() {
        assert_eq!(divide(80, &[claim(1, 0, 10), claim(1, 0, 10)]), [40, 40]);
        assert_eq!(divide(80, &[claim(3, 0, 10), claim(1, 0, 10)]), [60, 20]);
        assert_eq!(divide(80, &[claim(1, 0, 10); 3]).iter().sum::<u64>(), 80, "whole grains");
    }

    #[test]
    fn what_one_does_not_want_the_other_gets() {
        assert_eq!(divide(80, &[claim(1, 10, 0), claim(1, 0, 10)]), [10, 70]);
        assert_eq!(divide(80, &[claim(1, 0, 0), claim(1, 40, 10)]), [0, 80]);
    }

    #[test]
    fn an_owner_gets_its_share_back_as_the_borrower_lets_go() {
        let shares = divide(80, &[claim(1, 0, 10), claim(1, 80, 10)]);
        assert_eq!(shares, [0, 40], "the borrower may start nothing, the owner not yet");
        assert_eq!(divide(80, &[claim(1, 0, 10), claim(1, 60, 10)]), [20, 40]);
        assert_eq!(divide(80, &[claim(1, 40, 10), claim(1, 40, 10)]), [40, 40]);
    }

    #[test]
    fn what_is_of_no_use_to_others_is_kept() {
        assert_eq!(divide(60, &[claim(3, 0, 10), claim(1, 15, 5)]), [40, 20]);
        assert_eq!(divide(60, &[claim(3, 0, 10), claim(1, 20, 0)]), [40, 20]);
    }

    #[test]
    fn what_nobody_wants_is_divided_too() {
        assert_eq!(divide(80, &[claim(1, 10, 0)]), [80]);
        assert_eq!(divide(80, &[claim(1, 10, 0), claim(1, 20, 0)]), [35, 45]);
        assert_eq!(divide(85, &[claim(1, 0, 10), claim(1, 0, 10)]).iter().sum::<u64>(), 85);
    }

    #[test]
    fn a_share_that_others_may_still_use_is_not_given_to_two() {
        let busy = Claim { most: 80, ..claim(1, 20, 10) };
        assert_eq!(divide(80, &[busy, claim(1, 0, 10)]), [40, 0], "it may not have heard yet");
        assert_eq!(divide(80, &[claim(1, 20, 10), claim(1, 0, 10)]), [40, 40]);
    }

    #[test]
    fn what_others_may_still_use_is_told_in_whole_grains() {
        let unheard = Claim { most: 3, ..claim(1, 0, 0) };
        let full = Claim { floor: 80, near: 80, ..claim(1, 60, 10) };
        assert_eq!(divide(80, &[unheard, full]), [0, 70], "not 77: others have 3 until they hear");
        assert_eq!(divide(80, &[claim(1, 0, 0), full]), [0, 80]);
    }

    #[test]
    fn nobody_gets_less_than_its_floor() {
        let floored = |floor, claim: Claim| Claim { floor, near: floor, ..claim };
        assert_eq!(divide(80, &[floored(60, claim(1, 0, 10)), claim(1, 0, 10)]), [60, 20]);
        assert_eq!(divide(80, &[floored(60, claim(1, 0, 0)), claim(1, 0, 10)]), [60, 20]);
        assert_eq!(divide(80, &[floored(15, claim(1, 0, 30)), claim(1, 0, 5)]), [15, 65]);
        let out = Claim { weight: 0, ..claim(1, 0, 0) };
        assert_eq!(divide(80, &[out, claim(1, 0, 10)]), [0, 80], "who has no weight gets nothing");
    }

    #[test]
    fn bytes_in_tiny_grains_are_divided_at_once() {
        let shares = divide(1 << 50, &[claim(1, 0, (1 << 49) + 1), claim(1, 0, 1), claim(1, 0, 1)]);
        assert_eq!(shares, [0, 1 << 49, 1 << 49]);
    }

    proptest! {
        #[test]
        fn many_grains_at_once_are_what_they_are_one_by_one(
            left in 0u64..100_000,
            drawn in proptest::collection::vec((0u32..5, 0u64..9_000, 0u64..60), 1..6),
            coarse in 1u64..20_000,
        ) {
            let (mut claims, mut due) = (Vec::new(), Vec::new());
            for (position, (weight, has, grain)) in drawn.into_iter().enumerate() {
                claims.push(claim(weight, 0, if position == 1 { coarse } else { grain }));
                due.push(has);
            }
            let mut one_by_one = (due.clone(), left);
            while let Some(position) = lowest(&one_by_one.0, one_by_one.1, &claims) {
                one_by_one.0[position] += claims[position].grain;
                one_by_one.1 -= claims[position].grain;
            }
            let left = give_grains(&mut due, left, &claims);
            prop_assert_eq!((due, left), one_by_one);
        }

        #[test]
        fn together_they_never_hold_more_than_there_is(
            total in 1u64..1_000,
            drawn in proptest::collection::vec((1u32..5, 0u64..300, 0u64..50, 0u64..300), 1..6),
        ) {
            let (mut left, mut unpromised) = (total, total);
            let claims: Vec<Claim> = drawn
                .into_iter()
                .map(|(weight, held, grain, floor)| {
                    let (held, floor) = (held.min(left), floor.min(unpromised));
                    (left, unpromised) = (left - held, unpromised - floor);
                    Claim { floor, near: floor, ..claim(weight, held, grain) }
                })
                .collect();
            let shares = divide(total, &claims);
            let most = claims.iter().zip(&shares).map(|(claim, share)| claim.held.max(*share));
            prop_assert!(most.sum::<u64>() <= total);
            let due = due(total, &claims);
            prop_assert!(claims.iter().zip(&due).all(|(claim, due)| *due >= claim.floor));
            prop_assert!(due.iter().sum::<u64>() <= total);
            let unclaimed = total - due.iter().sum::<u64>();
            prop_assert!(claims.iter().all(|c| c.grain == 0 || c.grain > unclaimed));
        }
    }
}
