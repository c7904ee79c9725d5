//! The actors of one operator.
//!
//! Owns which actor takes how many tasks. How large the pool should be is
//! [`policy::scaling`](crate::policy::scaling)'s to say.

use alloc::collections::{BTreeMap, BTreeSet};

use crate::attribution::Stretch;
use crate::plan::PoolSpec;
use crate::units::{ActorId, Bytes, NodeId, TaskId, Time};

/// One actor.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) node: NodeId,
    pub(crate) is_ready: bool,
    /// Heap that it was given when it was started.
    pub(crate) heap_given: Bytes,
    /// Heap that is held for it.
    pub(crate) heap: Bytes,
    /// Whether it takes no more tasks, since its node is draining.
    pub(crate) is_retiring: bool,
    /// Its tasks that failed since one ended well.
    failures: u32,
    /// Its tasks, in the order in which it runs them, one at a time.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Those of its tasks that are paused. If the first one is, none runs.
    paused: BTreeSet<TaskId>,
    /// Since when the first task is that.
    stretch: Stretch,
}

impl Actor {
    /// Whether it has tasks.
    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    fn is_moving(&self) -> bool {
        self.tasks.first().is_some_and(|first| !self.paused.contains(first))
    }
}

/// The actors of one operator.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) spec: PoolSpec,
    actors: BTreeMap<ActorId, Actor>,
    /// Ready actors with room by their load and node.
    openings: BTreeSet<Opening>,
    /// Tasks that they could take.
    open_room: u64,
    starting: u32,
    moving: u32,
    occupied: u32,
    retiring: u32,
    /// Actors in a row that died before they were ready.
    pub(crate) deaths_loading: u32,
    /// The most heap with which one was killed while it was loading.
    pub(crate) heap_killed: Option<Bytes>,
    /// Actors from this one on were started after the last such kill.
    pub(crate) started_since_kill: ActorId,
    /// Actors in a row that were given up since a task of the pool ended well.
    pub(crate) given_up: u32,
}

impl Pool {
    pub(crate) fn new(spec: PoolSpec) -> Self {
        Self {
            spec,
            actors: BTreeMap::new(),
            openings: BTreeSet::new(),
            open_room: 0,
            starting: 0,
            moving: 0,
            occupied: 0,
            retiring: 0,
            deaths_loading: 0,
            heap_killed: None,
            started_since_kill: ActorId(0),
            given_up: 0,
        }
    }

    /// All actors, retiring ones too.
    pub(crate) fn alive(&self) -> u32 {
        u32::try_from(self.actors.len()).expect("because a pool's size is bounded by a u32")
    }

    /// Actors that take tasks or will.
    pub(crate) fn size(&self) -> u32 {
        self.alive() - self.retiring
    }

    pub(crate) fn starting(&self) -> u32 {
        self.starting
    }

    /// Actors whose first task runs and is not paused.
    pub(crate) fn moving(&self) -> u32 {
        self.moving
    }

    /// Actors that have tasks.
    pub(crate) fn occupied(&self) -> u32 {
        self.occupied
    }

    pub(crate) fn ready(&self) -> u32 {
        self.size() - self.starting
    }

    pub(crate) fn actors(&self) -> impl Iterator<Item = (ActorId, &Actor)> {
        self.actors.iter().map(|(id, actor)| (*id, actor))
    }

    /// The ready actors that have no tasks.
    pub(crate) fn idle(&self) -> impl Iterator<Item = (ActorId, &Actor)> {
        self.actors().filter(|(_, actor)| actor.is_ready && !actor.is_busy())
    }

    /// Where its ready actors are, and what heap is held for each.
    pub(crate) fn ready_heaps_mut(&mut self) -> impl Iterator<Item = (NodeId, &mut Bytes)> {
        let ready = self.actors.values_mut().filter(|actor| actor.is_ready);
        ready.map(|actor| (actor.node, &mut actor.heap))
    }

    pub(crate) fn actor(&self, id: ActorId) -> Option<&Actor> {
        self.actors.get(&id)
    }

    pub(crate) fn start(&mut self, id: ActorId, node: NodeId, heap: Bytes) {
        self.actors.insert(
            id,
            Actor {
                node,
                is_ready: false,
                heap_given: heap,
                heap,
                is_retiring: false,
                failures: 0,
                tasks: BTreeSet::new(),
                paused: BTreeSet::new(),
                stretch: Stretch::default(),
            },
        );
        self.starting += 1;
    }

    /// Notes that an actor takes tasks. False: it is unknown or was ready before.
    pub(crate) fn make_ready(&mut self, id: ActorId) -> bool {
        let Some(actor) = self.actors.get_mut(&id).filter(|actor| !actor.is_ready) else {
            return false;
        };
        actor.is_ready = true;
        let is_open = opening(&self.spec, id, actor);
        self.replace_opening(None, is_open);
        self.starting -= 1;
        self.deaths_loading = 0;
        self.heap_killed = None;
        true
    }

