//! The account of slots and bytes, per node and per operator.
//!
//! Owns I1: on every node, total = free + reserved + used, and nothing goes negative. Knows nothing
//! of tasks or blocks; whoever debits an account remembers what to give back. Heap is booked like a
//! slot, but what an operator asks for of it changes during a run, so it is given back by amount.

mod index;
#[cfg(test)]
mod tests;
mod vacancies;

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::ledger::index::{Entries, Index, Shape};
use crate::resources::Resources;
use crate::state::Shelf;
use crate::table::Table;
use crate::units::{Bytes, NodeId, OpId, Slots};

/// What one node has and what of it is taken.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) total: Resources,
    pub(crate) free: Resources,
    /// What of it other runs may use: all beyond this run's share, as far as it does not hold it.
    pub(crate) withheld: Resources,
    share: Option<Resources>,
    /// What actors do not hold: the most that tasks can ever have.
    pub(crate) beside_actors: Resources,
    pub(crate) store: Bytes,
    pub(crate) used: Bytes,
    pub(crate) reserved: Bytes,
    pub(crate) used_peak: Bytes,
    /// Of what is used, blocks that wait behind a barrier and are kept in the store.
    pub(crate) at_barrier: Bytes,
    /// Of what is used, blocks that were set aside at a barrier.
    pub(crate) aside: Bytes,
    pub(crate) draining: bool,
    /// One for each operator.
    presences: Vec<Presence>,
}

/// What an operator has on a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Presence {
    /// Blocks that it made, and stateless tasks of it that run.
    pub(crate) work: u32,
    pub(crate) actors: u32,
}

impl Account {
    /// Bytes that neither lie there nor are promised; what is set aside is beyond the store. Zero while
    /// a declared overshoot lasts.
    pub(crate) fn room(&self) -> Bytes {
        self.store.saturating_sub(self.lying()).saturating_sub(self.reserved)
    }

    /// Bytes that lie in the store: all but what is set aside.
    pub(crate) fn lying(&self) -> Bytes {
        self.used - self.aside
    }

    /// Bytes of blocks, except those that wait behind a barrier or were set aside there.
    pub(crate) fn flowing(&self) -> Bytes {
        self.used - self.at_barrier - self.aside
    }

    pub(crate) fn presence(&self, op: OpId) -> Presence {
        self.presences[op.0 as usize]
    }

    fn presence_mut(&mut self, op: OpId) -> &mut Presence {
        &mut self.presences[op.0 as usize]
    }

    /// What tasks and actors hold.
    pub(crate) fn held(&self) -> Resources {
        self.total.beyond(&self.free).beyond(&self.withheld)
    }

    /// What the run may use of it.
    pub(crate) fn share(&self) -> (Resources, Bytes) {
        (self.share.as_ref().unwrap_or(&self.total).clone(), self.store)
    }

    fn share_is_nothing(&self) -> bool {
        let is_nothing = |share: &Resources| share.named().all(|(_, amount)| amount == Slots::ZERO);
        self.share.as_ref().is_some_and(is_nothing)
    }

    /// Slots that the run holds beyond its share.
    pub(crate) fn excess(&self) -> Resources {
        let beyond = self.share.as_ref().map(|share| self.held().beyond(share));
        Resources { heap: Bytes::ZERO, ..beyond.unwrap_or_default() }
    }

    /// Whether `request` would fit if other runs used nothing.
    pub(crate) fn withholds(&self, request: &Resources) -> bool {
        self.share.is_some() && {
            let mut free = self.free.clone();
            free.credit(&self.withheld);
            free.fits_without_heap(request)
        }
    }

    /// What actors leave to tasks of the run's share.
    fn share_beside_actors(&self) -> Resources {
        let share = self.share.as_ref().unwrap_or(&self.total);
        share.beyond(&self.total.beyond(&self.beside_actors))
    }

