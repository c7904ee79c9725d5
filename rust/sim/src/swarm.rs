//! Many small random worlds, each decided by its seed.
//!
//! Owns what is drawn: a seed first draws which shapes and faults exist in its world at all, and
//! then how large and how frequent they are. Knows nothing of how worlds are run or judged.

mod broken;
mod ending;
mod exchange;
mod graph;
mod heap;
mod listing;
pub mod several;
mod split;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millstream_core::{
    Bytes, Config, Execution, NodeId, OpId, OpKind, OpSpec, Plan, PoolSpec, Resources, Rows, Slots,
    Span, Time, Unit,
};
use serde::Serialize;

use crate::checker::Violation;
use crate::description;
use crate::faults::{Faults, Slowdown};
use crate::random::{Random, scaled};
use crate::rows::RowRatio;
use crate::shrink::{Shrunk, shrink};
use crate::simulation::{self, Ending, Report};
use crate::swarm::graph::Stage;
use crate::trace::NodeSpec;
use crate::variation::Variation;
use crate::workload::{Consumer, Delays, Emission, Network, OpModel, Overheads, Pace, Scenario};

/// A seed whose world violates an oracle.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The oracle and what it saw.
    pub violation: Violation,
    /// What it happened in.
    pub world: Failing,
}

/// Which world of a seed fails.
#[derive(Clone, Debug)]
pub enum Failing {
    /// That of one run; a smaller one that violates the same oracle.
    One(Box<Shrunk>),
    /// That of several runs.
    Several,
}

impl Failure {
    /// The failure of a seed, with a smaller world that fails alike.
    #[must_use]
    pub fn of(seed: u64, violation: Violation) -> Self {
        let judge = |world: &Scenario| simulation::run(world, None).map(drop);
        let world = Failing::One(Box::new(shrink(&scenario(seed), &violation, &judge)));
        Self { seed, violation, world }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { seed, violation, world } = self;
        writeln!(f, "seed {seed}: {violation}")?;
        let Failing::One(shrunk) = world else {
            writeln!(f, "in its world of several runs:\n{}", several::describe_tenants(*seed))?;
            return write!(f, "again: python -m millstream.sim swarm --first {seed} --seeds 1");
        };
        writeln!(f, "{}", describe(&scenario(*seed)))?;
        writeln!(f, "a smaller world that fails alike: {}", shrunk.violation)?;
        writeln!(f, "{}", describe(&shrunk.scenario))?;
        writeln!(
            f,
            "its trace, of {TURNS_SHOWN} turns at most:\n{}",
            last_turns(&shrunk.scenario)
        )?;
        writeln!(f, "as a file for `python -m millstream.sim run`:")?;
        writeln!(f, "{}", description::write(&shrunk.scenario))?;
        write!(
            f,
            "again: python -m millstream.sim swarm --first {seed} --seeds 1 --trace seed.jsonl"
        )
    }
}

/// How many worlds ended how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// All rows came out.
    pub completed: u64,
    /// The plan was refused at submit.
    pub refused: u64,
    /// A failure was reported that had to be.
    pub failed: u64,
    /// Stopped from outside.
    pub stopped: u64,
    /// Events in all worlds.
    pub events: u64,
    /// Seeds that also had a world of several runs on one cluster.
    pub shared: u64,
}

/// Runs the worlds of `count` seeds from `first` on.
///
/// # Errors
/// The first seed that violates an oracle.
pub fn run(first: u64, count: u64) -> Result<Summary, Failure> {
    let mut summary = Summary::default();
    for seed in first..first.saturating_add(count) {
        let report = run_seed(seed)?;
        summary.shared += u64::from(several::draws(seed));
        summary.events += report.events;
        *match report.ending {
            Ending::Completed => &mut summary.completed,
            Ending::Refused(_) => &mut summary.refused,
            Ending::Failed(_) => &mut summary.failed,
            Ending::Stopped => &mut summary.stopped,
        } += 1;
    }
    Ok(summary)
}

/// Runs the world of one seed, and that of several runs if it has one.
///
/// # Errors
/// The oracle that it violates.
pub fn run_seed(seed: u64) -> Result<Report, Failure> {
    let report = simulation::run(&scenario(seed), None);
    let report = report.map_err(|violation| Failure::of(seed, violation))?;
    several::run(seed).map_err(|violation| Failure { seed, violation, world: Failing::Several })?;
    Ok(report)
}

