//! Sources whose units are listed while they are read, in some worlds.
//!
//! Owns nothing but what is drawn for that, from a stream of its own.

use millstream_core::{Bytes, OpKind, OpSpec, Span};

use crate::listing::Listing;
use crate::random::Random;

/// Lists the units of the sources in some worlds, and lets their sizes differ in some.
pub(super) fn draw(seed: u64, ops: &mut [OpSpec]) -> Option<Listing> {
    let mut random = Random::of(&[seed, LISTING]);
    if random.chance(UNEVEN) {
        vary(&mut random, ops);
    }
    random.chance(LISTED).then(|| Listing {
        known: random.pick(&[0, 0, 1, 10]),
        page: random.pick(&[1, 3, 10, 1_000]),
        latency: Span(random.pick(&[0, 100, 20_000, 1_000_000])),
    })
}

/// Draws the size of each unit anew: most are small, few large, and of some nothing is known.
fn vary(random: &mut Random, ops: &mut [OpSpec]) {
    let unknown = random.pick(&[0, 0, 100]);
    for op in ops {
        let OpKind::Source { units, .. } = &mut op.kind else { continue };
        for unit in units {
            let most = random.pick(&[10, 1_000, 50_000]);
            let bytes = random.between(1, most);
            unit.bytes = Bytes(if random.chance(unknown) { 0 } else { bytes });
        }
    }
}

/// Keeps these draws apart from all others.
const LISTING: u64 = 17;
/// Worlds in a thousand whose sources are listed while they are read.
const LISTED: u64 = 200;
/// Worlds in a thousand whose units differ.
const UNEVEN: u64 = 150;
