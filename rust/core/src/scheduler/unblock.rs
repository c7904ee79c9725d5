//! What gives way when nothing else moves.
//!
//! What waits behind lost rows may hold all the room and all the slots. It is the work that fills
//! the gaps, nearest to the output first, that then passes its limits. Paused tasks and idle actors
//! give up their slots, for that work and for any other that has no place.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::operator::Task;
use crate::policy::placement::{self, Pass};
use crate::policy::{admission, seating};
use crate::protocol::{Action, Reason};
use crate::resources::Resources;
use crate::scheduler::Scheduler;
use crate::units::{ActorId, NodeId, OpId, TaskId};

impl Scheduler {
    /// Lets one piece of work of `op` that fills a gap go on. False if there is none that could.
    pub(super) fn force_remake(&mut self, op: OpId) -> bool {
        self.resume_filling(op)
            || self.clear_actor(op)
            || self.resume_before_losses(op)
            || self.launch_filling(op)
    }

    /// Resumes a paused task whose work comes before all that is lost: it does not wait for it.
    fn resume_before_losses(&mut self, op: OpId) -> bool {
        let operator = self.state.op(op);
        let oldest = operator.paused.first_key_value().map(|(number, _)| *number);
        let lost = operator.starved.first_key_value().map(|(number, _)| *number);
        let is_before = oldest.is_some_and(|oldest| lost.is_none_or(|lost| oldest < lost));
        is_before && self.resume_oldest(op)
    }

    /// Resumes a paused task of `op` that comes before all that waits for its next attempt.
    fn resume_oldest(&mut self, op: OpId) -> bool {
        let Some((id, credit)) = admission::forced_resumption(&self.state, op) else {
            return false;
        };
        self.state.overshoots += 1;
        self.resume(id, credit);
        true
    }

    /// Resumes a paused task that fills a gap, unless older rows wait for their attempt: what it puts
    /// out would only lie behind them.
    fn resume_filling(&mut self, op: OpId) -> bool {
        let operator = self.state.op(op);
        let mut paused = operator.paused.iter();
        let filling = paused.find(|(_, id)| self.state.tasks[*id].is_filling);
        let Some((number, task)) = filling.map(|(number, id)| (*number, *id)) else { return false };
        let mut waiting = operator.retries.iter();
        let older = waiting.find(|(_, task)| !task.gaps.is_empty()).filter(|(at, _)| **at < number);
        if older.is_some() && self.launch_filling(op) {
            return true;
        }
        let credit = admission::lacking_for_next(&self.state, task);
        self.state.overshoots += 1;
        self.resume(task, credit);
        true
    }

    fn launch_filling(&mut self, op: OpId) -> bool {
        if !self.state.op(op).awaits_remake() {
            return false;
        }
        match admission::launch(&self.state, op, Pass::Limits) {
            Ok(launch) => {
                self.launch(op, launch);
                true
            }
            Err(Reason::ActorStarting { actors: 0 } | Reason::ShareHeld { .. })
                if self.state.op(op).pool.is_some() =>
            {
                self.clear_place(op)
                    || (placement::has_place_beside_tasks(&self.state, op) && self.preempt_for(op))
            }
            Err(Reason::NoFreeSlot { .. } | Reason::ShareHeld { .. }) => {
                self.stop_idle_actor(op) || self.preempt_for(op) || self.resume_oldest(op)
            }
            Err(Reason::HeapReserved { .. }) => {
                self.stop_idle_actor(op) || self.preempt_for(op) || self.launch_past_heap(op)
            }
            Err(Reason::ActorsBusy { .. } | Reason::ConcurrencyReached { .. }) => {
                self.preempt_behind_retries(op)
            }
            Err(_) => false,
        }
    }

    /// Stops idle actors until one of `op` has a place. What they held may not be enough.
    fn clear_place(&mut self, op: OpId) -> bool {
        while self.stop_surplus_actor(op) || self.stop_actor_below(op) {
            if self.start_one(op) {
                return true;
            }
        }
        false
    }

    /// Stops an idle actor of an operator below, which has nothing to do until `op` has run. It took
    /// what the pool of `op` gave up when that was through.
    fn stop_actor_below(&mut self, op: OpId) -> bool {
        let idle =
            self.state.below(op).find_map(|other| Some((other, self.idle_rival(other, op)?)));
        idle.map(|(other, actor)| self.stop_actor(other, actor)).is_some()
    }

