//! What runs must have to get on, and where it has a place.
//!
//! Owns the placement of smallest pools and next tasks on nodes. Knows nothing of weights or of what
//! is held.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::arbiter::Seat;
use crate::resources::Resources;
use crate::units::NodeId;

/// Slots by node.
pub(super) type Slots = BTreeMap<NodeId, Resources>;

/// Where seats have a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placement {
    /// What they take.
    pub(super) taken: Slots,
    /// What is left beside them.
    pub(super) left: Slots,
    /// Whether all of them have one.
    pub(super) is_complete: bool,
}

/// Places seats in what is free: those that are taken where they are, then the hungriest first, each
/// at the first node that has it. So it does what a plan's submission does that is alone.
pub(super) fn place(seats: &[Seat], free: Slots) -> Placement {
    let mut placement = Placement { taken: Slots::new(), left: free, is_complete: true };
    let mut open: Vec<&Resources> = Vec::new();
    for seat in seats {
        let stays = seat.node.is_some_and(|node| placement.take(node, &seat.request));
        if !stays {
            open.push(&seat.request);
        }
    }
    open.sort_by_key(|request| Reverse((request.gpu, request.cpu)));
    for request in open {
        let found = first_fit(&placement.left, request);
        placement.is_complete &= found.is_some_and(|node| placement.take(node, request));
    }
    placement
}

impl Placement {
    /// Takes a request at a node. False: it does not fit there.
    fn take(&mut self, node: NodeId, request: &Resources) -> bool {
        let Some(left) = self.left.get_mut(&node).filter(|left| left.fits(request)) else {
            return false;
        };
        left.debit(request);
        self.taken.entry(node).or_default().credit(request);
        true
    }
}

/// The first node that has what is asked for.
pub(super) fn first_fit(free: &Slots, request: &Resources) -> Option<NodeId> {
    free.iter().find(|(_, free)| free.fits(request)).map(|(node, _)| *node)
}
