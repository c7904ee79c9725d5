//! What a trace teaches: run again as a scenario, it takes about as long as it took.
#![allow(clippy::cast_precision_loss)] // spans are far below 2^52 us

use millstream_core::{OpKind, OpSpec, Span};
use millstream_sim::learn::learn;
use millstream_sim::published::{Jitter, workloads};
use millstream_sim::simulation::{self, Ending};
use millstream_sim::swarm;
use millstream_sim::workload::Scenario;

/// The makespan of a scenario and the one that its trace predicts; none where it has no end.
fn predicted(scenario: &Scenario) -> Option<(Span, Span)> {
    let mut trace = Vec::new();
    let run = simulation::run(scenario, Some(&mut trace)).expect("because the oracles agree");
    if run.ending != Ending::Completed {
        return None;
    }
    let lesson = learn(trace.as_slice()).expect("because it was recorded just now");
    assert_eq!(lesson.makespan, run.makespan);
    let again = simulation::run(&lesson.scenario, None).expect("because the oracles agree");
    assert_eq!((again.ending, again.rows_out), (Ending::Completed, run.rows_out));
    Some((run.makespan, again.makespan))
}

fn error((real, predicted): (Span, Span)) -> f64 {
    (predicted.0 as f64 - real.0 as f64).abs() / real.0 as f64
}

#[test]
fn published_workloads_are_predicted_within_a_tenth() {
    for workload in workloads() {
        let spans = predicted(&workload.scenario()).expect("because they complete");
        assert!(error(spans) < 0.1, "{}: {spans:?}", workload.name);
    }
}

#[test]
fn published_workloads_that_vary_are_predicted_within_a_tenth() {
    for seed in 0..4 {
        for workload in workloads() {
            let varied = workload.with_jitter(Jitter { seed, spread: 200 });
            let spans = predicted(&varied.scenario()).expect("because they complete");
            assert!(error(spans) < 0.1, "{} with seed {seed}: {spans:?}", workload.name);
        }
    }
}

#[test]
fn whatever_went_wrong_short_of_lost_nodes_the_same_rows_come_out_again() {
    let worlds = (0..400).map(swarm::scenario).filter(is_chain);
    let worlds = worlds.filter(|world| !world.faults.may_lose_blocks());
    let ended = worlds.filter_map(|world| predicted(&world));
    assert!(ended.count() > 75, "most worlds complete");
}

#[test]
fn what_is_no_chain_is_refused_by_name() {
    let mut worlds = (0..).map(swarm::scenario).filter(|world| !is_chain(world));
    let world = worlds.next().expect("because there are such worlds");
    let mut trace = Vec::new();
    simulation::run(&world, Some(&mut trace)).expect("because the oracles agree");
    let error = learn(trace.as_slice()).expect_err("because it is no chain");
    assert!(error.to_string().contains("only told of chains"), "{error}");
}

fn is_chain(world: &Scenario) -> bool {
    use OpKind::{Actors, Sink, Source, Tasks};
    let is_worker = |op: &OpSpec| matches!(op.kind, Source { .. } | Tasks | Actors(_) | Sink);
    world.plan.ops().iter().all(is_worker)
}
