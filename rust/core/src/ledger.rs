//! The account of slots and bytes, per node and per operator.
//!
//! Owns I1: on every node, total = free + reserved + used, and nothing goes negative. Knows nothing
//! of tasks or blocks; whoever debits an account remembers what to give back.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::resources::Resources;
use crate::units::{Bytes, NodeId, OpId};

/// What one node has and what of it is taken.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) total: Resources,
    pub(crate) free: Resources,
    /// What actors do not hold: the most that tasks can ever have.
    pub(crate) beside_actors: Resources,
    pub(crate) store: Bytes,
    pub(crate) used: Bytes,
    pub(crate) reserved: Bytes,
    pub(crate) used_peak: Bytes,
    pub(crate) draining: bool,
}

impl Account {
    /// Bytes that neither lie there nor are promised. Zero while a declared overshoot lasts.
    pub(crate) fn room(&self) -> Bytes {
        self.store.saturating_sub(self.used).saturating_sub(self.reserved)
    }
}

/// Bytes by operator, over all nodes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lane {
    /// Blocks that the operator made and that still exist.
    pub(crate) used: Bytes,
    /// Room that its tasks were promised.
    pub(crate) reserved: Bytes,
}

/// All accounts. A node that is gone is absent, and what is given back to it vanishes.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    nodes: BTreeMap<NodeId, Account>,
    lanes: Vec<Lane>,
}

impl Ledger {
    pub(crate) fn new(operators: usize) -> Self {
        Self { nodes: BTreeMap::new(), lanes: alloc::vec![Lane::default(); operators] }
    }

    pub(crate) fn join(&mut self, node: NodeId, resources: Resources, store: Bytes) {
        let account = Account {
            free: resources.clone(),
            beside_actors: resources.clone(),
            total: resources,
            store,
            used: Bytes::ZERO,
            reserved: Bytes::ZERO,
            used_peak: Bytes::ZERO,
            draining: false,
        };
        self.nodes.insert(node, account);
    }

    pub(crate) fn drain(&mut self, node: NodeId) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.draining = true;
        }
    }

    /// Closes a node's account. Its tasks and blocks must have been taken off before.
    pub(crate) fn lose(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    pub(crate) fn knows(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &Account)> {
        self.nodes.iter().map(|(node, account)| (*node, account))
    }

    /// The nodes that take new work.
    pub(crate) fn open_nodes(&self) -> impl Iterator<Item = (NodeId, &Account)> {
        self.nodes().filter(|(_, account)| !account.draining)
    }

    pub(crate) fn account(&self, node: NodeId) -> Option<&Account> {
        self.nodes.get(&node)
    }

    pub(crate) fn lane(&self, op: OpId) -> Lane {
        self.lanes[op.0 as usize]
    }

    pub(crate) fn take_slots(&mut self, node: NodeId, request: &Resources) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.free.debit(request);
        }
    }

    pub(crate) fn give_slots(&mut self, node: NodeId, request: &Resources) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.free.credit(request);
        }
    }

    /// Takes slots for an actor, which holds them for long.
    pub(crate) fn seat_actor(&mut self, node: NodeId, request: &Resources) {
        self.take_slots(node, request);
        if let Some(account) = self.nodes.get_mut(&node) {
            account.beside_actors.debit(request);
        }
    }

    pub(crate) fn unseat_actor(&mut self, node: NodeId, request: &Resources) {
        self.give_slots(node, request);
        if let Some(account) = self.nodes.get_mut(&node) {
            account.beside_actors.credit(request);
        }
    }

    /// Promises room to a task of `op`.
    pub(crate) fn reserve(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.reserved += bytes;
            self.lanes[op.0 as usize].reserved += bytes;
        }
    }

    /// Takes a promise back.
    pub(crate) fn release(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.reserved -= bytes;
            self.lanes[op.0 as usize].reserved -= bytes;
        }
    }

    /// Books a block that `op` made.
    pub(crate) fn charge(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.used += bytes;
            account.used_peak = account.used_peak.max(account.used);
            self.lanes[op.0 as usize].used += bytes;
        }
    }

    /// Books that such a block is gone.
    pub(crate) fn discharge(&mut self, node: NodeId, op: OpId, bytes: Bytes) {
        if let Some(account) = self.nodes.get_mut(&node) {
            account.used -= bytes;
            self.lanes[op.0 as usize].used -= bytes;
        }
    }

    /// Asserts I1: both views of the books agree.
    pub(crate) fn assert_balanced(&self) {
        let used: Bytes = self.nodes.values().map(|account| account.used).sum();
        let reserved: Bytes = self.nodes.values().map(|account| account.reserved).sum();
        let lanes_used: Bytes = self.lanes.iter().map(|lane| lane.used).sum();
        let lanes_reserved: Bytes = self.lanes.iter().map(|lane| lane.reserved).sum();
        assert_eq!((used, reserved), (lanes_used, lanes_reserved), "I1: the ledger must balance");
        for (node, account) in &self.nodes {
            assert!(account.total.fits(&account.free), "I1: {node} has more free than it has");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Slots;
    use proptest::prelude::*;

    const NODE: NodeId = NodeId(0);

    #[derive(Clone, Debug)]
    enum Entry {
        Reserve(u32, u64),
        Produce,
        Consume,
    }

    fn any_entry() -> impl Strategy<Value = Entry> {
        prop_oneof![
            (0u32..3, 1u64..1_000).prop_map(|(op, bytes)| Entry::Reserve(op, bytes)),
            Just(Entry::Produce),
            Just(Entry::Consume),
        ]
    }

    proptest! {
        #[test]
        fn the_books_balance_after_any_entries(entries in proptest::collection::vec(any_entry(), 0..200)) {
            let mut ledger = Ledger::new(3);
            ledger.join(NODE, Resources::cpu(Slots::whole(4)), Bytes(1_000_000));
            let (mut promised, mut lying) = (Vec::new(), Vec::new());
            for entry in entries {
                match entry {
                    Entry::Reserve(op, bytes) => {
                        ledger.reserve(NODE, OpId(op), Bytes(bytes));
                        promised.push((OpId(op), Bytes(bytes)));
                    }
                    Entry::Produce => {
                        if let Some((op, bytes)) = promised.pop() {
                            ledger.release(NODE, op, bytes);
                            ledger.charge(NODE, op, bytes);
                            lying.push((op, bytes));
                        }
                    }
                    Entry::Consume => {
                        if let Some((op, bytes)) = lying.pop() {
                            ledger.discharge(NODE, op, bytes);
                        }
                    }
                }
                ledger.assert_balanced();
            }
            let account = ledger.account(NODE).expect("joined above");
            let expected: Bytes = promised.iter().chain(&lying).map(|(_, bytes)| *bytes).sum();
            prop_assert_eq!(account.used + account.reserved, expected);
        }
    }

    #[test]
    fn what_is_given_back_to_a_lost_node_vanishes() {
        let mut ledger = Ledger::new(1);
        ledger.join(NODE, Resources::default(), Bytes(10));
        ledger.lose(NODE);
        ledger.discharge(NODE, OpId(0), Bytes(5));
        assert!(ledger.account(NODE).is_none());
    }

    #[test]
    fn room_is_what_neither_lies_there_nor_is_promised() {
        let mut ledger = Ledger::new(1);
        ledger.join(NODE, Resources::default(), Bytes(10));
        ledger.reserve(NODE, OpId(0), Bytes(3));
        ledger.charge(NODE, OpId(0), Bytes(4));
        assert_eq!(ledger.account(NODE).map(Account::room), Some(Bytes(3)));
    }
}
