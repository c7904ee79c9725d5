//! Actors and nodes that break in some worlds: they live, but all that they do fails.
//!
//! Owns nothing but what is drawn for that, from a stream of its own.

use millstream_core::Time;

use crate::faults::Faults;
use crate::random::Random;
use crate::trace::NodeSpec;

/// Lets actors break in some worlds, and a node in some of those that have several. Not where deaths
/// count for nothing until the faults stop: what fails at once would fail for ever before.
pub(super) fn draw(seed: u64, nodes: &[NodeSpec], faults: &mut Faults) {
    let mut random = Random::of(&[seed, BROKEN]);
    if random.chance(BREAKING) {
        faults.actor_break = random.pick(&[100, 500, 1_000]);
    }
    if random.chance(BREAKING) && nodes.len() > 1 {
        let at = Time(random.between(0, 1_000_000));
        let broken = usize::try_from(random.between(0, nodes.len() as u64 - 1)).unwrap_or(0);
        faults.node_breaks.push((at, nodes[broken].node));
    }
}

/// Keeps these draws apart from all others.
const BROKEN: u64 = 19;
/// Worlds in a thousand in which actors break, and likewise nodes.
const BREAKING: u64 = 150;
