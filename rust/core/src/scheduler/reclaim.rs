//! Slots that a pool has beyond its part, given back to those that lack them.

use alloc::vec::Vec;

use crate::policy::scaling;
use crate::pool::Actor;
use crate::scheduler::Scheduler;
use crate::units::{ActorId, OpId};

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

    fn overlap(&self, op: OpId, other: OpId) -> bool {
        self.state.spec(other).resources.shares_slots(&self.state.spec(op).resources)
    }
}
