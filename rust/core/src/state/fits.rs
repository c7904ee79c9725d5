//! Whether a cluster can ever run a plan.

use alloc::string::String;
use alloc::vec::Vec;

use crate::plan::{Execution, OpKind, OpSpec, Plan};
use crate::resources::Resources;
use crate::state::SubmitError;
use crate::units::{Bytes, NodeId, Slots};

/// Refuses a plan that could never run: an operator that no node can hold, or pools that cannot
/// all hold their smallest size while each stateless operator runs one task; and, where that is asked
/// for, one that could only run past the stores' limits.
pub(super) fn check(plan: &Plan, nodes: &[(NodeId, Resources, Bytes)]) -> Result<(), SubmitError> {
    if nodes.is_empty() {
        return Err(SubmitError::NoNodes);
    }
    for op in plan.ops() {
        if !nodes.iter().any(|(_, has, _)| has.fits(&op.resources)) {
            let what = if op.has_actors() { "actor" } else { "task" };
            let (name, needs) = (op.name.clone(), op.resources.clone());
            return Err(SubmitError::TooLarge { name, what, needs, largest: largest(nodes) });
        }
    }
    if plan.config().execution == Execution::Bulk {
        return Ok(());
    }
    check_memory(plan, nodes)?;
    let free = place_pools(plan, nodes)?;
    for op in plan.ops().iter().filter(|op| !op.has_actors()) {
        if !free.iter().any(|has| has.fits(&op.resources)) {
            return Err(SubmitError::NoRoomBesidePools {
                name: op.name.clone(),
                needs: op.resources.clone(),
                pools: pools_in_words(plan),
                has: total(nodes),
            });
        }
    }
    Ok(())
}

/// Whether the stores have room for one block of the target size of each operator that makes blocks: the
/// one that the next operator reads, while that one's own are its output.
fn check_memory(plan: &Plan, nodes: &[(NodeId, Resources, Bytes)]) -> Result<(), SubmitError> {
    let block = plan.config().block_bytes_target;
    let makes_blocks =
        |op: &&OpSpec| matches!(op.kind, OpKind::Source { .. } | OpKind::Tasks | OpKind::Actors(_));
    let operators = plan.ops().iter().filter(makes_blocks).count() as u64;
    let room = nodes.iter().map(|(_, _, store)| store.0 / block.0.max(1)).sum();
    if plan.config().strict_memory && room < operators {
        let needs = block.times(operators);
        return Err(SubmitError::Memory { operators, block, needs, room });
    }
    Ok(())
}

/// What the nodes have left when each pool has its smallest size, the hungriest pool placed first.
fn place_pools(
    plan: &Plan,
    nodes: &[(NodeId, Resources, Bytes)],
) -> Result<Vec<Resources>, SubmitError> {
    let mut free: Vec<Resources> = nodes.iter().map(|(_, has, _)| has.clone()).collect();
    let mut pools = pools_of(plan);
    pools.sort_by_key(|(op, _)| core::cmp::Reverse((op.resources.gpu, op.resources.cpu)));
    for (op, wanted) in pools {
        for placed in 0..wanted {
            let Some(node) = free.iter_mut().find(|has| has.fits(&op.resources)) else {
                let mut needs = Resources::default();
                for (op, count) in pools_of(plan) {
                    needs.credit(&op.resources.times(u64::from(count)));
                }
                let (pools, has, name) = (pools_in_words(plan), total(nodes), op.name.clone());
                return Err(SubmitError::Pools { pools, needs, has, name, placed, wanted });
            };
            node.debit(&op.resources);
        }
    }
    Ok(free)
}

fn pools_of(plan: &Plan) -> Vec<(&OpSpec, u32)> {
    plan.ops()
        .iter()
        .filter_map(|op| match op.kind {
            OpKind::Actors(pool) => Some((op, pool.actors_min)),
            _ => None,
        })
        .collect()
}

fn pools_in_words(plan: &Plan) -> String {
    let words: Vec<String> = pools_of(plan)
        .iter()
        .map(|(op, count)| alloc::format!("'{}' {count} x ({})", op.name, op.resources))
        .collect();
    words.join(", ")
}

fn total(nodes: &[(NodeId, Resources, Bytes)]) -> Resources {
    let mut sum = Resources::default();
    for (_, has, _) in nodes {
        sum.credit(has);
    }
    sum
}

fn largest(nodes: &[(NodeId, Resources, Bytes)]) -> Resources {
    let mut most = Resources::default();
    for (_, has, _) in nodes {
        most.cpu = most.cpu.max(has.cpu);
        most.gpu = most.gpu.max(has.gpu);
        most.heap = most.heap.max(has.heap);
        for (name, amount) in &has.custom {
            let held = most.custom.entry(name.clone()).or_insert(Slots::ZERO);
            *held = (*held).max(*amount);
        }
    }
    most
}
