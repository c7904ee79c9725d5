//! Slots given back: those that a pool has beyond its part, to operators that lack them; and those that the
//! run has beyond its share, to other runs.

use alloc::vec::Vec;

use crate::policy::{placement, scaling};
use crate::pool::{Actor, Pool};
use crate::resources::Resources;
use crate::scheduler::Scheduler;
use crate::units::{ActorId, NodeId, OpId, TaskId};

impl Scheduler {
    /// Makes pools that are ahead of `op` give up actors whose slots it lacks: idle ones at once, else
    /// those with the least work when they have done it. One that loads is left alone.
    pub(super) fn reclaim_slots(&mut self, op: OpId) {
        let is_rival = |other: &OpId| {
            *other != op && self.state.op(*other).pool.is_some() && self.overlap(op, *other)
        };
        let rivals: Vec<OpId> = self.state.op_ids().filter(is_rival).collect();
        if rivals.is_empty() {
            return;
        }
        let coming = |this: &Self| this.retiring_among(&rivals);
        while !self.is_cut() && scaling::lacking(&self.state, op) > coming(self) {
            let is_ahead =
                |other: &&OpId| scaling::is_ahead(&self.state, **other, op, coming(self));
            let mut ahead = rivals.iter().filter(is_ahead);
            let given = ahead.find_map(|other| Some((*other, self.least_busy(*other, op)?)));
            let Some((other, actor)) = given else { return };
            self.give_up(other, actor);
        }
    }

    fn give_up(&mut self, op: OpId, actor: ActorId) {
        let now = self.state.now;
        let pool = self.state.op_mut(op).pool.as_mut().expect("because only pools have actors");
        if pool.actor(actor).is_some_and(Actor::is_busy) {
            pool.retire(actor, now);
        } else {
            self.stop_actor(op, actor);
        }
    }

    /// The ready actor of `op` with the fewest tasks whose slots would do for `taker`.
    fn least_busy(&self, op: OpId, taker: OpId) -> Option<ActorId> {
        let (pool, ledger) = (self.state.op(op).pool.as_ref()?, &self.state.ledger);
        let would_do = |actor: &Actor| {
            ledger.open_account(actor.node).is_some_and(|account| {
                let mut free = account.free.clone();
                free.credit(&self.state.spec(op).resources);
                free.fits(&self.state.spec(taker).resources)
            })
        };
        let ready = pool.actors().filter(|(_, actor)| actor.is_ready && !actor.is_retiring);
        let least = ready.filter(|(_, actor)| would_do(actor));
        least.min_by_key(|(id, actor)| (actor.tasks.len(), *id)).map(|(id, _)| id)
    }

    /// Actors of `ops` that end when they have done what they have.
    fn retiring_among(&self, ops: &[OpId]) -> u64 {
        let pools = ops.iter().filter_map(|op| self.state.op(*op).pool.as_ref());
        pools.map(|pool| u64::from(pool.alive() - pool.size())).sum()
    }

    /// Gives back what the run holds beyond its share and does not use: idle actors beyond the smallest
    /// sizes of their pools, or all where its share is nothing. If nothing goes on in the run, since it
    /// waits for its consumer or for a larger share, what waits goes too: paused tasks, which go on later
    /// from the row where they stopped, and actors that have a place elsewhere. What runs is left to end.
    pub(super) fn give_back_slots(&mut self) {
        if self.state.is_stopping || self.state.has_failed {
            return;
        }
        let nodes: Vec<NodeId> = self.state.ledger.beyond_share().collect();
        for node in nodes {
            while !self.is_cut() && self.give_back_at(node) {}
        }
    }

    /// Gives back one thing at a node; false if there is nothing, or enough is on its way.
    fn give_back_at(&mut self, node: NodeId) -> bool {
        let Some(account) = self.state.ledger.account(node) else { return false };
        let mut excess = account.excess();
        for task in self.state.tasks.values().filter(|task| task.node == node) {
            if task.is_cancelled && self.frees_slots(task) {
                excess = excess.beyond(&self.state.spec(task.op).resources);
            }
        }
        if excess.is_zero() {
            return false;
        }
        if let Some((op, actor)) = self.idle_actor_at(node, &excess, true) {
            self.stop_actor(op, actor);
            return true;
        }
        !self.state.is_running() && self.give_back_waiting(node, &excess)
    }