/// The world of a seed.
///
/// # Panics
/// Never: what is drawn is a well-formed plan.
#[must_use]
pub fn scenario(seed: u64) -> Scenario {
    let mut random = Random::of(&[seed, SWARM]);
    // A stream of its own: what was added later leaves the worlds of earlier seeds as they were.
    let mut variety = Random::of(&[seed, VARIETY]);
    let mut shape = Shape::draw(&mut random, &mut variety);
    let models: Vec<OpModel> = (0..shape.ops).map(|_| shape.model(&mut random)).collect();
    shape.trim(&models);
    let ops = shape.ops(&mut random);
    let (mut ops, mut models, mut unit_rows) = shape.widen(seed, ops, models);
    exchange::draw(seed, &mut ops, &mut models, &mut unit_rows);
    ending::draw(seed, &mut ops, &mut models, &mut shape.config);
    let store = store(&mut random, &models);
    let mut nodes = nodes(&mut random, &ops, store);
    let mut faults = storm(&mut variety, faults(&mut random, &nodes), &nodes, &mut shape.config);
    let parts = (&mut ops, &mut models, &mut unit_rows);
    split::draw(seed, parts, &mut faults);
    if faults.calm_at.is_none() {
        broken::draw(seed, &nodes, &mut faults);
        let joining = faults.joins.iter_mut().map(|(_, spec)| spec);
        let nodes = nodes.iter_mut().chain(joining).map(|spec| &mut spec.resources);
        heap::draw(seed, &mut ops, &mut models, nodes);
    }
    let listing = listing::draw(seed, &mut ops);
    let plan = Plan::new(ops, shape.config).expect("because the swarm draws well-formed plans");
    let consumer = consumer(&mut random);
    let delays = Delays {
        order: Span(random.pick(&[0, 0, 100, 5_000])),
        event_max: Span(random.pick(&[0, 0, 200, 20_000])),
        turn: Span(random.pick(&[0, 0, 50, 3_000])),
    };
    let network = network(&mut variety, &models);
    let overheads = overheads(&mut variety);
    Scenario {
        seed,
        plan,
        nodes,
        unit_rows,
        models,
        consumer,
        delays,
        network,
        overheads,
        listing,
        faults,
    }
}

/// A world in words, for a report.
#[must_use]
pub fn describe(scenario: &Scenario) -> String {
    let mut words = String::new();
    let config = scenario.plan.config();
    let units: usize = scenario.unit_rows.iter().map(Vec::len).sum();
    let rows: u64 = scenario.unit_rows.iter().flatten().sum();
    let mut line = |text: String| writeln!(words, "  {text}").expect("because a String takes all");
    line(format!("{config:?}"));
    line(format!("{units} units with {rows} rows"));
    for (op, model) in scenario.plan.ops().iter().zip(&scenario.models) {
        let kind = match &op.kind {
            OpKind::Source { .. } => "source".to_owned(),
            other => format!("{other:?}"),
        };
        line(format!(
            "'{}' {kind}, each {}, at most {} at a time, batch {}; {model:?}",
            op.name, op.resources, op.concurrency_max, op.bundle_rows_min.0
        ));
    }
    for node in &scenario.nodes {
        line(format!("{}: {}, {} B of store", node.node, node.resources, node.store.0));
    }
    line(format!("{:?}", scenario.consumer));
    line(format!("{:?}", scenario.delays));
    line(format!("{:?}, {:?}", scenario.network, scenario.overheads));
    line(format!("{:?}", scenario.listing));
    line(format!("{:?}", scenario.faults));
    words
}

/// The end of the trace of a world.
fn last_turns(scenario: &Scenario) -> String {
    let mut trace = Vec::new();
    // That it fails is why it is shown.
    let _ = simulation::run(scenario, Some(&mut trace));
    let text = String::from_utf8_lossy(&trace);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    lines[lines.len().saturating_sub(TURNS_SHOWN)..].join("\n")
}

/// What is drawn for the whole world before its parts.
#[expect(clippy::struct_excessive_bools, reason = "each says whether something exists at all")]
struct Shape {
    config: Config,
    ops: usize,
    unit_rows: Vec<u64>,
    knows_bytes: bool,
    has_gpu: bool,
    has_custom: bool,
    has_limits: bool,
    has_batches: bool,
    has_ratios: bool,
    has_giants: bool,
    is_uniform: bool,
    bytes_variation: Variation,
    pace_variation: Variation,
    is_correlated: bool,
    actors: u64,
}

