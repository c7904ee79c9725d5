//! The books balance, and the index agrees with them, after any changes.

use super::*;
use crate::units::Slots;
use proptest::prelude::*;

const NODE: NodeId = NodeId(0);

fn ledger(operators: usize) -> Ledger {
    let request = Resources::cpu(Slots::whole(1));
    Ledger::new(core::iter::repeat_n((&request, false), operators))
}

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
        let mut ledger = ledger(3);
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

/// Operators that ask for a CPU, for half a GPU by actors, and for nothing.
fn mixed_ledger() -> Ledger {
    let half = Resources::gpu(Slots(5_000));
    let (one, nothing) = (Resources::cpu(Slots::whole(1)), Resources::default());
    let mut ledger = Ledger::new([(&one, false), (&half, true), (&nothing, false)].into_iter());
    for (node, cpus, gpus) in [(0, 2, 0), (1, 2, 1), (2, 1, 2)] {
        let has =
            Resources { cpu: Slots::whole(cpus), gpu: Slots::whole(gpus), ..Resources::default() };
        ledger.join(NodeId(node), has, Bytes(1_000));
    }
    ledger
}

#[derive(Clone, Debug)]
enum Change {
    Take(u32, u32),
    GiveBack,
    Reserve(u32, u64),
    Drain(u32),
    Lose(u32),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0u32..3, 0u32..3).prop_map(|(node, op)| Change::Take(node, op)),
        8 => Just(Change::GiveBack),
        4 => (0u32..3, 0u64..100).prop_map(|(node, bytes)| Change::Reserve(node, bytes)),
        1 => (0u32..3).prop_map(Change::Drain),
        1 => (0u32..3).prop_map(Change::Lose),
    ]
}

fn take(ledger: &mut Ledger, node: NodeId, op: OpId) {
    match op {
        OpId(1) => ledger.seat_actor(node, op, Bytes::ZERO),
        task => ledger.take_slots(node, task, Bytes::ZERO),
    }
}

fn give_back(ledger: &mut Ledger, node: NodeId, op: OpId) {
    match op {
        OpId(1) => ledger.unseat_actor(node, op, Bytes::ZERO),
        task => ledger.give_slots(node, task, Bytes::ZERO),
    }
}

proptest! {
    #[test]
    fn what_is_vacant_is_found_after_any_changes(
        changes in proptest::collection::vec(any_change(), 0..100),
    ) {
        let mut ledger = mixed_ledger();
        let mut taken = Vec::new();
        for change in changes {
            match change {
                Change::Take(node, op) => {
                    let (node, op) = (NodeId(node), OpId(op));
                    if ledger.vacant(op).flatten().any(|(at, _)| at == node) {
                        take(&mut ledger, node, op);
                        taken.push((node, op));
                    }
                }
                Change::GiveBack => {
                    if let Some((node, op)) = taken.pop() {
                        give_back(&mut ledger, node, op);
                    }
                }
                Change::Reserve(node, bytes) => {
                    ledger.reserve(NodeId(node), OpId(0), Bytes(bytes));
                    ledger.release(NodeId(node), OpId(0), Bytes(bytes / 2));
                    ledger.charge(NodeId(node), OpId(2), Bytes(bytes / 2));
                    ledger.discharge(NodeId(node), OpId(2), Bytes(bytes / 2));
                }
                Change::Drain(node) => ledger.drain(NodeId(node)),
                Change::Lose(node) => {
                    let held = ledger.account(NodeId(node)).map(|account| account.reserved);
                    ledger.release(NodeId(node), OpId(0), held.unwrap_or_default());
                    ledger.lose(NodeId(node));
                }
            }
            ledger.assert_balanced();
            for class in ledger.vacant(OpId(0)) {
                let rooms: Vec<Bytes> = class.map(|(_, account)| account.room()).collect();
                prop_assert!(rooms.is_sorted_by(|a, b| a >= b), "most room first: {rooms:?}");
            }
        }
    }
}

#[test]
fn a_request_beside_another_needs_room_for_both_or_another_node() {
    let mut ledger = mixed_ledger();
    let beside = |ledger: &Ledger| ledger.fits_beside(OpId(0), Share::Free, OpId(0), NodeId(2));
    for node in [0, 0, 1, 1] {
        assert!(beside(&ledger));
        ledger.take_slots(NodeId(node), OpId(0), Bytes::ZERO);
    }
    assert!(!beside(&ledger), "one CPU is left, on that node");
    assert!(ledger.fits_beside(OpId(0), Share::Total, OpId(0), NodeId(2)));
    assert!(ledger.fits_beside(OpId(0), Share::Free, OpId(1), NodeId(2)));
    assert_eq!((ledger.fitting(OpId(0), Share::Free), ledger.copies(OpId(0))), (1, 5));
}

#[test]
fn what_is_given_back_to_a_lost_node_vanishes() {
    let mut ledger = ledger(1);
    ledger.join(NODE, Resources::default(), Bytes(10));
    ledger.lose(NODE);
    ledger.discharge(NODE, OpId(0), Bytes(5));
    assert!(ledger.account(NODE).is_none());
}

#[test]
fn room_is_what_neither_lies_there_nor_is_promised() {
    let mut ledger = ledger(1);
    ledger.join(NODE, Resources::default(), Bytes(10));
    ledger.reserve(NODE, OpId(0), Bytes(3));
    ledger.charge(NODE, OpId(0), Bytes(4));
    assert_eq!(ledger.account(NODE).map(Account::room), Some(Bytes(3)));
}
