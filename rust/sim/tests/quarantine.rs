//! Work moves away from actors and nodes that live but fail it, and a run ends in spite of them, or with a
//! clear cause where nothing else is left.

use millstream_core::{
    Bytes, Config, FailCause, NodeId, OpId, OpKind, OpSnapshot, OpSpec, Plan, PoolSpec, Resources,
    Rows, Slots, Span, Time, Unit,
};
use millstream_sim::faults::Faults;
use millstream_sim::simulation::{self, Ending, Report};
use millstream_sim::trace::NodeSpec;
use millstream_sim::workload::{Consumer, Delays, Network, OpModel, Overheads, Scenario};

const UNITS: usize = 60;
const POOL: PoolSpec = PoolSpec { actors_min: 3, actors_max: 3, tasks_in_flight_max: 2 };

/// Units are read by tasks and mapped by `kind` on nodes with 4 CPUs each.
fn world(kind: OpKind, nodes: u32, faults: Faults) -> Scenario {
    let spec = |name: &str, inputs: Vec<OpId>, kind| OpSpec {
        name: name.to_owned(),
        inputs,
        kind,
        resources: Resources::cpu(Slots::whole(1)),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    let model = OpModel {
        row_bytes: 1_000,
        load: Span(50_000),
        ..OpModel::even(Span(20_000), Span(1_000))
    };
    let ops = vec![
        spec(
            "Read",
            vec![],
            OpKind::Source { units: vec![Unit::default(); UNITS], is_open: false },
        ),
        spec("Map", vec![OpId(0)], kind),
    ];
    let config = Config { block_bytes_target: Bytes(1_000), ..Config::default() };
    let node = |number| NodeSpec {
        node: NodeId(number),
        resources: Resources::cpu(Slots::whole(4)),
        store: Bytes(1_000_000),
    };
    Scenario {
        seed: 1,
        plan: Plan::new(ops, config).expect("because it is a chain"),
        nodes: (0..nodes).map(node).collect(),
        unit_rows: vec![vec![4; UNITS], vec![]],
        models: vec![model.clone(), model],
        consumer: Consumer { block: Span::ZERO, blocks_max: None, rest: None },
        delays: Delays::default(),
        network: Network::default(),
        overheads: Overheads::default(),
        listing: None,
        faults,
    }
}

fn run(scenario: &Scenario) -> Report {
    simulation::run(scenario, None).unwrap_or_else(|violation| panic!("{violation}"))
}

fn mapper(report: &Report) -> &OpSnapshot {
    &report.last.as_ref().expect("because it ran").ops[1]
}

fn broken_nodes(count: u32) -> Faults {
    let node_breaks = (0..count).map(|node| (Time(100_000), NodeId(node))).collect();
    Faults { node_breaks, ..Faults::default() }
}

#[test]
fn work_moves_from_actors_that_live_but_are_broken() {
    for seed in 0..20 {
        let faults = Faults { actor_break: 500, ..Faults::default() };
        let report = run(&Scenario { seed, ..world(OpKind::Actors(POOL), 1, faults) });
        assert_eq!(report.ending, Ending::Completed, "seed {seed}");
        let map = mapper(&report);
        assert_eq!(map.rows_out, 4 * UNITS as u64);
        assert!(
            map.tasks_failed <= 2 * map.actors_given_up + 3,
            "seed {seed}: {} tasks failed, {} actors were given up",
            map.tasks_failed,
            map.actors_given_up
        );
    }
}

#[test]
fn where_all_actors_are_broken_the_run_says_so() {
    let faults = Faults { node_breaks: vec![(Time(0), NodeId(0))], ..Faults::default() };
    let plan = world(OpKind::Actors(POOL), 2, faults.clone());
    assert_eq!(run(&plan).ending, Ending::Completed, "the other node takes all of it");
    let mut faults = faults;
    faults.node_breaks.push((Time(300_000), NodeId(1)));
    let report = run(&world(OpKind::Actors(POOL), 2, faults));
    let is_clear = matches!(
        report.ending,
        Ending::Failed(FailCause::WorkersBroken { count: 4 } | FailCause::TaskDeaths { count: 4 })
    );
    assert!(is_clear, "{:?}", report.ending);
}

#[test]
fn a_node_on_which_tasks_keep_failing_is_left_alone() {
    let report = run(&world(OpKind::Tasks, 3, broken_nodes(1)));
    assert_eq!(report.ending, Ending::Completed);
    let map = mapper(&report);
    assert!(map.quarantines >= 1, "{map:?}");
    assert!(map.tasks_failed <= 10, "{} tasks failed", map.tasks_failed);
}

#[test]
fn where_all_nodes_are_broken_the_tasks_run_out_of_attempts() {
    let report = run(&world(OpKind::Tasks, 2, broken_nodes(2)));
    assert_eq!(report.ending, Ending::Failed(FailCause::TaskDeaths { count: 4 }));
}