impl Shape {
    fn draw(random: &mut Random, variety: &mut Random) -> Self {
        let bulk = random.chance(60);
        let config = Config {
            execution: if bulk { Execution::Bulk } else { Execution::Streaming },
            preserve_order: random.chance(700),
            block_bytes_target: Bytes(random.pick(&[1_000, 10_000, 1_000_000])),
            task_span_target: Span(random.pick(&[0, 10_000, 200_000])),
            deaths_max: u32::try_from(random.between(2, 6)).unwrap_or(4),
            ..Config::default()
        };
        let units = random.pick(&[0, 1, 3, 10, 40, 100]);
        let (least, most) = (random.pick(&[0, 1, 1]), random.pick(&[1, 5, 50]));
        let is_uniform = random.chance(250);
        let least = if is_uniform { 1 } else { least };
        let unit_rows = (0..units).map(|_| random.between(least, most)).collect();
        Self {
            config,
            ops: usize::try_from(random.between(1, 5)).unwrap_or(1),
            unit_rows,
            knows_bytes: random.chance(400),
            has_gpu: random.chance(400),
            has_custom: random.chance(150),
            has_limits: random.chance(200),
            has_batches: random.chance(250),
            has_ratios: random.chance(350),
            has_giants: !is_uniform && random.chance(100),
            is_uniform,
            bytes_variation: if is_uniform {
                Variation::NONE
            } else {
                variation(random.pick(&[0, 0, 100, 600]), variety)
            },
            pace_variation: variation(random.pick(&[0, 100, 900]), variety),
            is_correlated: variety.chance(300),
            actors: random.pick(&[0, 300, 600, 1000]),
        }
    }

    /// Takes units away until the world is small enough to be run by the thousand.
    fn trim(&mut self, models: &[OpModel]) {
        while blocks(models, self.unit_rows.iter().sum()) > BLOCKS_MAX {
            if self.unit_rows.len() > 1 {
                self.unit_rows.truncate(self.unit_rows.len() / 2);
            } else {
                self.unit_rows[0] /= 2;
            }
        }
    }

    fn ops(&self, random: &mut Random) -> Vec<OpSpec> {
        (0..self.ops).map(|position| self.op(random, position)).collect()
    }

    fn op(&self, random: &mut Random, position: usize) -> OpSpec {
        let kind = if position == 0 {
            let bytes = if self.knows_bytes { random.between(1, 20_000) } else { 0 };
            let unit = Unit { bytes: Bytes(bytes) };
            OpKind::Source { units: vec![unit; self.unit_rows.len()], is_open: false }
        } else if random.chance(self.actors) {
            let least = small(random, 1, 2);
            let pool = PoolSpec {
                actors_min: least,
                actors_max: least + small(random, 0, 3),
                tasks_in_flight_max: small(random, 1, 4),
            };
            OpKind::Actors(pool)
        } else {
            OpKind::Tasks
        };
        let rarely = |random: &mut Random, may: bool, most| {
            if may && random.chance(500) { random.between(1, most) } else { 0 }
        };
        // The size of a pool is its limit.
        let has_limit = self.has_limits && !matches!(kind, OpKind::Actors(_));
        OpSpec {
            name: format!("{}{position}", if position == 0 { "Read" } else { "Map" }),
            inputs: (0u32..).map(OpId).take(position).last().into_iter().collect(),
            kind,
            resources: self.request(random),
            concurrency_max: u32::try_from(rarely(random, has_limit, 4)).unwrap_or(0),
            bundle_rows_min: Rows(rarely(random, self.has_batches && position > 0, 60)),
        }
    }

    /// Makes a chain into something else, in some worlds.
    fn widen(&self, seed: u64, ops: Vec<OpSpec>, models: Vec<OpModel>) -> Parts {
        let mut random = Random::of(&[seed, GRAPH]);
        let mut stages: Vec<Stage> = ops
            .into_iter()
            .zip(models)
            .map(|(spec, model)| Stage { spec, model, unit_rows: Vec::new() })
            .collect();
        stages[0].unit_rows.clone_from(&self.unit_rows);
        if random.chance(GRAPHS) {
            stages = graph::widen(&mut random, stages, self.config.preserve_order);
        }
        let mut parts = Parts::default();
        for stage in stages {
            parts.0.push(stage.spec);
            parts.1.push(stage.model);
            parts.2.push(stage.unit_rows);
        }
        parts
    }

