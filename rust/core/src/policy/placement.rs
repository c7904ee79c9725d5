//! Where a task or an actor goes.
//!
//! A task goes where its input is, among the nodes that have the slots and the room.

use alloc::collections::BTreeMap;
use core::cmp::Reverse;

use crate::ledger::Account;
use crate::policy::admission;
use crate::protocol::{Reason, Work};
use crate::resources::Resources;
use crate::state::State;
use crate::units::{ActorId, BlockId, Bytes, NodeId, OpId};

/// What a task needs to be placed.
pub(crate) struct Need<'a> {
    pub(crate) op: OpId,
    /// The number of its work, for the order.
    pub(crate) number: u64,
    pub(crate) input: &'a [BlockId],
    /// Room that it holds already, from an earlier attempt.
    pub(crate) held: Option<(NodeId, Bytes)>,
    /// Whether it goes ahead though the room is missing.
    pub(crate) forced: bool,
}

/// Where a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) node: NodeId,
    pub(crate) actor: Option<ActorId>,
    /// The room to promise there, copies included.
    pub(crate) reserve: Bytes,
    /// Room for input that lies elsewhere.
    pub(crate) copies: Bytes,
    /// Whether the room is missing.
    pub(crate) overshoots: bool,
}

/// The best site, or why there is none.
pub(crate) fn site(state: &State, need: &Need<'_>) -> Result<Site, Reason> {
    let input = input_by_node(state, need.input);
    match &state.op(need.op).pool {
        Some(_) => actor_site(state, need, &input),
        None => task_site(state, need, &input),
    }
}

fn task_site(state: &State, need: &Need<'_>, input: &Input) -> Result<Site, Reason> {
    let request = &state.spec(need.op).resources;
    let mut best: Option<((u64, u64), Site)> = None;
    let mut refusal = Reason::NoFreeSlot { needs: request.clone() };
    for (node, account) in state.ledger.open_nodes().filter(|(_, a)| a.free.fits(request)) {
        if let Some(by) = admission::slot_kept_for(state, need.op, node).filter(|_| !need.forced) {
            refusal = prefer(refusal, Reason::SlotReserved { by });
            continue;
        }
        match room_at(state, need, node, account, input) {
            Ok(site) => {
                let merit = (input.bytes_at(node), account.room().0);
                if best.is_none_or(|(most, _)| merit > most) {
                    best = Some((merit, site));
                }
            }
            Err(reason) => refusal = prefer(refusal, reason),
        }
    }
    best.map(|(_, site)| site).ok_or(refusal)
}

fn actor_site(state: &State, need: &Need<'_>, input: &Input) -> Result<Site, Reason> {
    let pool = state.op(need.op).pool.as_ref().expect("because the operator has actors");
    let mut best: Option<((Reverse<u32>, u64), Site)> = None;
    let mut refusal = match (pool.ready(), pool.starting()) {
        (0, starting) => Reason::ActorStarting { actors: starting },
        (ready, _) => Reason::ActorsBusy { actors: ready },
    };
    for (load, actor) in pool.openings().take(CANDIDATES_MAX) {
        let Some(node) = pool.actor(actor).map(|a| a.node) else {
            continue;
        };
        let Some(account) = state.ledger.account(node).filter(|a| !a.draining) else {
            continue;
        };
        match room_at(state, need, node, account, input) {
            Ok(site) => {
                let merit = (Reverse(load), input.bytes_at(node));
                if best.is_none_or(|(most, _)| merit > most) {
                    best = Some((merit, Site { actor: Some(actor), ..site }));
                }
            }
            Err(reason) => refusal = prefer(refusal, reason),
        }
    }
    best.map(|(_, site)| site).ok_or(refusal)
}

/// The site at one node, or how much room it lacks.
fn room_at(
    state: &State,
    need: &Need<'_>,
    node: NodeId,
    account: &Account,
    input: &Input,
) -> Result<Site, Reason> {
    let copies = Bytes(input.total - input.bytes_at(node));
    let reserve = state.window_bytes(need.op) + copies;
    let held = need.held.filter(|(at, _)| *at == node).map_or(Bytes::ZERO, |(_, bytes)| bytes);
    let lacking = reserve.saturating_sub(held);
    let kept = admission::kept_for_others(state, need.op, need.number, account);
    let free = account.room().saturating_sub(kept);
    let overshoots = lacking > free && !state.is_bulk();
    if overshoots && !need.forced {
        return Err(admission::no_room(state, lacking, free));
    }
    Ok(Site { node, actor: None, reserve, copies, overshoots })
}

/// The refusal that came nearest to a launch: lack of room says more than lack of a slot.
fn prefer(old: Reason, new: Reason) -> Reason {
    match (&old, &new) {
        (Reason::MemoryReserved { free: a, .. }, Reason::MemoryReserved { free: b, .. })
            if a >= b =>
        {
            old
        }
        (
            Reason::MemoryReserved { .. } | Reason::OutputFull { .. },
            Reason::SlotReserved { .. },
        ) => old,
        _ => new,
    }
}

/// The node for a new actor: the one with the most of its kind of slots free, where each stateless
/// operator can still run a task beside all actors.
pub(crate) fn actor_node(state: &State, op: OpId) -> Option<NodeId> {
    let request = &state.spec(op).resources;
    state
        .ledger
        .open_nodes()
        .filter(|(_, account)| account.free.fits(request))
        .filter(|(node, _)| leaves_slots(state, request, *node))
        .max_by_key(|(node, a)| {
            (a.free.copies(request, u64::from(u32::MAX)), a.room(), Reverse(*node))
        })
        .map(|(node, _)| node)
}

fn leaves_slots(state: &State, request: &Resources, node: NodeId) -> bool {
    let mut stateless = state.op_ids().filter(|op| state.op(*op).pool.is_none());
    stateless.all(|op| {
        let wanted = &state.spec(op).resources;
        let mut both = request.clone();
        both.credit(wanted);
        state.op(op).is_done
            || state.is_bulk()
            || state
                .ledger
                .open_nodes()
                .any(|(at, a)| a.beside_actors.fits(if at == node { &both } else { wanted }))
    })
}

/// Input bytes by node.
struct Input {
    by_node: BTreeMap<NodeId, u64>,
    total: u64,
}

impl Input {
    fn bytes_at(&self, node: NodeId) -> u64 {
        self.by_node.get(&node).copied().unwrap_or(0)
    }
}

fn input_by_node(state: &State, blocks: &[BlockId]) -> Input {
    let mut input = Input { by_node: BTreeMap::new(), total: 0 };
    for block in blocks.iter().filter_map(|block| state.blocks.get(block)) {
        *input.by_node.entry(block.node).or_default() += block.bytes.0;
        input.total += block.bytes.0;
    }
    input
}

/// The blocks that some work reads.
pub(crate) fn input_of(work: &Work) -> &[BlockId] {
    match work {
        Work::Units { .. } => &[],
        Work::Blocks(blocks) => blocks,
    }
}

/// Actors that are compared for one task; more would not place it better.
const CANDIDATES_MAX: usize = 64;
