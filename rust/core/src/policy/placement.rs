//! Where a task or an actor goes.
//!
//! A task goes where its input is, among the nodes that have the slots and the room.

use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::ledger::{Account, Share};
use crate::policy::{admission, lookahead, seating};
use crate::pool::Pool;
use crate::protocol::Reason;
use crate::state::{Shelf, State};
use crate::units::{ActorId, BlockId, Bytes, NodeId, OpId};

/// What a task needs to be placed.
pub(crate) struct Need<'a> {
    pub(crate) op: OpId,
    /// The number of its work, for the order.
    pub(crate) number: u64,
    pub(crate) input: &'a [BlockId],
    /// The size of its next block.
    pub(crate) block: Bytes,
    /// What it is expected to put out beyond its input; zero where it is let pass.
    pub(crate) growth: Bytes,
    /// Credit that it holds already, from an earlier attempt.
    pub(crate) credit_at: Option<(NodeId, Bytes)>,
    pub(crate) pass: Pass,
}

/// What a launch may pass since nothing else moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pass {
    Nothing,
    /// The limits of memory in the store, order of slots and batch size.
    Limits,
    /// Those, and the heap that it is thought to need.
    Heap,
}

/// Where a task goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) node: NodeId,
    pub(crate) actor: Option<ActorId>,
    /// Room for what it may put out.
    pub(crate) credit: Bytes,
    /// Room for input that lies elsewhere.
    pub(crate) copies: Bytes,
    /// Whether the room for what it needs at once is missing.
    pub(crate) overshoots: bool,
    /// Heap that is held for it, by its actor if it has one.
    pub(crate) heap: Bytes,
}

/// The best site, or why there is none.
pub(crate) fn site(state: &State, need: &Need<'_>) -> Result<Site, Reason> {
    match &state.op(need.op).pool {
        Some(pool) => actor_site(state, need, pool),
        None => task_site(state, need),
    }
}

/// The node with most of the input; among those with equally much, the one with the most room.
///
/// Only nodes that can be the best are looked at: those that hold input or room of the task, and
/// then, in each class of nodes, the ones with the most room until one will do. Nodes of a class
/// hold the same operators, so what is kept there for others is the same.
fn task_site(state: &State, need: &Need<'_>) -> Result<Site, Reason> {
    let ledger = &state.ledger;
    let request = ledger.request(need.op);
    let mut search = Search { best: None, refusal: no_slot(state, need.op) };
    if ledger.fitting(need.op, Share::Free) == 0 && need.pass < Pass::Heap {
        return search.end();
    }
    let input = Input::of(state, need.input);
    let near = input.nodes().chain(need.credit_at.map(|(node, _)| node));
    for node in near {
        let account = ledger
            .open_account(node)
            .filter(|account| account.free.fits(request) && !is_left_alone(state, need.op, node));
        if let Some(account) = account {
            search.consider(free_site(state, need, node, account, &input), &input, account);
        }
    }
    if search.best.is_some_and(|((bytes, ..), _)| bytes > 0) {
        return search.end();
    }
    for class in ledger.vacant(need.op) {
        let mut full = 0;
        for (node, account) in class.filter(|(node, _)| !is_left_alone(state, need.op, *node)) {
            let site = free_site(state, need, node, account, &input);
            let may_others = match site {
                Err(Reason::SlotReserved { .. } | Reason::MemoryAhead { .. }) => true,
                Err(_) => full > 0,
                Ok(_) => false,
            };
            full += usize::from(!matches!(site, Err(Reason::SlotReserved { .. })));
            search.consider(site, &input, account);
            if !may_others || full == FULL_NODES_MAX {
                break;
            }
        }
    }
    if search.best.is_none() && need.pass == Pass::Heap {
        for (node, account) in without_heap(state, need.op) {
            search.consider(free_site(state, need, node, account, &input), &input, account);
        }
    }
    search.end()
}

/// The first node that would do if no other run held slots; an operator with a pool needs none.
pub(crate) fn site_with_slots(state: &State, need: &Need<'_>) -> Result<Site, Reason> {
    let mut refusal = Reason::NoFreeSlot { needs: state.ledger.request(need.op).clone() };
    for site in sites_with_slots(state, need) {
        match site {
            Ok(site) => return Ok(site),
            Err(reason) => prefer(&mut refusal, reason),
        }
    }
    Err(refusal)
}

