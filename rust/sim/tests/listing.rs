//! Sources that are listed while they are read, under the oracles.

use millstream_core::{Activity, OpKind, Span};
use millstream_sim::listing::Listing;
use millstream_sim::simulation::{self, Ending, Report};
use millstream_sim::swarm;
use millstream_sim::workload::Scenario;

fn run(scenario: &Scenario) -> Report {
    simulation::run(scenario, None).unwrap_or_else(|violation| panic!("{violation}"))
}

/// A world of the swarm whose run has rows and completes, with this listing.
fn listed(listing: Listing) -> impl Iterator<Item = Scenario> {
    let worlds = (0..).map(|seed| Scenario { listing: None, ..swarm::scenario(seed) });
    let completes = |world: &Scenario| {
        let units: usize = world.unit_rows.iter().map(Vec::len).sum();
        // Which rows a limit takes, or an equal split leaves over, may follow from when they come.
        let is_told = world.row_map().is_dense() && !world.is_split_equally();
        units > 20 && is_told && run(world).ending == Ending::Completed
    };
    let worlds = worlds.filter(completes);
    worlds.map(move |world| Scenario { listing: Some(listing), ..world })
}

#[test]
fn a_list_that_comes_page_by_page_gives_the_same_rows() {
    for listing in [(0, 1, 0), (5, 3, 1_000), (0, 1_000, 3_000_000)] {
        let (known, page, latency) = listing;
        let listing = Listing { known, page, latency: Span(latency) };
        for world in listed(listing).take(20) {
            let whole = run(&Scenario { listing: None, ..world.clone() });
            let report = run(&world);
            assert!(matches!(report.ending, Ending::Completed | Ending::Failed(_)));
            if report.ending == Ending::Completed {
                assert_eq!(report.rows_out, whole.rows_out, "{}", world.seed);
            }
        }
    }
}

#[test]
fn time_without_known_units_is_input_wait_for_the_list() {
    let listing = Listing { known: 0, page: 1_000, latency: Span(60_000_000) };
    let world = listed(listing).next().expect("because the swarm has many worlds");
    let report = run(&world);
    let last = report.last.expect("because it ran");
    let source = last.ops.iter().find(|op| op.is_source).expect("because every plan has one");
    assert!(source.held["listing"] >= Span(60_000_000), "{:?}", source.held);
    let waited = last.cpu_times.of(Activity::InputWait);
    assert!(waited * 2 > last.cpu_times.total(), "{:?}", last.cpu_times);
}

#[test]
fn the_swarm_has_listed_worlds_and_uneven_units() {
    let worlds: Vec<Scenario> = (0..200).map(swarm::scenario).collect();
    assert!(worlds.iter().filter(|world| world.listing.is_some()).count() > 20);
    let is_uneven = |world: &&Scenario| {
        world.plan.ops().iter().any(|op| match &op.kind {
            OpKind::Source { units, .. } => units.windows(2).any(|pair| pair[0] != pair[1]),
            _ => false,
        })
    };
    assert!(worlds.iter().filter(is_uneven).count() > 10);
}
