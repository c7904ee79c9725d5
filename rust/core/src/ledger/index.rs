//! Which nodes can take what, kept up to date entry by entry, so that nobody looks at all nodes.
//!
//! Owns nothing that cannot be counted again from the accounts; [`Ledger::assert_balanced`] does.
//!
//! [`Ledger::assert_balanced`]: super::Ledger::assert_balanced

use alloc::vec::Vec;

use super::Account;
use super::vacancies::{Seat, Vacancies};
use crate::resources::Resources;
use crate::units::{Bytes, NodeId, Slots};

/// One kind of request, for tasks or for actors. Operators that ask for the same share it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shape {
    pub(super) request: Resources,
    pub(super) for_actors: bool,
    /// How many of it the nodes hold together if they hold nothing else.
    pub(super) copies: u64,
    /// How many open nodes have it, by what is looked at.
    pub(super) fitting: Fitting<u32>,
    /// Open nodes that have it free, by class: for actors those with the most copies first.
    pub(super) vacant: Vec<Vacancies>,
}

/// The same question for all that a node has, for what actors leave, and for what is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fitting<T> {
    pub(super) total: T,
    pub(super) beside_actors: T,
    pub(super) free: T,
    /// For what is free, whatever heap is held.
    pub(super) free_slots: T,
}

/// What the index says of one node for one shape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    fits: Fitting<bool>,
    seat: Seat,
}

/// What the index says of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    class: usize,
    /// The node's place among the nodes of its class.
    position: usize,
    by_shape: Vec<Entry>,
    open_room: Bytes,
    used: Bytes,
    shelved: Bytes,
    task_cpus: Slots,
}

/// Nodes that hold the same operators.
#[derive(Clone, Debug)]
struct Class {
    /// The shapes that fit into all that a node has.
    fits: Vec<bool>,
    /// How many positions were ever taken, and those that were given back.
    positions: usize,
    positions_free: Vec<usize>,
}

