//! Exchanges under the oracles: worlds of the swarm that have any, and shuffles larger than the store.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use millstream_core::{Bytes, OpKind};
use millstream_sim::simulation::{self, Ending};
use millstream_sim::workload::Scenario;
use millstream_sim::{swarm, tiny};

fn has_exchange(world: &Scenario) -> bool {
    world.plan.ops().iter().any(|op| op.kind == OpKind::Gather)
}

#[test]
fn the_swarm_has_exchanges_that_fit_and_some_that_do_not() {
    let worlds = (0..3_000).map(swarm::scenario).filter(has_exchange);
    let (mut count, mut completed, mut set_aside) = (0, 0, 0);
    for world in worlds {
        let report = simulation::run(&world, None)
            .unwrap_or_else(|violation| panic!("seed {}: {violation}", world.seed));
        count += 1;
        completed += u64::from(report.ending == Ending::Completed);
        set_aside += u64::from(report.last.is_some_and(|last| last.bytes_set_aside > Bytes::ZERO));
    }
    assert!(count > 300, "{count} worlds");
    assert!(completed > count / 2, "{completed} of {count} come to an end");
    assert!(set_aside > count / 10 && set_aside < count, "{set_aside} of {count} set aside");
}

#[test]
fn a_shuffle_larger_than_the_stores_completes_and_says_so() {
    let worlds = tiny::worlds().filter(|(_, world)| has_exchange(world));
    let (mut count, mut larger) = (0, 0);
    for (name, world) in worlds {
        let report =
            simulation::run(&world, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let row = world.models[0].row_bytes;
        let shuffled = row * world.unit_rows.iter().flatten().sum::<u64>();
        let stores: u64 = world.nodes.iter().map(|node| node.store.0).sum();
        let set_aside = report.last.unwrap().bytes_set_aside.0;
        count += 1;
        larger += u64::from(shuffled > stores);
        assert!(shuffled <= stores + set_aside, "{name}: {set_aside} B were set aside");
    }
    assert!(larger > count / 10, "{larger} of {count} are larger than their stores");
}
