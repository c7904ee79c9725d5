//! Whether the scheduler names what a run waits for: one thing at a time is made slow or scarce in a
//! pipeline that has enough of everything, at different sizes and seeds.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

use millstream_core::{
    Activity, Bottleneck, Bytes, Config, Finding, NodeId, OpId, OpKind, OpSpec, Plan, PoolSpec,
    Resources, Rows, Slots, Snapshot, Span, Unit,
};
use millstream_sim::faults::Faults;
use millstream_sim::simulation;
use millstream_sim::trace::NodeSpec;
use millstream_sim::variation::Variation;
use millstream_sim::workload::{
    Consumer, Delays, Emission, Network, OpModel, Overheads, Pace, Scenario,
};
use proptest::prelude::*;

const MILLISECOND: u64 = 1_000;
const MIB: u64 = 1 << 20;
const READ: usize = 0;
const MAP: usize = 1;
const INFER: usize = 2;

/// How large the pipeline is and by how much the one thing is worse.
#[derive(Clone, Copy, Debug)]
struct Size {
    seed: u64,
    units: u64,
    cpus: u64,
    gpus: u64,
    factor: u64,
}

const USUAL: Size = Size { seed: 1, units: 60, cpus: 8, gpus: 4, factor: 20 };

fn any_size() -> impl Strategy<Value = Size> {
    (any::<u64>(), 40u64..100, 3u64..12, 1u64..6, 10u64..40)
        .prop_map(|(seed, units, cpus, gpus, factor)| Size { seed, units, cpus, gpus, factor })
}

fn spec(name: &str, position: u32, kind: OpKind, resources: Resources) -> OpSpec {
    OpSpec {
        name: name.to_owned(),
        inputs: position.checked_sub(1).map(OpId).into_iter().collect(),
        kind,
        resources,
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    }
}

fn model(span: Span) -> OpModel {
    OpModel {
        pace_variation: Variation::spread(100),
        row_bytes: MIB,
        load: Span(100 * MILLISECOND),
        ..OpModel::even(Span::ZERO, span)
    }
}

/// Units of four blocks of 1 MiB are read, mapped and inferred, on machines that could do more.
struct Pipeline {
    size: Size,
    ops: Vec<OpSpec>,
    scenario: Scenario,
}

impl Pipeline {
    fn new(size: Size) -> Self {
        let units = vec![Unit::default(); usize::try_from(size.units).unwrap()];
        let actors = u32::try_from(size.gpus).unwrap();
        let pool = PoolSpec { actors_min: actors, actors_max: actors, tasks_in_flight_max: 2 };
        let ops = vec![
            spec(
                "Read",
                0,
                OpKind::Source { units, is_open: false },
                Resources::cpu(Slots::whole(1)),
            ),
            spec("Map", 1, OpKind::Tasks, Resources::cpu(Slots::whole(1))),
            spec("Infer", 2, OpKind::Actors(pool), Resources::gpu(Slots::whole(1))),
        ];
        let resources = Resources {
            cpu: Slots::whole(size.cpus),
            gpu: Slots::whole(size.gpus),
            ..Resources::default()
        };
        let config = Config { block_bytes_target: Bytes(MIB), ..Config::default() };
        // The CPUs and the GPUs have as much to do each, in an eighth of a second for a unit.
        let slot_span = |slots: u64, tasks: u64| Span(slots * 1_000 * MILLISECOND / 8 / tasks);
        let models = vec![
            model(slot_span(size.cpus, 2)),
            model(slot_span(size.cpus, 8)),
            model(slot_span(size.gpus, 4)),
        ];
        let scenario = Scenario {
            seed: size.seed,
            plan: Plan::new(ops.clone(), config).unwrap(),
            nodes: vec![NodeSpec { node: NodeId(0), resources, store: Bytes(4_000 * MIB) }],
            unit_rows: vec![vec![4; usize::try_from(size.units).unwrap()], vec![], vec![]],
            models,
            consumer: Consumer { block: Span::ZERO, blocks_max: None, rest: None },
            delays: Delays::default(),
            network: Network::default(),
            overheads: Overheads::default(),
            listing: None,
            faults: Faults::default(),
        };
        Self { size, ops, scenario }
    }

    /// Makes each item of an operator take longer.
    fn slow_down(&mut self, op: usize) {
        let Pace::Even { item, .. } = &mut self.scenario.models[op].pace else { unreachable!() };
        *item = item.times(self.size.factor);
    }

    fn run(mut self) -> Snapshot {
        let config = *self.scenario.plan.config();
        self.scenario.plan = Plan::new(self.ops, config).unwrap();
        let report = simulation::run(&self.scenario, None).unwrap_or_else(|v| panic!("{v}"));
        report.last.unwrap()
    }
}

/// A way to make one thing slow or scarce, and the name for it.
type Injection = (fn(&mut Pipeline), Bottleneck, Option<usize>);

fn slow_read(pipeline: &mut Pipeline) {
    pipeline.slow_down(READ);
}

fn slow_read_by_few_readers(pipeline: &mut Pipeline) {
    pipeline.ops[READ].concurrency_max = 1;
    pipeline.slow_down(READ);
}

fn cpu_short(pipeline: &mut Pipeline) {
    pipeline.slow_down(MAP);
}

fn gpu_short(pipeline: &mut Pipeline) {
    pipeline.slow_down(INFER);
}