    pub(crate) fn remove(&mut self, id: ActorId) -> Option<Actor> {
        let actor = self.actors.remove(&id)?;
        self.replace_opening(opening(&self.spec, id, &actor), None);
        self.starting -= u32::from(!actor.is_ready);
        self.moving -= u32::from(actor.is_moving());
        self.occupied -= u32::from(actor.is_busy());
        self.retiring -= u32::from(actor.is_retiring);
        Some(actor)
    }

    /// Takes a ready actor out of service; it finishes what it has.
    pub(crate) fn retire(&mut self, id: ActorId, now: Time) {
        self.change(id, now, |actor| actor.is_retiring = true);
        self.retiring += 1;
    }

    /// Counts a failure of an actor, and tells how many it had in a row; none if it is gone.
    pub(crate) fn count_failure(&mut self, id: ActorId) -> Option<u32> {
        let actor = self.actors.get_mut(&id)?;
        actor.failures += 1;
        Some(actor.failures)
    }

    /// A task of an actor ended well.
    pub(crate) fn clear_failures(&mut self, id: ActorId) {
        self.given_up = 0;
        if let Some(actor) = self.actors.get_mut(&id) {
            actor.failures = 0;
        }
    }

    /// Ready actors whose last task did not fail.
    pub(crate) fn untried(&self) -> usize {
        self.actors.values().filter(|actor| actor.is_ready && actor.failures == 0).count()
    }

    pub(crate) fn assign(&mut self, id: ActorId, task: TaskId, now: Time) {
        self.change(id, now, |actor| {
            actor.tasks.insert(task);
        });
    }

    /// Takes a task away, and tells how long it held the actor.
    pub(crate) fn unassign(&mut self, id: ActorId, task: TaskId, now: Time) -> Stretch {
        let actor = self.actors.get(&id).filter(|actor| actor.tasks.first() == Some(&task));
        let stretch = actor.map_or_else(|| Stretch::start(now), |actor| actor.stretch);
        self.change(id, now, |actor| {
            actor.tasks.remove(&task);
            actor.paused.remove(&task);
        });
        stretch
    }

    /// Notes that a task of an actor is paused or goes on.
    pub(crate) fn set_paused(&mut self, id: ActorId, task: TaskId, now: Time, is_paused: bool) {
        self.change(id, now, |actor| {
            if is_paused {
                actor.paused.insert(task);
            } else {
                actor.paused.remove(&task);
            }
        });
    }

    fn change(&mut self, id: ActorId, now: Time, change: impl FnOnce(&mut Actor)) {
        let Some(actor) = self.actors.get_mut(&id) else {
            return;
        };
        let was_open = opening(&self.spec, id, actor);
        self.moving -= u32::from(actor.is_moving());
        self.occupied -= u32::from(actor.is_busy());
        let first = actor.tasks.first().copied();
        change(actor);
        if actor.tasks.first() != first.as_ref() {
            actor.stretch = Stretch::start(now);
        }
        actor.stretch.set_paused(now, actor.is_busy() && !actor.is_moving());
        self.moving += u32::from(actor.is_moving());
        self.occupied += u32::from(actor.is_busy());
        let is_open = opening(&self.spec, id, actor);
        if was_open != is_open {
            self.replace_opening(was_open, is_open);
        }
    }

    fn replace_opening(&mut self, old: Option<Opening>, new: Option<Opening>) {
        let room = |(load, ..): Opening| u64::from(self.spec.tasks_in_flight_max - load);
        self.open_room += new.map_or(0, room);
        self.open_room -= old.map_or(0, room);
        old.map(|opening| self.openings.remove(&opening));
        new.map(|opening| self.openings.insert(opening));
    }

    /// The numbers of tasks that ready actors with room have, fewest first.
    pub(crate) fn loads(&self) -> impl Iterator<Item = u32> {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let (load, ..) = self.openings.range(first_of(next?)..).next()?;
            next = load.checked_add(1);
            Some(*load)
        })
    }

    /// An actor at `node` that has `load` tasks and takes another.
    pub(crate) fn opening_at(&self, load: u32, node: NodeId) -> Option<ActorId> {
        let all = (load, node, ActorId(0))..=(load, node, ActorId(u64::MAX));
        self.openings.range(all).next().map(|(.., actor)| *actor)
    }

    /// One actor of each node that has `load` tasks and takes another.
    pub(crate) fn openings_by_node(&self, load: u32) -> impl Iterator<Item = (NodeId, ActorId)> {
        let mut next = Some(NodeId(0));
        core::iter::from_fn(move || {
            let first = (load, next?, ActorId(0));
            let (_, node, actor) = *self.openings.range(first..first_of(load + 1)).next()?;
            next = node.0.checked_add(1).map(NodeId);
            Some((node, actor))
        })
    }

    /// Tasks that ready actors could take, and that starting ones will.
    pub(crate) fn room(&self) -> u64 {
        self.open_room + u64::from(self.starting) * u64::from(self.spec.tasks_in_flight_max)
    }

    /// Asserts that what is kept is what a recount gives.
    pub(crate) fn assert_recounted(&self) {
        let count = |is: fn(&Actor) -> bool| {
            let actors = self.actors.values().filter(|actor| is(actor)).count();
            u32::try_from(actors).expect("because a pool's size is bounded by a u32")
        };
        let openings = self.actors.iter().filter_map(|(id, a)| opening(&self.spec, *id, a));
        let openings: BTreeSet<Opening> = openings.collect();
        let room = |(load, ..): &Opening| u64::from(self.spec.tasks_in_flight_max - load);
        assert_eq!(self.open_room, openings.iter().map(room).sum(), "the openings' room");
        assert_eq!(self.openings, openings, "the pool's openings");
        assert_eq!(
            (self.starting, self.moving, self.retiring),
            (count(|a| !a.is_ready), count(Actor::is_moving), count(|a| a.is_retiring)),
            "the pool's actors that start, move and retire"
        );
    }
}

