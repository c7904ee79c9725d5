//! A world that fails is made smaller, under an oracle that is broken on purpose.

use millstream_core::{OpKind, Time};
use millstream_sim::checker::Violation;
use millstream_sim::description;
use millstream_sim::shrink::shrink;
use millstream_sim::simulation;
use millstream_sim::swarm;
use millstream_sim::workload::Scenario;

/// Forbids that three rows come out of a plan with actors.
fn broken(world: &Scenario) -> Result<(), Violation> {
    let report = simulation::run(world, None)?;
    let has_actors = world.plan.ops().iter().any(|op| matches!(op.kind, OpKind::Actors(_)));
    if has_actors && report.rows_out >= 3 {
        let what = format!("{} rows", report.rows_out);
        return Err(Violation { invariant: "I9", at: Time(0), what });
    }
    Ok(())
}

#[test]
fn what_does_not_matter_is_left_out() {
    let failing = (0..300).map(swarm::scenario).filter(|world| world.plan.ops().len() > 3);
    let failing = failing.filter_map(|world| broken(&world).err().map(|error| (world, error)));
    let mut count = 0;
    for (world, violation) in failing.take(5) {
        let shrunk = shrink(&world, &violation, &broken);
        let small = &shrunk.scenario;
        assert_eq!(shrunk.violation.invariant, "I9");
        assert!(broken(small).is_err());
        assert!(small.plan.ops().len() <= 2, "{}", swarm::describe(small));
        assert_eq!(small.nodes.len(), 1, "{}", swarm::describe(small));
        let units: usize = small.unit_rows.iter().map(Vec::len).sum();
        assert!(units <= 3, "{}", swarm::describe(small));
        assert!(small.faults.joins.is_empty() && small.faults.task_death == 0);
        let again = shrink(&world, &violation, &broken);
        assert_eq!(description::write(small), description::write(&again.scenario));
        count += 1;
    }
    assert_eq!(count, 5, "few worlds are so small");
}

#[test]
fn another_violation_is_not_the_same_failure() {
    let world = swarm::scenario(3);
    let violation = Violation { invariant: "I1", at: Time(0), what: "a test".to_owned() };
    let shrunk =
        shrink(&world, &violation, &|_| Err(Violation { invariant: "I2", ..violation.clone() }));
    assert_eq!(description::write(&shrunk.scenario), description::write(&world));
    assert_eq!(shrunk.violation, violation);
}