/// All nodes that would.
pub(crate) fn nodes_with_room(state: &State, need: &Need<'_>) -> Vec<NodeId> {
    sites_with_slots(state, need).filter_map(|site| Some(site.ok()?.node)).collect()
}

fn sites_with_slots<'a>(
    state: &'a State,
    need: &'a Need<'_>,
) -> impl Iterator<Item = Result<Site, Reason>> + 'a {
    let request = &state.spec(need.op).resources;
    let input = Input::of(state, need.input);
    let may_start = state.op(need.op).pool.is_none();
    let nodes = state.ledger.nodes().filter(move |(node, account)| {
        may_start
            && !account.draining
            && !is_left_alone(state, need.op, *node)
            && account.total.beyond(&account.held()).fits_without_heap(request)
    });
    nodes.map(move |(node, account)| room_at(state, need, node, account, &input))
}

/// Whether `op` uses a node for new work.
pub(crate) fn is_open(state: &State, op: OpId, node: NodeId) -> bool {
    state.ledger.open_account(node).is_some() && !is_left_alone(state, op, node)
}

/// Whether workers of `op` kept failing at a node.
fn is_left_alone(state: &State, op: OpId, node: NodeId) -> bool {
    state.op(op).quarantine.has(node)
}

/// Why no node has free what `op` asks for.
fn no_slot(state: &State, op: OpId) -> Reason {
    let request = state.ledger.request(op);
    let left_alone = state.op(op).quarantine.nodes().count();
    match state.ledger.fitting(op, Share::FreeSlots) {
        0 if is_share_held(state, op) => Reason::ShareHeld { needs: request.clone() },
        0 => Reason::NoFreeSlot { needs: request.clone() },
        _ if left_alone > 0 => {
            let nodes = u32::try_from(left_alone).unwrap_or(u32::MAX);
            Reason::NodesQuarantined { nodes }
        }
        nodes => Reason::HeapReserved { needs: request.heap, nodes },
    }
}

/// The nodes that have free all that `op` asks for except the heap. Looks at all nodes.
fn without_heap(state: &State, op: OpId) -> impl Iterator<Item = (NodeId, &Account)> {
    let request = state.ledger.request(op);
    let open = state
        .ledger
        .nodes()
        .filter(move |(node, account)| !account.draining && !is_left_alone(state, op, *node));
    open.filter(|(_, account)| account.free.fits_without_heap(request))
}

/// The site at one node, unless its slots are kept for others or it lacks room.
fn free_site(
    state: &State,
    need: &Need<'_>,
    node: NodeId,
    account: &Account,
    input: &Input,
) -> Result<Site, Reason> {
    match admission::slot_kept_for(state, need.op, node).filter(|_| need.pass == Pass::Nothing) {
        Some(by) => Err(Reason::SlotReserved { by }),
        None => room_at(state, need, node, account, input),
    }
}

/// The best site so far, and the refusal that came nearest to one.
struct Search {
    best: Option<(Merit, Site)>,
    refusal: Reason,
}

/// Bytes of input at a node, its room, and its number.
type Merit = (u64, Bytes, Reverse<NodeId>);

impl Search {
    fn consider(&mut self, site: Result<Site, Reason>, input: &Input, account: &Account) {
        match site {
            Ok(site) => {
                let merit = (input.bytes_at(site.node), account.room(), Reverse(site.node));
                if self.best.is_none_or(|(most, _)| merit > most) {
                    self.best = Some((merit, site));
                }
            }
            Err(reason) => prefer(&mut self.refusal, reason),
        }
    }

    fn end(self) -> Result<Site, Reason> {
        self.best.map(|(_, site)| site).ok_or(self.refusal)
    }
}

/// The actor with the fewest tasks; among those with equally few, one where most of the input is.
fn actor_site(state: &State, need: &Need<'_>, pool: &Pool) -> Result<Site, Reason> {
    let mut refusal = match (pool.ready(), pool.starting()) {
        (0, 0) if pool.alive() == 0 && is_share_held(state, need.op) => {
            Reason::ShareHeld { needs: state.ledger.request(need.op).clone() }
        }
        (0, starting) => Reason::ActorStarting { actors: starting },
        (ready, _) => Reason::ActorsBusy { actors: ready },
    };
    if pool.loads().next().is_none() {
        return Err(refusal);
    }
    let input = Input::of(state, need.input);
    for (node, actor) in candidates(pool, &input).take(CANDIDATES_MAX) {
        let Some(account) = state.ledger.open_account(node) else {
            continue;
        };
        match room_at(state, need, node, account, &input) {
            Ok(site) => {
                let heap = pool.actor(actor).map_or(Bytes::ZERO, |actor| actor.heap);
                return Ok(Site { actor: Some(actor), heap, ..site });
            }
            Err(reason) => prefer(&mut refusal, reason),
        }
    }
    Err(refusal)
}

