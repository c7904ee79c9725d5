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
pub(crate) type Slots = BTreeMap<NodeId, Resources>;

/// Where seats have a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The node of each of them; none: it has no place.
    pub(crate) nodes: Vec<Option<NodeId>>,
    /// What is left beside them.
    pub(super) left: Slots,
}

/// Places seats in what is free: those that are taken where they are, then the hungriest first, each
/// at the first node that has it. So it does what a plan's submission does that is alone. In what such seats
/// take together at each node each of them finds the same place again.
pub(crate) fn place<'a>(seats: impl Iterator<Item = &'a Seat>, free: Slots) -> Placement {
    let mut left = free;
    let mut open: Vec<(usize, &Resources)> = Vec::new();
    let mut nodes = Vec::new();
    for (at, seat) in seats.enumerate() {
        let stays = |node: &NodeId| debit(&mut left, *node, &seat.request);
        nodes.push(seat.node.filter(stays));
        if nodes[at].is_none() {
            open.push((at, &seat.request));
        }
    }
    open.sort_by_key(|(_, request)| Reverse((request.gpu, request.cpu)));
    for (at, request) in open {
        let found = first_fit(&left, request, |_| true);
        nodes[at] = found.filter(|node| debit(&mut left, *node, request));
    }
    Placement { nodes, left }
}

/// What seats take at each node.
pub(super) fn taken<'a>(seats: impl Iterator<Item = (&'a Seat, Option<NodeId>)>) -> Slots {
    let mut taken = Slots::new();
    for (seat, node) in seats {
        if let Some(node) = node {
            taken.entry(node).or_default().credit(&seat.request);
        }
    }
    taken
}

impl Placement {
    /// Whether all of them have a place.
    pub(crate) fn is_complete(&self) -> bool {
        self.nodes.iter().all(Option::is_some)
    }
}

/// Whether each of some tasks has a place in what is left, one at a time.
pub(super) fn has_place_for_each<'a>(
    left: &Slots,
    mut tasks: impl Iterator<Item = &'a Resources>,
) -> bool {
    tasks.all(|task| first_fit(left, task, |_| true).is_some())
}

/// Takes a request at a node. False: it does not fit there.
fn debit(left: &mut Slots, node: NodeId, request: &Resources) -> bool {
    let Some(left) = left.get_mut(&node).filter(|left| left.fits(request)) else {
        return false;
    };
    left.debit(request);
    true
}

/// Room for the next tasks of runs, beside all seats.
pub(super) struct Room {
    /// What nobody holds now, and what nobody came for that has to wait for it.
    free: Slots,
    /// What will be free once all tasks of now have ended.
    to_be_free: Slots,
}

impl Room {
    /// Room beside the seats of runs and what they hold.
    pub(super) fn new<'a>(has: Slots, runs: impl Iterator<Item = (&'a Slots, Slots)>) -> Self {
        let mut room = Self { free: has.clone(), to_be_free: has };
        for (seats, held) in runs {
            for (node, seats) in seats {
                take_at(&mut room.free, *node, seats);
                take_at(&mut room.to_be_free, *node, seats);
            }
            for node in held.keys() {
                take_at(&mut room.free, *node, &beyond_seats(&held, seats, *node));
            }
        }
        room
    }

    /// A place for the next task of a run: where it fits now, beside what the run holds there. Otherwise
    /// where it will fit as tasks end; what is free there waits for it. Only at `nodes`, if there are
    /// any.
    pub(super) fn take(
        &mut self,
        task: &Resources,
        nodes: &[NodeId],
        seats: &Slots,
        held: &Slots,
    ) -> Option<Place> {
        let is_wanted = |node| nodes.is_empty() || nodes.contains(&node);
        let beyond = |node| {
            let mut beyond = beyond_seats(held, seats, node);
            beyond.credit(task);
            beyond
        };
        let stays = |node| self.to_be_free.get(&node).is_some_and(|free| free.fits(&beyond(node)));
        let now = first_fit(&self.free, task, |node| is_wanted(node) && stays(node));
        let place = if let Some(node) = now {
            Place { node, due: beyond(node), near: beyond(node) }
        } else {
            let node = first_fit(&self.to_be_free, task, is_wanted)?;
            let near = self.free.get(&node).map(|free| task.beyond(&task.beyond(free)));
            Place { node, due: task.clone(), near: near.unwrap_or_default() }
        };
        take_at(&mut self.free, place.node, task);
        take_at(&mut self.to_be_free, place.node, &place.due);
        Some(place)
    }
}

/// A place for a task beside the seats of its run.
pub(super) struct Place {
    pub(super) node: NodeId,
    /// What is the run's own there, beyond its seats.
    due: Resources,
    /// How much of it no task has to end for.
    near: Resources,
}

/// What a run gets whatever others want.
#[derive(Default)]
pub(super) struct Floor {
    due: Slots,
    near: Slots,
}

impl Floor {
    /// Its seats alone.
    pub(super) fn of(seats: &Slots) -> Self {
        Self { due: seats.clone(), near: seats.clone() }
    }

    /// Adds a place for its next task.
    pub(super) fn add(&mut self, place: &Place) {
        self.due.entry(place.node).or_default().credit(&place.due);
        self.near.entry(place.node).or_default().credit(&place.near);
    }

    /// What it is at a node, and how much of that no task has to end for.
    pub(super) fn at(&self, node: NodeId) -> (Resources, Resources) {
        let of = |slots: &Slots| slots.get(&node).cloned().unwrap_or_default();
        (of(&self.due), of(&self.near))
    }
}

/// What a run holds at a node beyond its seats there.
fn beyond_seats(held: &Slots, seats: &Slots, node: NodeId) -> Resources {
    let of = |slots: &Slots| slots.get(&node).cloned().unwrap_or_default();
    of(held).beyond(&of(seats))
}

/// Takes an amount away at a node, or as much of it as there is.
pub(super) fn take_at(free: &mut Slots, node: NodeId, amount: &Resources) {
    if let Some(free) = free.get_mut(&node) {
        *free = free.beyond(amount);
    }
}

/// The first of the nodes in question that has what is asked for.
fn first_fit(free: &Slots, request: &Resources, may_be: impl Fn(NodeId) -> bool) -> Option<NodeId> {
    free.iter().find(|(node, free)| free.fits(request) && may_be(**node)).map(|(node, _)| *node)
}
