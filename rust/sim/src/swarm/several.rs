//! Several runs on one cluster: with pools, late begins, early ends, and loops inside loops.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use millstream_core::{Bytes, Execution, Resources, Time};

use crate::checker::Violation;
use crate::random::Random;
use crate::shared::{self, Begins, SharedReport, Tenant};
use crate::simulation::panicked;
use crate::swarm::{describe, scenario};
use crate::trace::NodeSpec;
use crate::workload::Scenario;

/// The runs of a seed.
#[must_use]
pub fn tenants(seed: u64) -> Vec<Tenant> {
    let mut random = Random::of(&[seed, SEVERAL]);
    let count = random.between(2, 4);
    let mut worlds: Vec<Scenario> = (0..count).map(|_| world(&mut random)).collect();
    let nodes = common_nodes(&worlds);
    for world in &mut worlds {
        world.nodes.clone_from(&nodes);
    }
    worlds.retain(can_run);
    let with_begin = |(position, scenario): (usize, Scenario)| {
        let weight = random.pick(&[1, 1, 1, 3]);
        let begins = begin(&mut random, position);
        Tenant { scenario, weight, begins }
    };
    worlds.into_iter().enumerate().map(with_begin).collect()
}

/// Whether a seed has a world with several runs.
#[must_use]
pub fn draws(seed: u64) -> bool {
    Random::of(&[seed, DRAWS]).chance(WORLDS)
}

/// Runs the world with several runs of a seed, if it has one.
///
/// # Errors
/// The oracle that it violates.
pub fn run(seed: u64) -> Result<Option<SharedReport>, Violation> {
    if draws(seed) { run_anyway(seed).map(Some) } else { Ok(None) }
}

/// Runs the world with several runs of a seed.
///
/// # Errors
/// The oracle that it violates.
pub fn run_anyway(seed: u64) -> Result<SharedReport, Violation> {
    let tenants = tenants(seed);
    catch_unwind(AssertUnwindSafe(|| shared::run(&tenants)))
        .unwrap_or_else(|panic| Err(panicked(Time::default(), &*panic, "")))
}

/// The world with several runs of a seed, in words.
#[must_use]
pub fn describe_tenants(seed: u64) -> String {
    let mut words = String::new();
    for (position, tenant) in tenants(seed).iter().enumerate() {
        let (weight, begins) = (tenant.weight, tenant.begins);
        let world = describe(&tenant.scenario);
        writeln!(words, "run {position}, weight {weight}, begins {begins:?}\n{world}")
            .expect("because a String takes all");
    }
    words
}

/// A world of one run whose nodes stay as they are.
fn world(random: &mut Random) -> Scenario {
    let mut world = scenario(random.number());
    while world.plan.config().execution == Execution::Bulk {
        world = scenario(random.number());
    }
    world.faults.joins.clear();
    world.faults.drains.clear();
    world.faults.losses.clear();
    world.faults.stop_at = random.chance(150).then(|| Time(random.between(0, 10_000_000)));
    if random.chance(150) {
        world.consumer.blocks_max = Some(random.between(1, 20));
    }
    world
}

/// Nodes on which each of the runs could run alone, but for those whose own nodes it could not.
fn common_nodes(worlds: &[Scenario]) -> Vec<NodeSpec> {
    let mut nodes = worlds[0].nodes.clone();
    for spec in worlds[1..].iter().flat_map(|world| &world.nodes) {
        if let Some(node) = nodes.iter_mut().find(|node| node.node == spec.node) {
            raise(&mut node.resources, &spec.resources);
            node.store = Bytes(node.store.0.max(spec.store.0));
        }
    }
    // Heap is watched everywhere or nowhere.
    let all = || worlds.iter().flat_map(|world| &world.nodes);
    if all().any(|spec| spec.resources.heap == Bytes::ZERO) {
        nodes.iter_mut().map(|spec| &mut spec.resources.heap).for_each(|heap| *heap = Bytes::ZERO);
    }
    nodes
}

/// Raises each amount to that of `other`.
fn raise(most: &mut Resources, other: &Resources) {
    most.cpu = most.cpu.max(other.cpu);
    most.gpu = most.gpu.max(other.gpu);
    most.heap = most.heap.max(other.heap);
    for (name, amount) in &other.custom {
        let most = most.custom.entry(name.clone()).or_default();
        *most = (*most).max(*amount);
    }
}

fn can_run(world: &Scenario) -> bool {
    let nodes = world.nodes.iter().cloned().map(Into::into).collect();
    millstream_core::Scheduler::submit(world.submitted(), nodes).is_ok()
}

fn begin(random: &mut Random, position: usize) -> Begins {
    if position > 0 && random.chance(400) {
        let outer = random.between(0, position as u64 - 1);
        let blocks = random.pick(&[0, 0, 1, 5]);
        return Begins::Inside { outer: usize::try_from(outer).unwrap_or(0), blocks };
    }
    let late = random.pick(&[0, 0, 1_000, 1_000_000, 20_000_000]);
    Begins::At(Time(random.between(0, late)))
}

/// Keeps these draws apart from those of other worlds.
const SEVERAL: u64 = 30;
const DRAWS: u64 = 31;
/// Seeds in a thousand that have such a world.
const WORLDS: u64 = 200;
