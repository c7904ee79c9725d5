//! Making a world that violates an oracle smaller, as long as it violates the same one.
//!
//! Owns the steps. Deterministic: the same world shrinks to the same smaller one. Knows nothing of
//! what an oracle judges.

use millstream_core::{Bytes, Config, OpId, OpKind, OpSpec, Plan, Span};

use crate::checker::Violation;
use crate::description;
use crate::faults::Faults;
use crate::variation::Variation;
use crate::workload::{Delays, Network, OpModel, Overheads, Pace, Scenario};

/// A smaller world with the violation that is still there.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The world.
    pub scenario: Scenario,
    /// What it violates: the same invariant as the large one.
    pub violation: Violation,
    /// Worlds that were tried.
    pub tries: u32,
}

/// Makes a world smaller for which `judge` found `violation`: operators, nodes, units and faults
/// go one by one, and numbers are halved, until no step is left that keeps the violation.
pub fn shrink(
    scenario: &Scenario,
    violation: &Violation,
    judge: &dyn Fn(&Scenario) -> Result<(), Violation>,
) -> Shrunk {
    let (scenario, violation) = (scenario.clone(), violation.clone());
    let mut shrunk = Shrunk { scenario, violation, tries: 0 };
    loop {
        let before = description::write(&shrunk.scenario);
        for step in STEPS {
            let mut position = (step.count)(&shrunk.scenario);
            while position > 0 && shrunk.tries < TRIES_MAX {
                position -= 1;
                attempt(&mut shrunk, step, position, judge);
                position = position.min((step.count)(&shrunk.scenario));
            }
        }
        if description::write(&shrunk.scenario) == before || shrunk.tries >= TRIES_MAX {
            return shrunk;
        }
    }
}

/// Takes a step at a position as often as the violation stays.
fn attempt(
    shrunk: &mut Shrunk,
    step: &Step,
    position: usize,
    judge: &dyn Fn(&Scenario) -> Result<(), Violation>,
) {
    while shrunk.tries < TRIES_MAX && position < (step.count)(&shrunk.scenario) {
        let Some(smaller) = (step.take)(&shrunk.scenario, position) else { return };
        if description::write(&smaller) == description::write(&shrunk.scenario) {
            return;
        }
        shrunk.tries += 1;
        match judge(&smaller) {
            Err(violation) if violation.invariant == shrunk.violation.invariant => {
                shrunk.scenario = smaller;
                shrunk.violation = violation;
            }
            _ => return,
        }
    }
}

/// One way to make a world smaller, at each of its positions.
struct Step {
    count: fn(&Scenario) -> usize,
    take: fn(&Scenario, usize) -> Option<Scenario>,
}

/// The large steps first.
const STEPS: &[Step] = &[
    Step { count: |_| 1, take: |world, _| units(world, longest(world) / 2) },
    Step { count: |world| 2 * world.plan.ops().len(), take: one_input },
    Step { count: |world| world.plan.ops().len(), take: without_operator },
    Step { count: |world| world.nodes.len(), take: |world, node| Some(without_node(world, node)) },
    Step {
        count: |_| FAULTS.len(),
        take: |world, fault| Some(changed(world, |w| FAULTS[fault](&mut w.faults))),
    },
    Step { count: |_| WORLD.len(), take: |world, part| Some(changed(world, WORLD[part])) },
    Step {
        count: |world| world.models.len() * MODEL.len(),
        take: |world, at| Some(simpler_model(world, at)),
    },
    Step { count: |world| world.plan.ops().len(), take: simpler_operator },
    Step { count: |_| 1, take: |world, _| without_epochs(world) },
    Step { count: |_| 1, take: |world, _| units(world, longest(world).saturating_sub(1)) },
    Step {
        count: |world| world.unit_rows.iter().map(Vec::len).sum(),
        take: |world, unit| Some(changed(world, |w| halve(w, unit))),
    },
];

const FAULTS: &[fn(&mut Faults)] = &[
    |faults| *faults = Faults::default(),
    |faults| faults.task_death = 0,
    |faults| faults.out_of_memory = 0,
    |faults| faults.user_error = 0,
    |faults| faults.actor_death = 0,
    |faults| faults.attempt_killed = None,
    |faults| faults.load_death = 0,
    |faults| faults.load_error = 0,
    |faults| faults.reports_lost_tasks = false,
    |faults| faults.stale_event = 0,
    |faults| faults.duplicate_event = 0,
    |faults| faults.idle_turn = 0,
    |faults| faults.slowdowns.clear(),
    |faults| faults.calm_at = None,
    |faults| faults.joins.clear(),
    |faults| faults.drains.clear(),
    |faults| faults.losses.clear(),
    |faults| faults.stop_at = None,
];

const WORLD: &[fn(&mut Scenario)] = &[
    |world| world.delays = Delays::default(),
    |world| world.delays.order = Span(world.delays.order.0 / 2),
    |world| world.delays.event_max = Span(world.delays.event_max.0 / 2),
    |world| world.delays.turn = Span(world.delays.turn.0 / 2),
    |world| world.network = Network::default(),
    |world| world.overheads = Overheads::default(),
    |world| world.listing = None,
    without_heaps,
    |world| world.consumer.rest = None,
    |world| world.consumer.blocks_max = None,
    |world| world.consumer.block = Span(world.consumer.block.0 / 2),
];

fn without_heaps(world: &mut Scenario) {
    let joining = world.faults.joins.iter_mut().map(|(_, spec)| spec);
    world.nodes.iter_mut().chain(joining).for_each(|spec| spec.resources.heap = Bytes::ZERO);
}

