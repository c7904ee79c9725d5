//! Whether a cluster can ever run a plan.

use alloc::string::String;
use alloc::vec::Vec;

use crate::operators::OpKind;
use crate::plan::{Execution, OpSpec, Plan};
use crate::resources::Resources;
use crate::state::{State, SubmitError};
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
    let Placed { free, lacking } = place_pools(plan.ops().iter(), nodes);
    if let Some((op, placed, wanted)) = lacking {
        let mut needs = Resources::default();
        for (op, count) in pools_of(plan.ops().iter()) {
            needs.credit(&op.resources.times(u64::from(count)));
        }
        let (pools, has, name) = (pools_in_words(plan), total(nodes), op.name.clone());
        return Err(SubmitError::Pools { pools, needs, has, name, placed, wanted });
    }
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
    let makes_blocks = |op: &&OpSpec| op.kind.meaning().fills_blocks();
    let operators = plan.ops().iter().filter(makes_blocks).count() as u64;
    let room = nodes.iter().map(|(_, _, store)| store.0 / block.0.max(1)).sum();
    if plan.config().strict_memory && room < operators {
        let needs = block.times(operators);
        return Err(SubmitError::Memory { operators, block, needs, room });
    }
    Ok(())
}

impl State {
    /// Whether the nodes that take new work could hold what is left of the plan if nothing else were there.
    pub(crate) fn fits_nodes(&self) -> bool {
        let open = self.ledger.nodes().filter(|(_, account)| !account.draining);
        let nodes: Vec<(NodeId, Resources, Bytes)> =
            open.map(|(node, account)| (node, account.total.clone(), account.store)).collect();
        let left = || self.op_ids().filter(|op| !self.op(*op).is_done).map(|op| self.spec(op));
        let Placed { free, lacking } = place_pools(left(), &nodes);
        let fits = |op: &OpSpec| free.iter().any(|has| has.fits_without_heap(&op.resources));
        lacking.is_none() && left().filter(|op| !op.has_actors()).all(fits)
    }
}

/// Pools that are placed.
struct Placed<'a> {
    /// What the nodes have left.
    free: Vec<Resources>,
    /// The first pool that does not fit, how many of its actors do, and its smallest size.
    lacking: Option<(&'a OpSpec, u32, u32)>,
}

/// Places the smallest size of each pool, the hungriest pool first.
fn place_pools<'a>(
    ops: impl Iterator<Item = &'a OpSpec>,
    nodes: &[(NodeId, Resources, Bytes)],
) -> Placed<'a> {
    let mut free: Vec<Resources> = nodes.iter().map(|(_, has, _)| has.clone()).collect();
    let mut pools = pools_of(ops);
    pools.sort_by_key(|(op, _)| core::cmp::Reverse((op.resources.gpu, op.resources.cpu)));
    for (op, wanted) in pools {
        for placed in 0..wanted {
            let Some(node) = free.iter_mut().find(|has| has.fits(&op.resources)) else {
                return Placed { free, lacking: Some((op, placed, wanted)) };
            };
            node.debit(&op.resources);
        }
    }
    Placed { free, lacking: None }
}

fn pools_of<'a>(ops: impl Iterator<Item = &'a OpSpec>) -> Vec<(&'a OpSpec, u32)> {
    ops.filter_map(|op| match op.kind {
        OpKind::Actors(pool) => Some((op, pool.actors_min)),
        _ => None,
    })
    .collect()
}

fn pools_in_words(plan: &Plan) -> String {
    let words: Vec<String> = pools_of(plan.ops().iter())
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
