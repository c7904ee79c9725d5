//! What workers use of the memory of their nodes is learned, and what was killed for lack of it runs
//! again with more.

use millstream_core::{
    Bytes, Config, FailCause, OpId, OpKind, OpSpec, Plan, PoolSpec, Resources, Rows, Slots, Span,
    Unit,
};
use millstream_core::{NodeId, OpSnapshot};
use millstream_sim::faults::Faults;
use millstream_sim::simulation::{self, Ending, Report};
use millstream_sim::trace::NodeSpec;
use millstream_sim::workload::{Consumer, Delays, Network, OpModel, Overheads, Scenario};

const GIB: u64 = 1 << 30;
const UNITS: usize = 40;

/// Units are read by tasks and mapped by `kind` on one node with 8 CPUs and `heap`; a mapper uses
/// `used`, and says that it needs `declared`. No death may be counted at all.
fn world(kind: OpKind, heap: u64, used: u64, declared: u64) -> Scenario {
    let spec = |name: &str, inputs: Vec<OpId>, kind, heap| OpSpec {
        name: name.to_owned(),
        inputs,
        kind,
        resources: Resources { heap: Bytes(heap), ..Resources::cpu(Slots::whole(1)) },
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    let model = |heap| OpModel {
        row_bytes: 1_000,
        load: Span(50_000),
        heap,
        ..OpModel::even(Span(20_000), Span(1_000))
    };
    let ops = vec![
        spec(
            "Read",
            vec![],
            OpKind::Source { units: vec![Unit::default(); UNITS], is_open: false },
            0,
        ),
        spec("Map", vec![OpId(0)], kind, declared),
    ];
    let config = Config { deaths_max: 1, block_bytes_target: Bytes(1_000), ..Config::default() };
    let resources = Resources { heap: Bytes(heap), ..Resources::cpu(Slots::whole(8)) };
    Scenario {
        seed: 1,
        plan: Plan::new(ops, config).expect("because it is a chain"),
        nodes: vec![NodeSpec { node: NodeId(0), resources, store: Bytes(1_000_000) }],
        unit_rows: vec![vec![4; UNITS], vec![]],
        models: vec![model(1 << 20), model(used)],
        consumer: Consumer { block: Span::ZERO, blocks_max: None, rest: None },
        delays: Delays::default(),
        network: Network::default(),
        overheads: Overheads::default(),
        listing: None,
        faults: Faults::default(),
    }
}

fn run(scenario: &Scenario) -> Report {
    simulation::run(scenario, None).unwrap_or_else(|violation| panic!("{violation}"))
}

fn mapper(report: &Report) -> &OpSnapshot {
    &report.last.as_ref().expect("because it ran").ops[1]
}

#[test]
fn tasks_that_are_killed_for_memory_run_again_with_more() {
    let report = run(&world(OpKind::Tasks, 10 * GIB, 3 * GIB, 0));
    assert_eq!(report.ending, Ending::Completed);
    let op = mapper(&report);
    assert!((1..40).contains(&op.memory_kills), "{}", op.memory_kills);
    assert!(op.heap_each >= Bytes(3 * GIB), "{}", op.heap_each);
    assert!(op.heap_each <= Bytes(5 * GIB), "{}", op.heap_each);
}

#[test]
fn actors_that_are_killed_for_memory_are_started_with_more() {
    let pool = PoolSpec { actors_min: 1, actors_max: 6, tasks_in_flight_max: 2 };
    let report = run(&world(OpKind::Actors(pool), 10 * GIB, 3 * GIB, 0));
    assert_eq!(report.ending, Ending::Completed);
    assert!(mapper(&report).heap_each >= Bytes(3 * GIB), "{}", mapper(&report).heap_each);
}

#[test]
fn what_is_declared_is_held_from_the_start() {
    let report = run(&world(OpKind::Tasks, 10 * GIB, 3 * GIB, 3 * GIB));
    assert_eq!(report.ending, Ending::Completed);
    assert_eq!(mapper(&report).memory_kills, 0);
}

#[test]
fn work_that_no_node_has_the_memory_for_fails_with_the_numbers() {
    let report = run(&world(OpKind::Tasks, 10 * GIB, 12 * GIB, 0));
    let (reserved, largest) = (Bytes(10 * GIB), Bytes(10 * GIB));
    let cause = FailCause::OutOfMemory { count: 1, reserved, largest };
    assert_eq!(report.ending, Ending::Failed(cause));
}

#[test]
fn a_request_that_no_node_has_is_refused_with_the_numbers() {
    let report = run(&world(OpKind::Tasks, 10 * GIB, GIB, 12 * GIB));
    let Ending::Refused(words) = report.ending else { panic!("{:?}", report.ending) };
    assert!(words.contains("12.0 GiB of heap") && words.contains("10.0 GiB of heap"), "{words}");
}

#[test]
fn where_no_node_says_what_it_has_kills_are_deaths() {
    let mut scenario = world(OpKind::Tasks, 0, 3 * GIB, 0);
    scenario.faults.out_of_memory = 1_000;
    assert_eq!(run(&scenario).ending, Ending::Failed(FailCause::TaskDeaths { count: 1 }));
}