    fn request(&self, random: &mut Random) -> Resources {
        let mut custom = BTreeMap::new();
        if self.has_custom && random.chance(400) {
            custom.insert("licence".to_owned(), Slots::whole(1));
        }
        let gpu = if self.has_gpu { random.pick(&[0, 0, 5_000, 10_000]) } else { 0 };
        let cpu = random.pick(&[0, 5_000, 10_000, 10_000, 10_000, 20_000]);
        Resources { cpu: Slots(cpu), gpu: Slots(gpu), custom, heap: Bytes::ZERO }
    }

    fn model(&self, random: &mut Random) -> OpModel {
        let target = self.config.block_bytes_target.0;
        let is_giant = self.has_giants && random.chance(400);
        let row_bytes = if is_giant {
            random.between(target, 5 * target)
        } else {
            random.between(1, target / 3)
        };
        let largest = self.bytes_variation.most(row_bytes);
        let ratios = [(0, 1), (1, 3), (2, 3), (1, 1), (3, 1), (10, 1)];
        let (out, per) = if self.has_ratios { random.pick(&ratios) } else { (1, 1) };
        let task = Span(random.pick(&[0, 100, 1_000, 50_000]));
        let item = Span(random.pick(&[0, 10, 1_000, 20_000]));
        OpModel {
            ratio: RowRatio { out, per },
            pace: Pace::Even { task, item },
            pace_variation: self.pace_variation,
            block_rows: if self.is_uniform { 1 } else { (target / largest.max(1)).max(1) },
            row_bytes,
            bytes_variation: self.bytes_variation,
            is_correlated: self.is_correlated,
            emission: random.pick(&[Emission::Streamed, Emission::Streamed, Emission::AtEnd]),
            emits_empty: !self.is_uniform && random.chance(500),
            load: Span(random.pick(&[0, 100_000, 5_000_000])),
            heap: random.between(0, 1 << 30),
            heap_variation: Variation::NONE,
            recorded: None,
        }
    }
}

/// Even, or skewed, or changing over time, or alike for neighbours.
fn variation(spread: u64, random: &mut Random) -> Variation {
    Variation {
        tail: if random.chance(200) { random.between(5, 100) } else { 0 },
        tail_factor: random.between(2_000, 10_000),
        drift: random.pick(&[200, 3_000]),
        drift_items: if random.chance(200) { random.between(1, 500) } else { 0 },
        alike_items: random.pick(&[1, 1, 1, 7]),
        ..Variation::spread(spread)
    }
}

/// From less than what one task of each operator wants up to more than is ever needed.
fn store(random: &mut Random, models: &[OpModel]) -> u64 {
    let windows: u64 = models.iter().map(|model| 2 * model.block_bytes_max()).sum();
    windows * random.pick(&[5, 10, 15, 20, 40, 200, 10_000]) / 10
}

/// About how many blocks there will be, if the source puts out `rows`.
fn blocks(models: &[OpModel], rows: u64) -> u64 {
    let mut rows = rows;
    let mut blocks = 0;
    for (position, model) in models.iter().enumerate() {
        if position > 0 {
            rows = scaled(rows, model.ratio.out, model.ratio.per);
        }
        blocks += rows.div_ceil(model.block_rows);
    }
    blocks
}

/// Nodes of which the first can run everything, in most worlds.
fn nodes(random: &mut Random, ops: &[OpSpec], store: u64) -> Vec<NodeSpec> {
    let mut first = Resources::default();
    for op in ops {
        let count = match op.kind {
            OpKind::Actors(pool) => u64::from(pool.actors_min),
            _ => 1,
        };
        first.credit(&op.resources.times(count));
    }
    first.credit(&Resources::cpu(Slots::whole(random.between(0, 6))));
    let count = random.pick(&[1, 1, 2, 3, 5]);
    let cut = random.chance(50);
    (0..count)
        .map(|number| {
            let mut resources = first.clone();
            if number > 0 || cut {
                resources.cpu = Slots::whole(random.between(1, 8));
                resources.gpu = Slots::whole(random.between(0, 2)).min(first.gpu);
            }
            let store = Bytes(random.around(store, if number == 0 { 0 } else { 500 }));
            NodeSpec { node: NodeId(number), resources, store }
        })
        .collect()
}

fn consumer(random: &mut Random) -> Consumer {
    let rest = random.chance(100);
    Consumer {
        block: Span(random.pick(&[0, 0, 1_000, 50_000])),
        blocks_max: random.chance(60).then(|| random.between(1, 20)),
        rest: rest.then(|| (random.between(0, 5), Span(10_000_000))),
    }
}