const MODEL: &[fn(&mut OpModel)] = &[
    |model| model.pace_variation = Variation::NONE,
    |model| model.bytes_variation = Variation::NONE,
    |model| model.is_correlated = false,
    |model| model.emits_empty = false,
    |model| model.heap = 0,
    |model| model.heap_variation = Variation::NONE,
    |model| model.load = Span(model.load.0 / 2),
    |model| model.pace = half_pace(model.pace),
    |model| model.block_rows = (model.block_rows / 2).max(1),
];

fn half_pace(pace: Pace) -> Pace {
    match pace {
        Pace::Even { task, item } => Pace::Even { task: Span(task.0 / 2), item: Span(item.0 / 2) },
        Pace::Halves { first, .. } => Pace::Even { task: Span::ZERO, item: first },
        Pace::Spiky { usual, .. } => Pace::Even { task: Span::ZERO, item: usual },
    }
}

fn changed(world: &Scenario, change: impl Fn(&mut Scenario)) -> Scenario {
    let mut world = world.clone();
    change(&mut world);
    world
}

fn simpler_model(world: &Scenario, position: usize) -> Scenario {
    let (op, part) = (position / MODEL.len(), position % MODEL.len());
    changed(world, |world| MODEL[part](&mut world.models[op]))
}

fn longest(world: &Scenario) -> usize {
    world.unit_rows.iter().map(Vec::len).max().unwrap_or(0)
}

fn halve(world: &mut Scenario, unit: usize) {
    let rows = world.unit_rows.iter_mut().flatten().nth(unit);
    *rows.expect("because the units were counted") /= 2;
}

/// The first `count` units of each source.
fn units(world: &Scenario, count: usize) -> Option<Scenario> {
    let ops = world.plan.ops().iter().cloned().map(|mut op| {
        if let OpKind::Source { units, .. } = &mut op.kind {
            units.truncate(count);
        }
        op
    });
    let mut smaller = with_ops(world, ops.collect())?;
    smaller.unit_rows.iter_mut().for_each(|rows| rows.truncate(count));
    Some(smaller)
}

/// What an operator read is read by those that read it. The sides of an exchange go together.
fn without_operator(world: &Scenario, position: usize) -> Option<Scenario> {
    let ops = world.plan.ops();
    let reads = |op: &OpSpec| op.inputs.iter().any(|input| input.0 as usize == position);
    let is_scatter = matches!(ops[position].kind, OpKind::Scatter { .. });
    let gather = ops.iter().position(reads).filter(|_| is_scatter);
    let gone: Vec<usize> = [position].into_iter().chain(gather).collect();
    without(world, ops.to_vec(), &gone)
}

/// Of inputs that come together only the first or the last.
fn one_input(world: &Scenario, position: usize) -> Option<Scenario> {
    let (join, is_last) = (position / 2, position % 2 == 1);
    let mut ops = world.plan.ops().to_vec();
    let mut inputs = std::mem::take(&mut ops[join].inputs);
    if inputs.len() < 2 {
        return None;
    }
    let kept = inputs.remove(if is_last { inputs.len() - 1 } else { 0 });
    ops[join].inputs = vec![kept];
    let mut gone = vec![join];
    while let Some(input) = inputs.pop() {
        gone.push(input.0 as usize);
        inputs.extend(&ops[input.0 as usize].inputs);
    }
    gone.sort_unstable();
    without(world, ops, &gone)
}

/// Takes operators out, whose positions are in order.
fn without(world: &Scenario, ops: Vec<OpSpec>, gone: &[usize]) -> Option<Scenario> {
    let mut smaller = world.clone();
    let mut ops = ops;
    for position in gone.iter().rev() {
        remove(&mut ops, *position);
        smaller.models.remove(*position);
        smaller.unit_rows.remove(*position);
    }
    with_ops(&smaller, ops)
}

fn remove(ops: &mut Vec<OpSpec>, position: usize) {
    let inputs = ops.remove(position).inputs;
    for op in ops {
        let kept = op.inputs.iter().flat_map(|input| match input.0 as usize {
            input if input == position => inputs.clone(),
            _ => vec![*input],
        });
        let renumbered =
            kept.map(|input| if input.0 as usize > position { OpId(input.0 - 1) } else { input });
        op.inputs = renumbered.collect();
    }
}

/// Smaller pools, no limits, no batches.
fn simpler_operator(world: &Scenario, position: usize) -> Option<Scenario> {
    let mut ops = world.plan.ops().to_vec();
    let op = &mut ops[position];
    op.concurrency_max = 0;
    op.bundle_rows_min.0 /= 2;
    if let OpKind::Actors(pool) = &mut op.kind {
        pool.actors_min = 1;
        pool.actors_max = (pool.actors_max / 2).max(1);
        pool.tasks_in_flight_max = (pool.tasks_in_flight_max / 2).max(1);
    }
    with_ops(world, ops)
}

fn with_ops(world: &Scenario, ops: Vec<OpSpec>) -> Option<Scenario> {
    let plan = Plan::new(ops, *world.plan.config()).ok()?;
    Some(Scenario { plan, ..world.clone() })
}

fn without_epochs(world: &Scenario) -> Option<Scenario> {
    let config = Config { epoch_units: 0, ..*world.plan.config() };
    let plan = Plan::new(world.plan.ops().to_vec(), config).ok()?;
    Some(Scenario { plan, ..world.clone() })
}

fn without_node(world: &Scenario, position: usize) -> Scenario {
    let mut smaller = world.clone();
    let gone = smaller.nodes.remove(position).node;
    smaller.faults.drains.retain(|(_, node)| *node != gone);
    smaller.faults.losses.retain(|(_, node)| *node != gone);
    smaller.faults.slowdowns.retain(|slow| slow.node != gone);
    smaller
}

/// Each takes some milliseconds.
const TRIES_MAX: u32 = 3_000;