    /// Cancels a paused task that holds slots at a node, or ends an actor there whose tasks are paused or
    /// that has a place elsewhere.
    fn give_back_waiting(&mut self, node: NodeId, excess: &Resources) -> bool {
        let holds = |op: &OpId| self.state.spec(*op).resources.shares_slots(excess);
        let paused = self.state.op_ids().filter(holds).flat_map(|op| self.preemptible(op));
        let is_there = |id: &TaskId| {
            let task = &self.state.tasks[id];
            task.node == node && task.actor.is_none() && !task.is_cancelled
        };
        let there = paused.map(|(_, id)| id).find(is_there);
        if let Some(task) = there {
            self.preempt(task);
            return true;
        }
        if let Some((op, actor)) = self.stalled_actor_at(node, excess) {
            self.retire_stalled(op, actor);
            return true;
        }
        let Some((op, actor)) = self.idle_actor_at(node, excess, false) else { return false };
        let has_place = placement::has_place_but(&self.state, op, node);
        if has_place {
            self.stop_actor(op, actor);
        }
        has_place
    }

    /// An actor at a node that has no work and holds some of `excess`; only one beyond the smallest size of
    /// its pool, if so asked.
    fn idle_actor_at(
        &self,
        node: NodeId,
        excess: &Resources,
        is_surplus: bool,
    ) -> Option<(OpId, ActorId)> {
        let mut pools = self.pools_holding(excess);
        pools.find_map(|(op, pool)| {
            let mut idle = pool.idle().filter(|(_, actor)| actor.node == node);
            let may = !is_surplus || self.may_shrink(pool);
            idle.next().filter(|_| may).map(|(id, _)| (op, id))
        })
    }

    /// An actor at a node beyond the smallest size of its pool whose first task is paused.
    fn stalled_actor_at(&self, node: NodeId, excess: &Resources) -> Option<(OpId, ActorId)> {
        let mut pools = self.pools_holding(excess);
        pools.find_map(|(op, pool)| {
            let is_stalled = |actor: &Actor| {
                let first = actor.tasks.first().map(|id| &self.state.tasks[id]);
                let is_paused = first.is_some_and(|task| task.is_paused() && !task.is_filling);
                actor.node == node && actor.is_ready && !actor.is_retiring && is_paused
            };
            let mut stalled = pool.actors().filter(|(_, actor)| is_stalled(actor));
            let may = self.may_shrink(pool);
            stalled.next().filter(|_| may).map(|(id, _)| (op, id))
        })
    }

    /// Whether a pool may give an actor to other runs: one beyond its smallest size, or any if the run waits
    /// for its turn as a whole.
    fn may_shrink(&self, pool: &Pool) -> bool {
        pool.size() > pool.spec.actors_min || self.state.ledger.has_no_share()
    }

    fn pools_holding(&self, excess: &Resources) -> impl Iterator<Item = (OpId, &Pool)> {
        let pools =
            self.state.op_ids().filter_map(|op| Some((op, self.state.op(op).pool.as_ref()?)));
        pools.filter(move |(op, _)| self.state.spec(*op).resources.shares_slots(excess))
    }

    /// Ends an actor whose tasks go on elsewhere.
    fn retire_stalled(&mut self, op: OpId, actor: ActorId) {
        let now = self.state.now;
        let pool = self.state.op_mut(op).pool.as_mut().expect("because only pools have actors");
        let tasks: Vec<TaskId> =
            pool.actor(actor).into_iter().flat_map(|actor| &actor.tasks).copied().collect();
        pool.retire(actor, now);
        for task in tasks {
            if !self.state.tasks[&task].is_cancelled {
                self.preempt(task);
            }
        }
    }

    fn overlap(&self, op: OpId, other: OpId) -> bool {
        self.state.spec(other).resources.shares_slots(&self.state.spec(op).resources)
    }
}