fn faults(random: &mut Random, nodes: &[NodeSpec]) -> Faults {
    let some = |random: &mut Random, worlds, chances: [u64; 2]| {
        if random.chance(worlds) { random.pick(&chances) } else { 0 }
    };
    let joins = random.chance(120).then(|| {
        let at = Time(random.between(0, 3_000_000));
        let spec = NodeSpec { node: NodeId(JOINING_NODE), ..nodes[0].clone() };
        (at, spec)
    });
    let mut away = |worlds| {
        let other = nodes.iter().skip(1).map(|spec| spec.node).next();
        let at = Time(random.between(0, 3_000_000));
        other.filter(|_| random.chance(worlds)).map(|node| (at, node)).into_iter().collect()
    };
    let (drains, losses) = (away(150), away(LOSSES));
    Faults {
        task_death: some(random, 300, [20, 200]),
        out_of_memory: some(random, 200, [10, 100]),
        user_error: some(random, 50, [2, 50]),
        actor_death: some(random, 300, [20, 200]),
        block_loss: some(random, 200, [5, 100]),
        attempt_killed: None,
        load_death: some(random, 250, [50, 300]),
        load_error: some(random, 30, [50, 500]),
        reports_lost_tasks: random.chance(700),
        stale_event: some(random, 400, [20, 200]),
        idle_turn: some(random, 400, [20, 200]),
        joins: joins.into_iter().collect(),
        drains,
        losses,
        stop_at: random.chance(60).then(|| Time(random.between(0, 2_000_000))),
        ..Faults::default()
    }
}

/// What was added to the faults later: slow nodes, events that come twice, and a storm after which
/// all that is left must finish.
fn storm(random: &mut Random, faults: Faults, nodes: &[NodeSpec], config: &mut Config) -> Faults {
    let mut faults = faults;
    if random.chance(200) {
        faults.duplicate_event = random.pick(&[20, 300]);
    }
    if random.chance(200) {
        let from = Time(random.between(0, 1_000_000));
        let until = from.after(Span(random.between(0, 10_000_000)));
        let node = nodes[0].node;
        faults.slowdowns.push(Slowdown { node, from, until, factor: random.between(1_000, 8_000) });
    }
    if random.chance(100) {
        // No death is the last one, so that the run must outlive the storm.
        config.deaths_max = u32::MAX;
        faults.calm_at = Some(Time(random.between(0, 5_000_000)));
        faults.user_error = 0;
        faults.load_error = 0;
        faults.task_death = random.between(0, 900);
        faults.actor_death = random.between(0, 900);
        faults.load_death = random.between(0, 900);
    }
    faults
}

fn network(random: &mut Random, models: &[OpModel]) -> Network {
    if !random.chance(300) {
        return Network::default();
    }
    let block = models.iter().map(OpModel::block_bytes_max).max().unwrap_or(1);
    // A block takes from a hundredth of a second to a second.
    let bytes_per_second = block.max(1) * random.pick(&[1, 10, 100]);
    Network { bytes_per_second, latency: Span(random.pick(&[0, 500, 50_000])) }
}

fn overheads(random: &mut Random) -> Overheads {
    if !random.chance(300) {
        return Overheads::default();
    }
    Overheads {
        worker_start: Span(random.pick(&[0, 100_000, 1_500_000])),
        call: Span(random.pick(&[0, 2_000])),
    }
}

fn small(random: &mut Random, first: u64, last: u64) -> u32 {
    u32::try_from(random.between(first, last)).unwrap_or(u32::MAX)
}

/// The operators, their models and their units.
type Parts = (Vec<OpSpec>, Vec<OpModel>, Vec<Vec<u64>>);

/// Keeps these draws apart from those of the runs, and from one another.
const GRAPH: u64 = 8;
const SWARM: u64 = 6;
const VARIETY: u64 = 7;
/// What fits on a few screens.
const TURNS_SHOWN: usize = 60;
/// Worlds of this size take a few milliseconds each.
const BLOCKS_MAX: u64 = 600;
/// Worlds that lose a node, in thousandths of those that have a second one.
const LOSSES: u64 = 300;
/// Worlds in a thousand whose plan is more than a chain.
const GRAPHS: u64 = 400;
/// No world starts with so many nodes.
const JOINING_NODE: u32 = 1_000;