/// Whether slots for an actor or task of `op` would be free, but are the share of other runs.
fn is_share_held(state: &State, op: OpId) -> bool {
    state.ledger.fitting(op, Share::FreeSlots) == 0 && state.ledger.is_withheld(op)
}

/// Actors that take a task, best first: for each load those near the input, then one of each node.
fn candidates(pool: &Pool, input: &Input) -> impl Iterator<Item = (NodeId, ActorId)> {
    pool.loads().flat_map(move |load| {
        let near = input.nodes().filter_map(move |node| Some((node, pool.opening_at(load, node)?)));
        near.chain(pool.openings_by_node(load))
    })
}

/// The site at one node, or how much room it lacks.
fn room_at(
    state: &State,
    need: &Need<'_>,
    node: NodeId,
    account: &Account,
    input: &Input,
) -> Result<Site, Reason> {
    lookahead::check_room_at(state, need.op, need.growth, node, account)?;
    let copies = Bytes(input.total - input.bytes_at(node));
    let kept = admission::kept_for_others(state, need.op, need.number, node, account);
    let free = account.room().saturating_sub(kept);
    let had = need.credit_at.filter(|(at, _)| *at == node).map_or(Bytes::ZERO, |(_, bytes)| bytes);
    let wanted = need.block.saturating_sub(had);
    // A task that was stopped to free its slot must not take it again only to wait.
    let lacking = if need.credit_at.is_some() { copies + wanted } else { copies };
    let overshoots = lacking > free && !state.is_bulk();
    if overshoots && need.pass == Pass::Nothing {
        return Err(admission::no_room(state, lacking, free));
    }
    let has_plenty = || !overshoots && lookahead::has_plenty(state, copies + wanted, free);
    // One that was stopped and takes its slot again only since nothing else moves would be stopped again.
    let credit = if need.credit_at.is_some() || has_plenty() { had + wanted } else { had };
    let heap = state.ledger.request(need.op).heap.min(account.free.heap);
    Ok(Site { node, actor: None, credit, copies, overshoots, heap })
}

/// Keeps the refusal that came nearest to a launch: time alone comes before lack of room, and that before
/// lack of a slot.
fn prefer(old: &mut Reason, new: Reason) {
    let is_old_nearer = match (&old, &new) {
        (Reason::MemoryReserved { free: a, .. }, Reason::MemoryReserved { free: b, .. })
        | (Reason::MemoryAhead { room: a, .. }, Reason::MemoryAhead { room: b, .. }) => a >= b,
        (Reason::MemoryAhead { .. }, _)
        | (
            Reason::MemoryReserved { .. } | Reason::OutputFull { .. },
            Reason::SlotReserved { .. },
        ) => true,
        _ => false,
    };
    if !is_old_nearer {
        *old = new;
    }
}

/// The node for a new actor: the one with the most of its kind of slots free, where each stateless
/// operator can still run a task beside all actors.
pub(crate) fn actor_node(state: &State, op: OpId) -> Option<NodeId> {
    let may_start = may_start(state, op);
    let vacant = state.ledger.vacant(op);
    let best = vacant.filter_map(|mut class| class.find(|(node, _)| may_start(*node)));
    let request = state.ledger.request(op);
    let merit = |(node, account): &(NodeId, &Account)| {
        (account.free.copies(request, u64::from(u32::MAX)), account.room(), Reverse(*node))
    };
    best.max_by_key(merit).map(|(node, _)| node)
}

/// Whether an actor of `op` would have a place at another node than this one, where it is.
pub(crate) fn has_place_but(state: &State, op: OpId, node: NodeId) -> bool {
    let may_go = |at| at != node && !is_left_alone(state, op, at) && leaves_slots(state, op, at);
    state.ledger.vacant(op).any(|mut class| class.any(|(at, _)| may_go(at)))
}