    /// Moves between what is free and what is withheld, so that no more is left than the share.
    fn withhold(&mut self) {
        let Some(share) = &self.share else { return };
        self.free.credit(&self.withheld);
        self.withheld = self.free.at_most(&self.total.beyond(share));
        self.free.debit(&self.withheld);
    }
}

/// Bytes by operator, over all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lane {
    /// Blocks that the operator made and that still exist.
    pub(crate) used: Bytes,
    /// Room that its tasks were promised.
    pub(crate) reserved: Bytes,
    /// Of those blocks, what was set aside at a barrier.
    pub(crate) aside: Bytes,
}

/// What of a node's slots is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// All that it has.
    Total,
    /// What actors do not hold.
    BesideActors,
    /// What nothing holds.
    Free,
    /// The same, whatever heap is held.
    FreeSlots,
}

/// All accounts. A node that is gone is absent, and what is given back to it vanishes.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    nodes: Table<NodeId, Record>,
    /// What all nodes have.
    capacity: Resources,
    lanes: Vec<Lane>,
    asks: Vec<Ask>,
    /// The shape of each operator's request.
    shapes: Vec<usize>,
    index: Index,
    /// The smallest store, and the largest.
    stores: (Bytes, Bytes),
    /// Whether the run was told of a share.
    is_shared: bool,
    /// The nodes of which the run holds more slots than its share.
    beyond_share: BTreeSet<NodeId>,
}

/// What one operator asks for.
#[derive(Clone, Debug)]
struct Ask {
    /// All but heap.
    slots: Resources,
    for_actors: bool,
    /// The heap that it wants, which may be more than a node has.
    heap: Bytes,
}

#[derive(Clone, Debug)]
struct Record {
    account: Account,
    entries: Entries,
}