/// Room for one task of each operator and hardly more, while a unit is many blocks.
fn store_full(pipeline: &mut Pipeline) {
    pipeline.scenario.nodes[0].store = Bytes(4 * MIB);
    for rows in &mut pipeline.scenario.unit_rows[READ] {
        *rows = 40;
    }
    pipeline.scenario.models[READ].emission = Emission::AtEnd;
}

fn slow_consumer(pipeline: &mut Pipeline) {
    pipeline.scenario.consumer.block = Span(pipeline.size.factor * 125 * MILLISECOND);
}

/// One unit in the middle takes as long as all others together many times over.
fn skewed_file(pipeline: &mut Pipeline) {
    let Size { units, factor, .. } = pipeline.size;
    let Pace::Even { item, .. } = pipeline.scenario.models[READ].pace else { unreachable!() };
    let spike = item.times(units * factor / 4);
    pipeline.scenario.models[READ].pace = Pace::Spiky { usual: item, spike, every: units / 2 + 1 };
}

fn slow_start(pipeline: &mut Pipeline) {
    let work = pipeline.size.units * 125 * MILLISECOND;
    pipeline.scenario.models[INFER].load = Span(work * pipeline.size.factor);
}

fn slow_driver(pipeline: &mut Pipeline) {
    pipeline.scenario.delays.turn = Span(pipeline.size.factor * 100 * MILLISECOND);
}

const INJECTIONS: [Injection; 9] = [
    (slow_read, Bottleneck::SlowRead, Some(READ)),
    (slow_read_by_few_readers, Bottleneck::SlowRead, Some(READ)),
    (cpu_short, Bottleneck::CpuShort, Some(MAP)),
    (gpu_short, Bottleneck::GpuShort, Some(INFER)),
    (store_full, Bottleneck::StoreFull, None),
    (slow_consumer, Bottleneck::SlowConsumer, None),
    (skewed_file, Bottleneck::SkewedWork, Some(READ)),
    (slow_start, Bottleneck::SlowStart, Some(INFER)),
    (slow_driver, Bottleneck::SlowDriver, None),
];

fn found(injection: &Injection, size: Size) -> (Finding, Snapshot) {
    let mut pipeline = Pipeline::new(size);
    (injection.0)(&mut pipeline);
    let snapshot = pipeline.run();
    (snapshot.bottleneck().unwrap(), snapshot)
}

fn words(snapshot: &Snapshot) -> String {
    let shares = |times: &millstream_core::Times| {
        let parts = Activity::ALL.map(|activity| {
            format!("{activity:?} {}", times.of(activity) * 100 / times.total().max(1))
        });
        parts.join(", ")
    };
    let ops = snapshot.ops.iter().map(|op| -> String {
        let (constraints, held) = (&op.constraints, &op.held);
        format!("\n{}: {constraints:?}, held {held:?}, {}", op.name, shares(&op.times))
    });
    format!(
        "elapsed {:?}, delay {:?}\nCPU {}\nGPU {}{}",
        snapshot.elapsed,
        snapshot.driver_delay,
        shares(&snapshot.cpu_times),
        shares(&snapshot.gpu_times),
        ops.collect::<String>()
    )
}

/// What holds a pool on CPUs that reading and mapping need too, and whose rows take long.
fn holds_pool(actors_max: u32, store: u64) -> Bottleneck {
    let mut pipeline = Pipeline::new(Size { cpus: 4, ..USUAL });
    let pool = PoolSpec { actors_min: 1, actors_max, tasks_in_flight_max: 2 };
    pipeline.ops[INFER].kind = OpKind::Actors(pool);
    pipeline.ops[INFER].resources = Resources::cpu(Slots::whole(1));
    pipeline.scenario.nodes[0].store = Bytes(store * MIB);
    pipeline.slow_down(INFER);
    pipeline.run().bottleneck().unwrap().bottleneck
}

#[test]
fn a_pool_is_held_by_its_own_limit_only_where_it_has_as_many_actors_as_it_may() {
    assert_eq!(holds_pool(1, 4_000), Bottleneck::OwnLimit);
    assert_eq!(holds_pool(64, 4_000), Bottleneck::CpuShort);
    // What is left to read fits, so it is soon read, and the pool gets all that it may have.
    assert_eq!(holds_pool(3, 4_000), Bottleneck::OwnLimit);
    assert_eq!(holds_pool(3, 100), Bottleneck::CpuShort);
}

#[test]
fn each_bottleneck_is_named() {
    for injection in &INJECTIONS {
        let (finding, snapshot) = found(injection, USUAL);
        let op = finding.op.map(|op| op.0 as usize);
        assert_eq!(finding.bottleneck, injection.1, "{finding:?}\n{}", words(&snapshot));
        assert!(injection.2.is_none() || op == injection.2, "{finding:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn each_bottleneck_is_named_at_any_size(size in any_size(), pick in 0..INJECTIONS.len()) {
        let injection = &INJECTIONS[pick];
        let (finding, snapshot) = found(injection, size);
        let op = finding.op.map(|op| op.0 as usize);
        prop_assert_eq!(finding.bottleneck, injection.1, "{:?}\n{}", finding, words(&snapshot));
        prop_assert!(injection.2.is_none() || op == injection.2, "{:?}", finding);
    }
}