/// Whether an actor of `op`, if that has a pool, may start at a node, if it has the room: the operator uses
/// that node, each stateless one still finds a slot, and beside other runs it is the node of its seat.
pub(crate) fn may_start(state: &State, op: OpId) -> impl Fn(NodeId) -> bool {
    let (due, has_pool) = (seating::due(state, op), state.op(op).pool.is_some());
    let may_seat = move |node| {
        due.allows(node)
            && !is_left_alone(state, op, node)
            && leaves_slots(state, op, node)
            && leaves_share(state, op, node)
    };
    move |node| !has_pool || may_seat(node)
}

/// Whether an actor of `op` at `node` is one of its pool's smallest size, or each stateless operator that
/// needs the same slots still finds some within the run's share. What those need of other kinds it gets
/// when it wants it.
fn leaves_share(state: &State, op: OpId, node: NodeId) -> bool {
    let has_least =
        state.op(op).pool.as_ref().is_some_and(|pool| pool.size() >= pool.spec.actors_min);
    let request = &state.spec(op).resources;
    let mut stateless = state.op_ids().filter(|other| state.op(*other).pool.is_none());
    !has_least
        || stateless.all(|other| {
            state.op(other).is_done
                || !state.spec(other).resources.shares_slots(request)
                || state.ledger.fits_share_beside(other, Some((op, node)))
        })
}

/// The node for an actor of a pool that lacks one, though no node has the heap for it: the one with
/// the most of that, where each stateless operator can still run a task beside all actors, heap aside.
pub(crate) fn actor_node_past_heap(state: &State, op: OpId) -> Option<NodeId> {
    let leaves_slots = |(node, _): &(NodeId, &Account)| {
        let mut stateless = state.op_ids().filter(|op| state.op(*op).pool.is_none());
        stateless.all(|other| {
            state.op(other).is_done || state.ledger.fits_beside_without_heap(other, op, *node)
        })
    };
    let due = seating::due(state, op);
    let nodes = without_heap(state, op).filter(|(node, _)| due.allows(*node)).filter(leaves_slots);
    nodes.max_by_key(|(node, account)| (account.free.heap, Reverse(*node))).map(|(node, _)| node)
}

/// Whether a node had room for an actor of `op` if no tasks were there.
pub(crate) fn has_place_beside_tasks(state: &State, op: OpId) -> bool {
    let request = state.ledger.request(op);
    let due = seating::due(state, op);
    let fits = |(node, account): (NodeId, &Account)| {
        due.allows(node) && !account.draining && account.beside_actors.fits(request)
    };
    let mut fitting = state.ledger.nodes().filter(|place| fits(*place));
    fitting.any(|(node, _)| leaves_slots(state, op, node))
}

/// Whether each stateless operator has a node beside all actors if an actor of `op` is at `node`.
fn leaves_slots(state: &State, op: OpId, node: NodeId) -> bool {
    let mut stateless = state.op_ids().filter(|op| state.op(*op).pool.is_none());
    state.is_bulk()
        || stateless.all(|other| {
            state.op(other).is_done
                || state.ledger.fits_beside(other, Share::BesideActors, op, node)
        })
}

/// Input bytes by node, most first. What was set aside lies nowhere.
struct Input {
    by_node: Vec<(NodeId, u64)>,
    total: u64,
}

impl Input {
    fn of(state: &State, blocks: &[BlockId]) -> Self {
        let blocks = || blocks.iter().filter_map(|block| state.blocks.get(block));
        let near = blocks().filter(|block| block.shelf != Shelf::Aside);
        let mut bytes: Vec<(NodeId, u64)> = near.map(|block| (block.node, block.bytes.0)).collect();
        bytes.sort_unstable_by_key(|(node, _)| *node);
        bytes.dedup_by(|later, first| {
            let is_same = later.0 == first.0;
            first.1 += if is_same { later.1 } else { 0 };
            is_same
        });
        bytes.sort_by_key(|(_, bytes)| Reverse(*bytes));
        Self { total: blocks().map(|block| block.bytes.0).sum(), by_node: bytes }
    }

    fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.by_node.iter().map(|(node, _)| *node)
    }

    fn bytes_at(&self, node: NodeId) -> u64 {
        self.by_node.iter().find(|(at, _)| *at == node).map_or(0, |(_, bytes)| *bytes)
    }
}

/// Nodes of a class that are tried for a task that grows: where so many will lack room, the others will.
const FULL_NODES_MAX: usize = 8;
/// Nodes whose actors are tried for one task; where so many lack room, the others do.
const CANDIDATES_MAX: usize = 64;