    /// An actor of `other` that has no work and holds what `op` needs.
    pub(super) fn idle_rival(&self, other: OpId, op: OpId) -> Option<ActorId> {
        let rival = self.state.op(other).pool.as_ref()?;
        let overlaps = self.state.ledger.request(other).overlaps(self.state.ledger.request(op));
        let mut idle = rival.idle();
        idle.next().filter(|_| overlaps).map(|(actor, _)| actor)
    }

    /// Stops idle actors of one node, which their pools may start again elsewhere, for an actor of `op` that
    /// has no place: smaller ones were started anew where only that would have fitted.
    pub(super) fn clear_crowded(&mut self, op: OpId) -> bool {
        let Some(idle) = self.idle_making_place(op, |_, _| true) else { return false };
        for (other, actor) in idle {
            self.stop_actor(other, actor);
        }
        self.start_one(op)
    }

    /// Launches a task of `op` where idle actors are that have a place elsewhere within the run's share. They
    /// were started there when the run's share was another.
    pub(super) fn launch_after_move(&mut self, op: OpId) -> bool {
        let state = &self.state;
        if !state.ledger.is_shared() || !admission::lacks_only_slots(state, op, Pass::Limits) {
            return false;
        }
        let may_go = |other, node| placement::has_place_but(state, other, node);
        let Some(idle) = self.idle_making_place(op, may_go) else { return false };
        for (other, actor) in idle {
            self.stop_actor(other, actor);
        }
        self.launch_past_heap(op)
    }

    /// As few idle actors as will do that may go, all of one node, without which a task or an actor of `op`
    /// has a place there.
    fn idle_making_place(
        &self,
        op: OpId,
        may_go: impl Fn(OpId, NodeId) -> bool,
    ) -> Option<Vec<(OpId, ActorId)>> {
        let ledger = &self.state.ledger;
        let wanted = ledger.request(op);
        let mut nodes: BTreeMap<NodeId, (Resources, Vec<(OpId, ActorId)>)> = BTreeMap::new();
        let rivals = self.state.op_ids().filter(|other| ledger.request(*other).overlaps(wanted));
        let pools = rivals.filter_map(|id| Some((id, self.state.op(id).pool.as_ref()?)));
        for (other, (id, actor)) in pools.flat_map(|(op, pool)| pool.idle().map(move |a| (op, a))) {
            let Some(account) = ledger.open_account(actor.node) else { continue };
            let node = nodes.entry(actor.node);
            let (free, idle) = node.or_insert_with(|| (account.free.clone(), Vec::new()));
            if !free.fits(wanted) && may_go(other, actor.node) {
                free.credit(&Resources { heap: actor.heap, ..ledger.request(other).clone() });
                idle.push((other, id));
            }
        }
        let may_start = placement::may_start(&self.state, op);
        let cleared = nodes.into_iter().filter_map(|(node, (free, idle))| {
            (free.fits(wanted) && !idle.is_empty() && may_start(node)).then_some(idle)
        });
        cleared.min_by_key(Vec::len)
    }

    /// Cancels the youngest paused task of an operator that holds slots which `op` needs; one of `op`
    /// itself only if it would not be the first to run again.
    pub(super) fn preempt_for(&mut self, op: OpId) -> bool {
        let mut victims: Vec<TaskId> = Vec::new();
        for rival in self.state.op_ids().filter(|rival| self.state.op(*rival).pool.is_none()) {
            let tasks = self.preemptible(rival);
            let tasks =
                tasks.filter(|(number, _)| rival != op || self.is_behind_retries(op, *number));
            victims.extend(tasks.map(|(_, id)| id));
        }
        self.preempt_one_of(op, &victims)
    }

    /// Cancels one of paused tasks, if without them `op` would have a place.
    pub(super) fn preempt_one_of(&mut self, op: OpId, victims: &[TaskId]) -> bool {
        let Some(victim) = self.first_making_place(op, victims) else { return false };
        self.cleared_for = Some(op);
        self.preempt(victim);
        true
    }