impl Ledger {
    /// An account for operators that ask for `requests`, each with whether actors hold it.
    pub(crate) fn new<'a>(requests: impl Iterator<Item = (&'a Resources, bool)>) -> Self {
        let ask = |(request, for_actors): (&Resources, bool)| Ask {
            slots: Resources { heap: Bytes::ZERO, ..request.clone() },
            for_actors,
            heap: request.heap,
        };
        let asks: Vec<Ask> = requests.map(ask).collect();
        let lanes = alloc::vec![Lane::default(); asks.len()];
        let mut ledger = Self {
            nodes: Table::new(),
            capacity: Resources::default(),
            lanes,
            asks,
            shapes: Vec::new(),
            index: Index::new(),
            stores: Default::default(),
            is_shared: false,
            beyond_share: BTreeSet::new(),
        };
        ledger.rebuild_index();
        ledger
    }

    pub(crate) fn join(&mut self, node: NodeId, resources: Resources, store: Bytes) {
        self.capacity.credit(&resources);
        let account = Account {
            free: resources.clone(),
            withheld: Resources::default(),
            share: None,
            beside_actors: resources.clone(),
            total: resources,
            store,
            used: Bytes::ZERO,
            reserved: Bytes::ZERO,
            used_peak: Bytes::ZERO,
            at_barrier: Bytes::ZERO,
            aside: Bytes::ZERO,
            draining: false,
            presences: alloc::vec![Presence::default(); self.asks.len()],
        };
        let entries = self.index.add(node, &account);
        self.nodes.insert(node, Record { account, entries });
        self.stores = self.find_stores();
        self.adapt_heap();
    }

    pub(crate) fn drain(&mut self, node: NodeId) {
        if let Some(Record { account, entries }) = self.nodes.get_mut(&node) {
            account.draining = true;
            self.index.update(node, account, entries);
            self.adapt_heap();
        }
    }

    /// Leaves the run no more than its share of a node, as soon as it holds no more.
    pub(crate) fn share(&mut self, node: NodeId, resources: Resources, store: Bytes) {
        if let Some(Record { account, entries }) = self.nodes.get_mut(&node) {
            account.store = store;
            self.is_shared = true;
            account.share = Some(resources);
            account.withhold();
            note_excess(&mut self.beyond_share, node, account);
            self.index.update(node, account, entries);
            self.stores = self.find_stores();
        }
    }

    /// Closes a node's account. Its tasks and blocks must have been taken off before.
    pub(crate) fn lose(&mut self, node: NodeId) {
        if let Some(Record { account, entries }) = self.nodes.remove(&node) {
            self.beyond_share.remove(&node);
            self.capacity.debit(&account.total);
            self.index.remove(&account, entries);
            self.stores = self.find_stores();
            self.adapt_heap();
        }
    }

    /// The nodes of which the run holds more slots than its share.
    pub(crate) fn beyond_share(&self) -> impl Iterator<Item = NodeId> {
        self.beyond_share.iter().copied()
    }

    /// Whether the run has to wait for its turn as a whole: its share of each node is nothing.
    pub(crate) fn has_no_share(&self) -> bool {
        self.is_shared && self.nodes.values().all(|record| record.account.share_is_nothing())
    }

    /// Whether the run goes by shares, which may leave it less than nodes have.
    pub(crate) const fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Whether a node would have what `op` asks for if other runs used nothing. Looks at all nodes where
    /// there are such runs.
    pub(crate) fn is_withheld(&self, op: OpId) -> bool {
        let slots = &self.asks[op.0 as usize].slots;
        let open = self.nodes.values().filter(|record| !record.account.draining);
        self.is_shared && open.map(|record| &record.account).any(|account| account.withholds(slots))
    }

    /// Whether a node that takes new work has, beside all actors and one more of `other` if there is to be
    /// one somewhere, the slots of `op` within the run's share. Looks at all nodes where there are shares.
    pub(crate) fn fits_share_beside(&self, op: OpId, other: Option<(OpId, NodeId)>) -> bool {
        if !self.is_shared() {
            return other.is_some() || self.fitting(op, Share::BesideActors) > 0;
        }
        let slots = |op: OpId| &self.asks[op.0 as usize].slots;
        self.nodes().filter(|(_, account)| !account.draining).any(|(node, account)| {
            let mut left = account.share_beside_actors();
            if let Some((other, _)) = other.filter(|(_, at)| *at == node) {
                left = left.beyond(slots(other));
            }
            left.fits_without_heap(slots(op))
        })
    }

    /// What all nodes have, draining ones too.
    pub(crate) fn capacity(&self) -> &Resources {
        &self.capacity
    }

    fn find_stores(&self) -> (Bytes, Bytes) {
        let stores = || self.nodes.values().map(|record| record.account.store);
        (stores().min().unwrap_or_default(), stores().max().unwrap_or_default())
    }

    pub(crate) fn is_one_node(&self) -> bool {
        self.nodes.len() == 1
    }

    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Account)> {
        self.nodes.iter().map(|(node, record)| (node, &record.account))
    }

    pub(crate) fn account(&self, node: NodeId) -> Option<&Account> {
        self.nodes.get(&node).map(|record| &record.account)
    }

    /// The account of a node that takes new work.
    pub(crate) fn open_account(&self, node: NodeId) -> Option<&Account> {
        self.account(node).filter(|account| !account.draining)
    }

    pub(crate) fn lane(&self, op: OpId) -> Lane {
        self.lanes[op.0 as usize]
    }

    /// The smallest store of a node.
    pub(crate) fn store_min(&self) -> Bytes {
        self.stores.0
    }

    /// The largest store of a node.
    pub(crate) fn store_max(&self) -> Bytes {
        self.stores.1
    }

    /// Bytes of blocks on all nodes.
    pub(crate) fn used(&self) -> Bytes {
        self.index.used
    }

    /// Bytes of blocks on all nodes, except those that wait behind a barrier or were set aside there.
    pub(crate) fn flowing(&self) -> Bytes {
        self.index.used - self.index.shelved
    }

    /// The room of all nodes that take new work.
    pub(crate) fn open_room(&self) -> Bytes {
        self.index.open_room
    }

    /// CPUs, on nodes that take new work, that no actor holds.
    pub(crate) fn task_cpus(&self) -> Slots {
        self.index.task_cpus
    }

    /// Bytes that tasks were promised, on all nodes.
    pub(crate) fn reserved(&self) -> Bytes {
        self.lanes.iter().map(|lane| lane.reserved).sum()
    }

    /// How many requests of `op` the nodes hold together if they hold nothing else.
    pub(crate) fn copies(&self, op: OpId) -> u64 {
        self.shape(op).copies
    }

    /// How many nodes that take new work have what `op` asks for.
    pub(crate) fn fitting(&self, op: OpId, share: Share) -> u32 {
        let fitting = &self.shape(op).fitting;
        match share {
            Share::Total => fitting.total,
            Share::BesideActors => fitting.beside_actors,
            Share::Free => fitting.free,
            Share::FreeSlots => fitting.free_slots,
        }
    }

    /// Whether a node that takes new work has what `op` asks for, when what `other` asks for is
    /// taken from `node`.
    pub(crate) fn fits_beside(&self, op: OpId, share: Share, other: OpId, node: NodeId) -> bool {
        let Some(account) = self.open_account(node) else { return self.fitting(op, share) > 0 };
        let has = match share {
            Share::Total => &account.total,
            Share::BesideActors => &account.beside_actors,
            Share::Free | Share::FreeSlots => &account.free,
        };
        let wanted = &self.shape(op).request;
        let elsewhere = self.fitting(op, share) - u32::from(has.fits(wanted));
        elsewhere > 0 || has.fits_both(wanted, &self.shape(other).request)
    }

    /// Whether what `op` asks for, except heap, fits, on a node that takes new work, beside all actors
    /// and one more of `other` at `node`. Looks at all nodes.
    pub(crate) fn fits_beside_without_heap(&self, op: OpId, other: OpId, node: NodeId) -> bool {
        let slots = |op: OpId| &self.asks[op.0 as usize].slots;
        self.nodes().filter(|(_, account)| !account.draining).any(|(at, account)| {
            let has = &account.beside_actors;
            if at == node { has.fits_both(slots(op), slots(other)) } else { has.fits(slots(op)) }
        })
    }

    /// The nodes that take new work and have free what `op` asks for: a list for each class of nodes,
    /// which hold the same operators. Each list has the most room first; for actors, first of all
    /// the node on which most of them fit.
    pub(crate) fn vacant(
        &self,
        op: OpId,
    ) -> impl Iterator<Item = impl Iterator<Item = (NodeId, &Account)>> {
        let account =
            |node| (node, self.account(node).expect("because only known nodes are listed"));
        let classes = self.shape(op).vacant.iter();
        classes.map(move |seats| seats.iter().map(account))
    }

    fn shape(&self, op: OpId) -> &Shape {
        &self.index.shapes[self.shapes[op.0 as usize]]
    }

    /// What a task or an actor of `op` asks for now: of heap, at most all that a node has on which
    /// it could run.
    pub(crate) fn request(&self, op: OpId) -> &Resources {
        &self.shape(op).request
    }

    /// The heap that `op` wants, which may be more than a node has.
    pub(crate) fn heap_wanted(&self, op: OpId) -> Bytes {
        self.asks[op.0 as usize].heap
    }

    /// Changes the heap that `op` asks for from now on. What it holds it keeps.
    pub(crate) fn want_heap(&mut self, op: OpId, heap: Bytes) {
        self.asks[op.0 as usize].heap = heap;
        self.adapt_heap();
    }

    /// The largest heap of a node that takes new work and could run `op`; zero: none is watched.
    pub(crate) fn heap_max(&self, op: OpId) -> Bytes {
        let slots = &self.asks[op.0 as usize].slots;
        let open = self.nodes().filter(|(_, account)| !account.draining);
        let fitting = open.filter(|(_, account)| account.total.fits_without_heap(slots));
        fitting.map(|(_, account)| account.total.heap).max().unwrap_or_default()
    }

    /// Builds the index anew where an operator's request of heap has changed: rare, since an
    /// estimate grows step by step, and falls only when a guess is over.
    fn adapt_heap(&mut self) {
        let is_stale = |position: usize| {
            let request = &self.index.shapes[self.shapes[position]].request;
            request.heap != self.heap_request(op_at(position))
        };
        if (0..self.asks.len()).any(is_stale) {
            self.rebuild_index();
        }
    }

    fn heap_request(&self, op: OpId) -> Bytes {
        match self.heap_wanted(op) {
            Bytes::ZERO => Bytes::ZERO,
            wanted => wanted.min(self.heap_max(op)),
        }
    }

    fn rebuild_index(&mut self) {
        let mut index = Index::new();
        self.shapes = (0..self.asks.len())
            .map(|position| {
                let heap = self.heap_request(op_at(position));
                let ask = &self.asks[position];
                index.add_shape(&Resources { heap, ..ask.slots.clone() }, ask.for_actors)
            })
            .collect();
        for (node, record) in self.nodes.iter_mut() {
            record.entries = index.add(node, &record.account);
        }
        self.index = index;
    }

    pub(crate) fn take_slots(&mut self, node: NodeId, op: OpId, heap: Bytes) {
        self.exchange_slots(node, op, |account, slots| {
            account.presence_mut(op).work += 1;
            account.free.debit(slots);
            account.free.heap -= heap;
        });
    }

    pub(crate) fn give_slots(&mut self, node: NodeId, op: OpId, heap: Bytes) {
        self.exchange_slots(node, op, |account, slots| {
            account.presence_mut(op).work -= 1;
            account.free.credit(slots);
            account.free.heap += heap;
        });
    }

    /// Takes slots for an actor, which holds them for long.
    pub(crate) fn seat_actor(&mut self, node: NodeId, op: OpId, heap: Bytes) {
        self.exchange_slots(node, op, |account, slots| {
            account.presence_mut(op).actors += 1;
            account.free.debit(slots);
            account.beside_actors.debit(slots);
            account.free.heap -= heap;
            account.beside_actors.heap -= heap;
        });
    }

    pub(crate) fn unseat_actor(&mut self, node: NodeId, op: OpId, heap: Bytes) {
        self.exchange_slots(node, op, |account, slots| {
            account.presence_mut(op).actors -= 1;
            account.free.credit(slots);
            account.beside_actors.credit(slots);
            account.free.heap += heap;
            account.beside_actors.heap += heap;
        });
    }

    /// Takes more heap for a task that runs.
    pub(crate) fn take_more(&mut self, node: NodeId, op: OpId, heap: Bytes) {
        self.exchange_slots(node, op, |account, _| account.free.heap -= heap);
    }

    /// Takes more heap for an actor that is seated.
    pub(crate) fn seat_more(&mut self, node: NodeId, op: OpId, heap: Bytes) {
        self.exchange_slots(node, op, |account, _| {
            account.free.heap -= heap;
            account.beside_actors.heap -= heap;
        });
    }

    fn exchange_slots(
        &mut self,
        node: NodeId,
        op: OpId,
        exchange: impl FnOnce(&mut Account, &Resources),
    ) {
        if let Some(Record { account, entries }) = self.nodes.get_mut(&node) {
            exchange(account, &self.asks[op.0 as usize].slots);
            account.withhold();
            note_excess(&mut self.beyond_share, node, account);
            self.index.update(node, account, entries);
        }
    }

    /// Changes an account and its operator's lane, if the node is known.
    fn book(&mut self, node: NodeId, op: OpId, entry: impl FnOnce(&mut Account, &mut Lane)) {
        if let Some(Record { account, entries }) = self.nodes.get_mut(&node) {
            entry(account, &mut self.lanes[op.0 as usize]);
            self.index.update_bytes(account, entries);
        }
    }

    /// Promises room to a task of `op`.
    pub(crate) fn reserve(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        self.book(node, op, |account, lane| {
            account.reserved += bytes;
            lane.reserved += bytes;
        });
    }

    /// Takes a promise back.
    pub(crate) fn release(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        self.book(node, op, |account, lane| {
            account.reserved -= bytes;
            lane.reserved -= bytes;
        });
    }

    /// Books a block that `op` made.
    pub(crate) fn charge(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        self.settle(node, op, Bytes::ZERO, bytes);
    }

    /// Books a block for which `promised` bytes were promised on the same node.
    pub(crate) fn settle(&mut self, node: NodeId, op: OpId, promised: Bytes, bytes: Bytes) {
        self.book(node, op, |account, lane| {
            account.reserved -= promised;
            lane.reserved -= promised;
            account.presence_mut(op).work += 1;
            account.used += bytes;
            account.used_peak = account.used_peak.max(account.used);
            lane.used += bytes;
        });
    }

    /// Books that such a block is gone.
    pub(crate) fn discharge(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        self.book(node, op, |account, lane| {
            account.presence_mut(op).work -= 1;
            account.used -= bytes;
            lane.used -= bytes;
        });
    }

    /// Books that a block of `op` at a node comes to a barrier, leaves it, or is gone.
    pub(crate) fn move_shelf(
        &mut self,
        node: NodeId,
        op: OpId,
        bytes: Bytes,
        (from, to): (Shelf, Shelf),
    ) {
        self.book(node, op, |account, lane| {
            change_shelf(account, lane, from, |booked| *booked -= bytes);
            change_shelf(account, lane, to, |booked| *booked += bytes);
        });
    }

    /// Asserts I1: both views of the books agree, and the index is what a recount gives.
    pub(crate) fn assert_balanced(&self) {
        let used: Bytes = self.nodes().map(|(_, account)| account.used).sum();
        let reserved: Bytes = self.nodes().map(|(_, account)| account.reserved).sum();
        let lanes_used: Bytes = self.lanes.iter().map(|lane| lane.used).sum();
        let lanes_reserved: Bytes = self.lanes.iter().map(|lane| lane.reserved).sum();
        assert_eq!((used, reserved), (lanes_used, lanes_reserved), "I1: the ledger must balance");
        let aside: Bytes = self.nodes().map(|(_, account)| account.aside).sum();
        let lanes_aside: Bytes = self.lanes.iter().map(|lane| lane.aside).sum();
        assert_eq!(aside, lanes_aside, "I1: what is set aside");
        for (node, account) in self.nodes() {
            assert!(account.total.fits(&account.free), "I1: {node} has more free than it has");
        }
        for op in (0..self.asks.len()).map(op_at) {
            assert_eq!(self.request(op).heap, self.heap_request(op), "what {op} asks for of heap");
        }
        assert_eq!(self.stores, self.find_stores(), "the smallest and the largest store");
        self.index.assert_recounted(self.nodes());
    }
}

fn note_excess(beyond_share: &mut BTreeSet<NodeId>, node: NodeId, account: &Account) {
    if account.share.is_none() || account.excess().is_zero() {
        beyond_share.remove(&node);
    } else {
        beyond_share.insert(node);
    }
}

/// Changes what is booked of blocks on a shelf.
fn change_shelf(account: &mut Account, lane: &mut Lane, shelf: Shelf, change: impl Fn(&mut Bytes)) {
    match shelf {
        Shelf::Off => {}
        Shelf::AtBarrier => change(&mut account.at_barrier),
        Shelf::Aside => {
            change(&mut account.aside);
            change(&mut lane.aside);
        }
    }
}

fn op_at(position: usize) -> OpId {
    OpId(u32::try_from(position).expect("because a plan has few operators"))
}