/// A ready actor that takes another task: its load, its node, and itself.
type Opening = (u32, NodeId, ActorId);

fn first_of(load: u32) -> Opening {
    (load, NodeId(0), ActorId(0))
}

fn opening(spec: &PoolSpec, id: ActorId, actor: &Actor) -> Option<Opening> {
    let is_open = actor.is_ready && !actor.is_retiring && load(actor) < spec.tasks_in_flight_max;
    is_open.then(|| (load(actor), actor.node, id))
}

fn load(actor: &Actor) -> u32 {
    u32::try_from(actor.tasks.len()).expect("because tasks in flight are bounded by a u32")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const NOW: Time = Time(0);

    fn pool() -> Pool {
        Pool::new(PoolSpec { actors_min: 1, actors_max: 2, tasks_in_flight_max: 2 })
    }

    #[test]
    fn the_least_loaded_actor_is_offered_first() {
        let mut pool = pool();
        for id in [ActorId(0), ActorId(1)] {
            pool.start(id, NodeId(0), Bytes::ZERO);
            assert!(pool.make_ready(id));
        }
        pool.assign(ActorId(0), TaskId(7), NOW);
        assert_eq!(pool.loads().collect::<Vec<u32>>(), [0, 1]);
        assert_eq!(pool.opening_at(0, NodeId(0)), Some(ActorId(1)));
        assert_eq!(pool.opening_at(1, NodeId(0)), Some(ActorId(0)));
        pool.assign(ActorId(0), TaskId(8), NOW);
        assert_eq!(pool.loads().count(), 1, "a full actor is not offered");
        assert_eq!(pool.room(), 2);
        pool.assert_recounted();
    }

    #[test]
    fn one_actor_of_each_node_is_offered() {
        let mut pool = pool();
        for (id, node) in [(0, 7), (1, 7), (2, 3), (3, u32::MAX)] {
            pool.start(ActorId(id), NodeId(node), Bytes::ZERO);
            pool.make_ready(ActorId(id));
        }
        let offered: Vec<_> = pool.openings_by_node(0).map(|(node, a)| (node.0, a.0)).collect();
        assert_eq!(offered, [(3, 2), (7, 0), (u32::MAX, 3)]);
        assert_eq!(pool.openings_by_node(1).count(), 0);
    }

    #[test]
    fn an_actor_is_ready_once() {
        let mut pool = pool();
        pool.start(ActorId(3), NodeId(0), Bytes::ZERO);
        assert_eq!((pool.starting(), pool.ready()), (1, 0));
        assert!(pool.make_ready(ActorId(3)));
        assert!(!pool.make_ready(ActorId(3)));
        assert_eq!((pool.starting(), pool.ready()), (0, 1));
    }

    #[test]
    fn tasks_behind_a_paused_one_do_not_move() {
        let mut pool = pool();
        pool.start(ActorId(0), NodeId(0), Bytes::ZERO);
        pool.make_ready(ActorId(0));
        pool.assign(ActorId(0), TaskId(1), NOW);
        pool.assign(ActorId(0), TaskId(2), NOW);
        assert_eq!(pool.moving(), 1);
        pool.set_paused(ActorId(0), TaskId(1), NOW, true);
        assert_eq!(pool.moving(), 0);
        pool.unassign(ActorId(0), TaskId(1), NOW);
        assert_eq!(pool.moving(), 1, "the next one runs");
        pool.remove(ActorId(0));
        assert_eq!(pool.moving(), 0);
    }

    #[test]
    fn a_removed_actor_is_never_offered() {
        let mut pool = pool();
        pool.start(ActorId(1), NodeId(0), Bytes::ZERO);
        pool.make_ready(ActorId(1));
        pool.assign(ActorId(1), TaskId(1), NOW);
        assert!(pool.remove(ActorId(1)).is_some());
        assert_eq!((pool.loads().count(), pool.size()), (0, 0));
        pool.assert_recounted();
    }
}