    /// The first of paused tasks that holds what `op` needs, at a node where it would have a place
    /// without those of them that are there.
    fn first_making_place(&self, op: OpId, victims: &[TaskId]) -> Option<TaskId> {
        let ledger = &self.state.ledger;
        let wanted = ledger.request(op);
        let mut free: BTreeMap<NodeId, Resources> = BTreeMap::new();
        let ending = victims.iter().map(|id| &*self.state.tasks[id]);
        for task in ending.filter(|task| self.frees_slots(task)) {
            let Some(account) = ledger.open_account(task.node) else { continue };
            let held = Resources { heap: task.heap, ..ledger.request(task.op).clone() };
            free.entry(task.node).or_insert_with(|| account.free.clone()).credit(&held);
        }
        let due = seating::due(&self.state, op);
        let makes_place = |id: &TaskId| {
            let task = &self.state.tasks[id];
            due.allows(task.node)
                && self.frees_slots(task)
                && ledger.request(task.op).overlaps(wanted)
                && free.get(&task.node).is_some_and(|free| free.fits(wanted))
        };
        victims.iter().copied().find(makes_place)
    }

    /// Whether the slots of a task are free when it has ended: an actor keeps them, unless it is to end.
    pub(super) fn frees_slots(&self, task: &Task) -> bool {
        let Some(actor) = task.actor else { return true };
        let pool = self.state.op(task.op).pool.as_ref();
        pool.and_then(|pool| pool.actor(actor)).is_none_or(|actor| actor.is_retiring)
    }

    /// Whether work `number` of `op` comes after some that waits for its next attempt. Else it would be the
    /// first to run again, and nothing would be gained by cancelling it.
    fn is_behind_retries(&self, op: OpId, number: u64) -> bool {
        self.state.op(op).retries.first_key_value().is_some_and(|(next, _)| *next < number)
    }

    /// Cancels the youngest paused task of `op`, unless it fills a gap or would be the first to run again.
    fn preempt_behind_retries(&mut self, op: OpId) -> bool {
        let youngest = self.preemptible(op).find(|(number, _)| self.is_behind_retries(op, *number));
        youngest.map(|(_, task)| self.preempt(task)).is_some()
    }

    /// Cancels the youngest paused task of `op`, unless it fills a gap.
    pub(super) fn preempt_youngest(&mut self, op: OpId) -> bool {
        let Some(task) = self.youngest_paused(op) else { return false };
        self.preempt(task);
        true
    }

    /// The youngest paused task of `op`, except those that fill a gap.
    fn youngest_paused(&self, op: OpId) -> Option<TaskId> {
        self.preemptible(op).next().map(|(_, id)| id)
    }

    /// The paused tasks of `op`, youngest first, except those that fill a gap.
    pub(super) fn preemptible(&self, op: OpId) -> impl Iterator<Item = (u64, TaskId)> {
        let paused = self.state.op(op).paused.iter().rev();
        paused.map(|(number, id)| (*number, *id)).filter(|(_, id)| !self.state.tasks[id].is_filling)
    }

    /// Cancels a paused task at whose actor one is queued that what follows waits for: one that fills
    /// a gap, or the attempt after a death, which may be of older work.
    pub(super) fn clear_actor(&mut self, op: OpId) -> bool {
        let Some(task) = self.first_before_needed(op) else { return false };
        self.preempt(task);
        true
    }

    fn first_before_needed(&self, op: OpId) -> Option<TaskId> {
        let pool = self.state.op(op).pool.as_ref()?;
        let rank = |id: &TaskId| {
            let task = &self.state.tasks[id];
            (!task.is_filling, task.number)
        };
        pool.actors().map(|(_, actor)| &actor.tasks).find_map(|tasks| {
            let first = tasks.first().filter(|id| self.state.tasks[id].is_paused())?;
            tasks.iter().any(|id| rank(id) < rank(first)).then_some(*first)
        })
    }

    /// Cancels a paused task. It goes on later from the row where it stopped.
    pub(super) fn preempt(&mut self, id: TaskId) {
        let task = self.state.tasks.get_mut(&id).expect("because only live tasks are preempted");
        task.is_cancelled = true;
        let op = task.op;
        self.state.op_mut(op).counters.tasks_preempted += 1;
        self.actions.push_back(Action::CancelTask { task: id });
    }
}
