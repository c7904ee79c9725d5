//! Every tiny world completes under the oracles.

use millstream_sim::simulation::{self, Ending};
use millstream_sim::tiny;

#[test]
fn every_tiny_world_completes() {
    let mut count = 0;
    for (name, world) in tiny::worlds() {
        let report =
            simulation::run(&world, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(report.ending, Ending::Completed, "{name}");
        assert_eq!(report.rows_out, world.row_map().total(), "{name}");
        count += 1;
    }
    assert_eq!(count, 3_960);
}
