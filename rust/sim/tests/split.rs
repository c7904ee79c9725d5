//! Several consumers of different speed: a slow one keeps nobody waiting, unless all are to get equally
//! many rows.

use millstream_core::{
    Bytes, Config, NodeId, OpId, OpKind, OpSpec, Plan, Resources, Rows, Slots, Snapshot, Span, Unit,
};
use millstream_sim::faults::Faults;
use millstream_sim::simulation::{self, Ending};
use millstream_sim::trace::NodeSpec;
use millstream_sim::workload::{Consumer, Delays, Network, OpModel, Overheads, Scenario};

const UNITS: usize = 61;

/// Blocks of three rows for `slow.len()` consumers, of which each takes 1 ms times its factor for one.
fn world(equal: bool, slow: &[u64], gone: Vec<(u32, u64)>) -> Scenario {
    let spec = |name: &str, kind, inputs, cpus| OpSpec {
        name: name.to_owned(),
        inputs,
        kind,
        resources: Resources::cpu(Slots::whole(cpus)),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    let model =
        OpModel { block_rows: 3, row_bytes: 1_000, ..OpModel::even(Span(1_000), Span(100)) };
    let consumers = u32::try_from(slow.len()).expect("because there are few");
    let ops = vec![
        spec(
            "Read",
            OpKind::Source { units: vec![Unit::default(); UNITS], is_open: false },
            vec![],
            1,
        ),
        spec("Split", OpKind::Split { consumers, equal, left_out: Vec::new() }, vec![OpId(0)], 0),
    ];
    let config = Config { block_bytes_target: Bytes(3_000), ..Config::default() };
    let resources = Resources::cpu(Slots::whole(4));
    let consumers_slow = slow.iter().map(|factor| factor * 1_000).collect();
    Scenario {
        seed: 1,
        plan: Plan::new(ops, config).expect("because it is a chain"),
        nodes: vec![NodeSpec { node: NodeId(0), resources, store: Bytes(60_000) }],
        unit_rows: vec![vec![3; UNITS], vec![]],
        models: vec![model.clone(), model],
        consumer: Consumer { block: Span(1_000), blocks_max: None, rest: None },
        delays: Delays::default(),
        network: Network::default(),
        overheads: Overheads::default(),
        listing: None,
        faults: Faults { consumers_slow, consumers_gone: gone, ..Faults::default() },
    }
}

fn run(scenario: &Scenario) -> (Ending, Span, Snapshot) {
    let report = simulation::run(scenario, None).unwrap_or_else(|violation| panic!("{violation}"));
    (report.ending, report.makespan, report.last.expect("because it ran"))
}

#[test]
fn a_slow_consumer_keeps_nobody_waiting() {
    let (ending, makespan, last) = run(&world(false, &[1, 1, 10_000], vec![]));
    assert_eq!(ending, Ending::Completed);
    assert_eq!(last.consumer_rows[2], 6, "the two blocks that it had in hand");
    assert!(makespan < Span(21_000_000), "{makespan:?}: its two blocks and no more");
}

#[test]
fn equal_consumers_end_with_equally_many_rows_though_one_is_slow() {
    let (ending, _, last) = run(&world(true, &[1, 1, 1, 50], vec![]));
    assert_eq!(ending, Ending::Completed);
    assert_eq!((last.consumer_rows, last.rows_dropped), (vec![45; 4], 3));
}

#[test]
fn what_a_consumer_leaves_goes_to_the_others() {
    let (ending, _, last) = run(&world(false, &[1, 1], vec![(0, 5)]));
    assert_eq!((ending, last.rows_dropped), (Ending::Completed, 0));
    assert!(last.output_rows == 3 * UNITS as u64, "{}", last.output_rows);
    let (ending, _, last) = run(&world(true, &[1, 1, 1], vec![(0, 5)]));
    assert_eq!(ending, Ending::Completed);
    assert_eq!(last.consumer_rows[1], last.consumer_rows[2]);
    assert!(last.rows_dropped >= 3, "what it had in hand");
}