/// The index over all nodes.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) shapes: Vec<Shape>,
    classes: Vec<Class>,
    /// Room on open nodes.
    pub(super) open_room: Bytes,
    /// Bytes of blocks on all nodes.
    pub(super) used: Bytes,
    /// Those of them that wait behind a barrier, or were set aside there.
    pub(super) shelved: Bytes,
    /// CPUs of open nodes that no actor holds.
    pub(super) task_cpus: Slots,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            shapes: Vec::new(),
            classes: Vec::new(),
            open_room: Bytes::ZERO,
            used: Bytes::ZERO,
            shelved: Bytes::ZERO,
            task_cpus: Slots::ZERO,
        }
    }

    /// The position of the shape of a request, which is added if it is new. Only before nodes join.
    pub(super) fn add_shape(&mut self, request: &Resources, for_actors: bool) -> usize {
        let is_same = |shape: &Shape| shape.request == *request && shape.for_actors == for_actors;
        self.shapes.iter().position(is_same).unwrap_or_else(|| {
            self.shapes.push(Shape {
                request: request.clone(),
                for_actors,
                copies: 0,
                fitting: Fitting::default(),
                vacant: Vec::new(),
            });
            self.shapes.len() - 1
        })
    }

    /// Takes in a node that joins.
    pub(super) fn add(&mut self, node: NodeId, account: &Account) -> Entries {
        for shape in &mut self.shapes {
            shape.copies += copies_at_most(account, &shape.request);
        }
        let class = self.class(account);
        let by_shape = alloc::vec![Entry::default(); self.shapes.len()];
        let position = self.classes[class].take_position();
        let mut entries = Entries { class, position, by_shape, ..Entries::default() };
        self.update(node, account, &mut entries);
        entries
    }

    /// Leaves out a node that is lost.
    pub(super) fn remove(&mut self, account: &Account, mut entries: Entries) {
        for shape in &mut self.shapes {
            shape.copies -= copies_at_most(account, &shape.request);
        }
        self.used -= entries.used;
        self.shelved -= entries.shelved;
        self.close(&mut entries);
        self.classes[entries.class].positions_free.push(entries.position);
    }

    /// Notes that slots at a node were taken or given back, or that it is draining.
    pub(super) fn update(&mut self, node: NodeId, account: &Account, entries: &mut Entries) {
        self.update_bytes(account, entries);
        if account.draining {
            return self.close(entries);
        }
        self.task_cpus = self.task_cpus + account.beside_actors.cpu - entries.task_cpus;
        entries.task_cpus = account.beside_actors.cpu;
        let at = (entries.class, entries.position);
        for (shape, entry) in self.shapes.iter_mut().zip(&mut entries.by_shape) {
            let fits = Fitting {
                total: account.total.fits(&shape.request),
                beside_actors: account.beside_actors.fits(&shape.request),
                free: account.free.fits(&shape.request),
                free_slots: account.free.fits_without_heap(&shape.request),
            };
            let seat = if fits.free { shape.seat(account, node) } else { Seat::NONE };
            shape.replace(at, entry, Entry { fits, seat });
        }
    }

    /// Notes that bytes at a node were promised, used or given back.
    pub(super) fn update_bytes(&mut self, account: &Account, entries: &mut Entries) {
        self.used = self.used + account.used - entries.used;
        entries.used = account.used;
        let shelved = account.at_barrier + account.aside;
        self.shelved = self.shelved + shelved - entries.shelved;
        entries.shelved = shelved;
        let room = account.room();
        if account.draining || room == entries.open_room {
            return;
        }
        self.open_room = self.open_room + room - entries.open_room;
        entries.open_room = room;
        for (shape, entry) in self.shapes.iter_mut().zip(&mut entries.by_shape) {
            if entry.seat != Seat::NONE {
                entry.seat = entry.seat.with_room(room);
                shape.vacant[entries.class].set(entries.position, entry.seat);
            }
        }
    }

    /// Asserts that counting again from the accounts gives the same.
    pub(super) fn assert_recounted<'a>(&self, nodes: impl Iterator<Item = (NodeId, &'a Account)>) {
        let mut again = self.clone();
        (again.open_room, again.used, again.shelved) = (Bytes::ZERO, Bytes::ZERO, Bytes::ZERO);
        again.task_cpus = Slots::ZERO;
        for shape in &mut again.shapes {
            (shape.copies, shape.fitting) = (0, Fitting::default());
            shape.vacant.iter_mut().for_each(Vacancies::clear);
        }
        for (node, account) in nodes {
            again.add(node, account);
        }
        let counted = |index: &Self| (index.open_room, index.used, index.shelved, index.task_cpus);
        assert_eq!(counted(self), counted(&again), "the index must agree with the accounts");
        assert_eq!(self.shapes, again.shapes, "the index must agree with the accounts");
    }

    fn close(&mut self, entries: &mut Entries) {
        self.open_room -= entries.open_room;
        entries.open_room = Bytes::ZERO;
        self.task_cpus -= entries.task_cpus;
        entries.task_cpus = Slots::ZERO;
        for (shape, entry) in self.shapes.iter_mut().zip(&mut entries.by_shape) {
            shape.replace((entries.class, entries.position), entry, Entry::default());
        }
    }

    fn class(&mut self, account: &Account) -> usize {
        let fits: Vec<bool> =
            self.shapes.iter().map(|shape| account.total.fits(&shape.request)).collect();
        let known = self.classes.iter().position(|class| class.fits == fits);
        known.unwrap_or_else(|| {
            self.classes.push(Class { fits, positions: 0, positions_free: Vec::new() });
            for shape in &mut self.shapes {
                shape.vacant.push(Vacancies::new());
            }
            self.classes.len() - 1
        })
    }
}

impl Class {
    fn take_position(&mut self) -> usize {
        self.positions_free.pop().unwrap_or_else(|| {
            self.positions += 1;
            self.positions - 1
        })
    }
}

impl Shape {
    fn seat(&self, account: &Account, node: NodeId) -> Seat {
        let copies =
            if self.for_actors { account.free.copies(&self.request, COPIES_MAX) } else { 0 };
        Seat::new(copies, account.room(), node)
    }

    fn replace(&mut self, (class, position): (usize, usize), old: &mut Entry, new: Entry) {
        if *old == new {
            return;
        }
        self.fitting.total = recount(self.fitting.total, old.fits.total, new.fits.total);
        self.fitting.beside_actors =
            recount(self.fitting.beside_actors, old.fits.beside_actors, new.fits.beside_actors);
        self.fitting.free = recount(self.fitting.free, old.fits.free, new.fits.free);
        self.fitting.free_slots =
            recount(self.fitting.free_slots, old.fits.free_slots, new.fits.free_slots);
        if old.seat != new.seat {
            self.vacant[class].set(position, new.seat);
        }
        *old = new;
    }
}

const fn recount(count: u32, was: bool, is: bool) -> u32 {
    count + is as u32 - was as u32
}

fn copies_at_most(account: &Account, request: &Resources) -> u64 {
    account.total.copies(request, COPIES_MAX)
}

/// Tasks that one node runs at a time, at most: what asks for nothing would fit infinitely often.
const COPIES_MAX: u64 = 1 << 16;
