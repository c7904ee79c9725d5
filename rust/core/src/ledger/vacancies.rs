//! The nodes that have something free, best first.
//!
//! Owns the order. It is kept as a tournament: a node that changes plays again until it loses as it
//! did before, which is soon for all but the best. Knows nothing of what is free.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;

use crate::units::{Bytes, NodeId};

/// How good a node is: the most copies first, then the most room, then the lowest number. All in one
/// number, since it is compared more often than anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat(u128);

impl Seat {
    /// That of a node that has nothing free.
    pub(super) const NONE: Self = Self(0);

    /// `copies` is below 2³² - 1.
    pub(super) fn new(copies: u64, room: Bytes, node: NodeId) -> Self {
        let copies = u128::from(copies) + 1;
        Self(copies << (ROOM_BITS + NODE_BITS)).with_room(room).with_node(node)
    }

    /// The same with another room.
    pub(super) fn with_room(self, room: Bytes) -> Self {
        let mask = u128::from(u64::MAX) << NODE_BITS;
        Self(self.0 & !mask | u128::from(room.0) << NODE_BITS)
    }

    fn with_node(self, node: NodeId) -> Self {
        Self(self.0 | u128::from(!node.0))
    }

    /// None if it has nothing free.
    #[expect(clippy::cast_possible_truncation, reason = "the node is in the lowest bits")]
    fn node(self) -> Option<NodeId> {
        (self != Self::NONE).then_some(NodeId(!(self.0 as u32)))
    }
}

/// The seats of the nodes of one class, each at its node's position.
#[derive(Clone, Debug)]
pub(super) struct Vacancies {
    /// A complete binary tree from place 1 on: the seats are its second half, and each place before
    /// has the better seat of the two places below it.
    tree: Vec<Seat>,
}

impl Vacancies {
    pub(super) fn new() -> Self {
        Self { tree: alloc::vec![Seat::NONE; 2] }
    }

    pub(super) fn set(&mut self, position: usize, seat: Seat) {
        if position >= self.tree.len() / 2 {
            self.grow(position + 1);
        }
        let mut place = self.tree.len() / 2 + position;
        self.tree[place] = seat;
        while place > 1 {
            let best = self.tree[place].max(self.tree[place ^ 1]);
            place /= 2;
            if self.tree[place] == best {
                return;
            }
            self.tree[place] = best;
        }
    }

    fn grow(&mut self, positions: usize) {
        let seats = self.tree.split_off(self.tree.len() / 2);
        self.tree = alloc::vec![Seat::NONE; 2 * positions.next_power_of_two()];
        for (position, seat) in seats.into_iter().enumerate() {
            self.set(position, seat);
        }
    }

    pub(super) fn clear(&mut self) {
        self.tree.fill(Seat::NONE);
    }

    /// The nodes that have something free, best first.
    pub(super) fn iter(&self) -> impl Iterator<Item = NodeId> {
        BestFirst { tree: &self.tree, taken: None, others: BinaryHeap::new() }
    }
}

impl PartialEq for Vacancies {
    /// Positions do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

struct BestFirst<'a> {
    tree: &'a [Seat],
    /// The place below which the best seat was taken last.
    taken: Option<usize>,
    /// Places above seats none of which was taken.
    others: BinaryHeap<(Seat, usize)>,
}

impl Iterator for BestFirst<'_> {
    type Item = NodeId;

    fn next(&mut self) -> Option<NodeId> {
        let place = match self.taken {
            Some(taken) => {
                self.put_aside(taken);
                self.others.pop()?.1
            }
            None => 1,
        };
        self.taken = Some(place);
        self.tree[place].node()
    }
}

impl BestFirst<'_> {
    /// Keeps all that is below a place except its best seat.
    fn put_aside(&mut self, mut place: usize) {
        while 2 * place < self.tree.len() {
            let (left, right) = (2 * place, 2 * place + 1);
            let (better, worse) =
                if self.tree[left] == self.tree[place] { (left, right) } else { (right, left) };
            if self.tree[worse] != Seat::NONE {
                self.others.push((self.tree[worse], worse));
            }
            place = better;
        }
    }
}

const ROOM_BITS: u32 = u64::BITS;
const NODE_BITS: u32 = u32::BITS;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use core::cmp::Reverse;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn nodes_come_best_first(
            changes in proptest::collection::vec((0u32..40, any::<bool>(), 0u64..3, 0u64..5), 0..200),
        ) {
            let (mut vacancies, mut known) = (Vacancies::new(), BTreeMap::new());
            for (node, is_free, copies, room) in changes {
                let seat = Seat::new(copies, Bytes(room), NodeId(node));
                vacancies.set(node as usize, if is_free { seat } else { Seat::NONE });
                if is_free {
                    known.insert(node, (Reverse(copies), Reverse(room), node));
                } else {
                    known.remove(&node);
                }
            }
            let mut expected: Vec<_> = known.into_values().collect();
            expected.sort_unstable();
            prop_assert!(vacancies.iter().eq(expected.into_iter().map(|(.., node)| NodeId(node))));
        }
    }

    #[test]
    fn room_of_any_size_stays_apart_from_the_rest() {
        for node in [0, 7, u32::MAX - 1] {
            let seat = Seat::new((1 << 32) - 2, Bytes(u64::MAX), NodeId(node));
            assert_eq!(seat.with_room(Bytes(3)), Seat::new((1 << 32) - 2, Bytes(3), NodeId(node)));
            assert_eq!(seat.node(), Some(NodeId(node)));
        }
    }
}
