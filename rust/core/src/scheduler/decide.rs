//! A turn: all that can be decided now, by asking the policies.

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::attribution::Stretch;
use crate::estimate::whole;
use crate::lineage::Origin;
use crate::operator::Task;
use crate::operators::source;
use crate::policy::admission::{self, Candidate, Launch};
use crate::policy::granularity::Portion;
use crate::policy::placement::{self, Pass, Site};
use crate::policy::{lookahead, ranking, scaling};
use crate::pool::Pool;
use crate::protocol::{Action, Reason, Slice, Work};
use crate::queue::pop_blocks;
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::{ActorId, Bytes, Epoch, NodeId, OpId, Rows, TaskId};

impl Scheduler {
    /// Decides all that can be decided now.
    pub(super) fn turn(&mut self) {
        self.actions_before_cut = self.actions.len() + ORDERS_MAX;
        self.refusals.fill(Refusal::default());
        if self.state.is_stopping || self.state.has_failed {
            for op in self.state.op_ids() {
                self.attribution.hold(op, self.state.now, &Reason::Stopping);
            }
            return;
        }
        self.review_quarantines();
        self.give_back_slots();
        self.advance_operators();
        if self.state.has_failed {
            return;
        }
        self.emit_output();
        self.commit_epochs();
        loop {
            while self.pass() {}
            // A limit that has all its rows since now ended what was above it.
            self.commit_epochs();
            if self.is_cut() || self.state.is_moving() || self.state.is_done() {
                return;
            }
            if self.end_quarantines() {
                continue;
            }
            if !self.force_progress() {
                self.fail_if_homeless();
                return self.fail_if_crowded_out();
            }
        }
    }

    /// Whether the turn has given as many orders as one turn may.
    pub(super) fn is_cut(&self) -> bool {
        self.actions.len() >= self.actions_before_cut
    }

    /// Asks each operator once. True if anything was ordered: what one got may let another go on, so
    /// all are asked until none wants anything.
    fn pass(&mut self) -> bool {
        let ordered = self.actions.len();
        self.start_actors(scaling::is_short);
        self.launch_urgent_tasks();
        for op in ranking::order(&self.state) {
            self.resume_tasks(op);
            self.launch_tasks(op);
        }
        self.start_actors(scaling::wants_more);
        self.extend_sources();
        !self.is_cut() && self.actions.len() > ordered
    }

    /// Asks for more units of the sources that will be short of them.
    fn extend_sources(&mut self) {
        for op in self.state.op_ids() {
            let units = source::units_to_ask(&self.state, op);
            if units > 0 && !self.is_cut() {
                let now = self.state.now;
                let listing = &mut self.state.op_mut(op).listing;
                listing.ask(now, units);
                self.actions.push_back(Action::ExtendSource { op, first: listing.listed(), units });
            }
        }
    }

    pub(super) fn start_actors(&mut self, wants_actor: fn(&State, OpId) -> bool) -> bool {
        let first = self.state.actor_next;
        for op in self.state.op_ids() {
            while !self.is_cut() && wants_actor(&self.state, op) && self.start_one(op) {}
        }
        self.state.actor_next > first && !self.is_cut()
    }

    /// Starts an actor of `op` if there is a place for it; else asks for one.
    pub(super) fn start_one(&mut self, op: OpId) -> bool {
        let node = placement::actor_node(&self.state, op);
        match node {
            Some(node) => self.start_actor(op, node),
            None => self.reclaim_slots(op),
        }
        node.is_some()
    }

    fn start_actor(&mut self, op: OpId, node: NodeId) {
        let actor = ActorId(self.state.actor_next);
        self.state.actor_next += 1;
        let free = self.state.ledger.account(node).map_or(Bytes::ZERO, |account| account.free.heap);
        let wanted = self.state.ledger.request(op).heap;
        let heap = wanted.min(free);
        self.state.heap_overshoots += u64::from(heap < wanted);
        self.state.ledger.seat_actor(node, op, heap);
        self.state.actors.insert(actor, op);
        let operator = self.state.op_mut(op);
        operator.counters.actors_started += 1;
        operator.pool.as_mut().expect("because only pools want actors").start(actor, node, heap);
        self.actions.push_back(Action::StartActor { actor, op, node, heap });
    }

    pub(super) fn stop_actors(&mut self, op: OpId) {
        let Some(pool) = &self.state.op(op).pool else { return };
        for actor in pool.actors().map(|(id, _)| id).collect::<Vec<_>>() {
            self.stop_actor(op, actor);
        }
    }

    pub(super) fn stop_actor(&mut self, op: OpId, id: ActorId) {
        let pool = self.state.op_mut(op).pool.as_mut().expect("because only pools have actors");
        let actor = pool.remove(id).expect("because the caller found it there");
        self.state.actors.remove(&id);
        self.state.ledger.unseat_actor(actor.node, op, actor.heap);
        self.stops.push((id, actor.node));
        self.actions.push_back(Action::StopActor { actor: id });
    }

    /// Gives credit, oldest first: to tasks that wait with a finished block as long as there is
    /// room, then to those that work on their next one as long as there is plenty.
    fn resume_tasks(&mut self, op: OpId) {
        while !self.is_cut() && Some(self.actions.len()) != self.refusal(op).credit {
            match admission::resumption(&self.state, op) {
                Some((task, credit)) => self.resume(task, credit),
                None => self.refusal(op).credit = Some(self.actions.len()),
            }
        }
    }

    pub(super) fn resume(&mut self, task: TaskId, credit: Bytes) {
        self.state.grant(task, credit);
        self.actions.push_back(Action::ResumeTask { task, credit });
    }

    /// Feeds the scarcest resource before anything else.
    fn launch_urgent_tasks(&mut self) {
        for op in ranking::order(&self.state) {
            while self.may_launch(op) && lookahead::is_urgent(&self.state, op) {
                let Ok(launch) = admission::launch(&self.state, op, Pass::Nothing) else { break };
                self.launch(op, launch);
            }
        }
    }

    fn launch_tasks(&mut self, op: OpId) {
        while self.may_launch(op) {
            match self.next_launch(op) {
                Ok(launch) => self.launch(op, launch),
                Err(reason) => {
                    let review = lookahead::review_at(&self.state, op, &reason);
                    self.wakeup = [self.wakeup, review].into_iter().flatten().min();
                    self.attribution.hold(op, self.state.now, &reason);
                    self.refusal(op).launch = Some(self.actions.len());
                    if matches!(reason, Reason::NoFreeSlot { .. } | Reason::ShareHeld { .. }) {
                        self.reclaim_slots(op);
                    }
                }
            }
        }
    }

    fn may_launch(&mut self, op: OpId) -> bool {
        !self.is_cut() && Some(self.actions.len()) != self.refusal(op).launch
    }

    fn refusal(&mut self, op: OpId) -> &mut Refusal {
        &mut self.refusals[op.0 as usize]
    }

    pub(super) fn launch(&mut self, op: OpId, launch: Launch) {
        let mut task = match launch.candidate {
            Candidate::Retry(number) => self.take_retry(op, number),
            Candidate::New(portion) => self.new_work(op, portion),
        };
        let site = launch.site;
        self.cleared_for.take_if(|cleared| *cleared == op);
        self.state.overshoots += u64::from(site.overshoots);
        self.state.ledger.release(task.node, op, task.credit);
        self.state.ledger.reserve(site.node, op, site.credit + site.copies);
        let given_back = core::mem::replace(&mut task.credit, site.credit);
        task.node = site.node;
        task.actor = site.actor;
        task.copies = site.copies;
        task.heap_given = site.heap;
        task.heap = if site.actor.is_some() { Bytes::ZERO } else { site.heap };
        task.stretch = Stretch::start(self.state.now);
        task.is_filling = !task.gaps.is_empty();
        task.growth = lookahead::growth(&self.state, &task);
        let (rows_skipped, rows_wanted) = task.portion();
        let id = TaskId(self.state.task_next);
        self.state.task_next += 1;
        let operator = self.state.op_mut(op);
        operator.live.insert(task.number, site.node, id);
        operator.rows_coming += task.rows_coming;
        operator.growth += task.growth;
        operator.credit += task.credit;
        operator.credit -= given_back;
        self.occupy(op, id, &site);
        self.actions.push_back(Action::LaunchTask {
            task: id,
            op,
            attempt: task.attempt,
            node: site.node,
            actor: site.actor,
            work: task.work.clone(),
            rows_skipped,
            rows_wanted,
            credit: task.credit,
            heap: task.heap_given,
        });
        self.state.tasks.insert(id, task);
        self.state.note_credit(id);
        self.state.meaning(op).note_launch(self, op);
    }

    /// Books the actor that a task takes, or the slots.
    fn occupy(&mut self, op: OpId, id: TaskId, site: &Site) {
        let now = self.state.now;
        if let (Some(actor), Some(pool)) = (site.actor, self.state.op_mut(op).pool.as_mut()) {
            return pool.assign(actor, id, now);
        }
        let wanted = self.state.ledger.request(op).heap;
        self.state.heap_overshoots += u64::from(site.heap < wanted);
        self.state.ledger.take_slots(site.node, op, site.heap);
    }

    fn take_retry(&mut self, op: OpId, number: u64) -> Box<Task> {
        let operator = self.state.op_mut(op);
        operator.counters.tasks_retried += 1;
        operator.retries.remove(&number).expect("because the candidate was found there")
    }

    /// Takes a portion of the input and makes it a piece of work.
    fn new_work(&mut self, op: OpId, portion: Portion) -> Box<Task> {
        self.state.meaning(op).note_portion(self, op, portion);
        let (work, items, unit_bytes) = self.take_input(op, portion);
        let operator = self.state.op_mut(op);
        let number = operator.work_next;
        operator.work_next += 1;
        let load = operator.load(items, unit_bytes);
        operator.sizes.add(load);
        let rows_coming = whole(operator.estimates.rows_of(load).unwrap_or(0.0));
        self.begin_lineage(op, number, &work, items);
        Box::new(Task { unit_bytes, rows_coming, ..Task::new(op, number, work, items) })
    }

    /// Takes a portion of the input, and counts its items and, of units, their bytes.
    fn take_input(&mut self, op: OpId, portion: Portion) -> (Work, u64, Bytes) {
        let operator = self.state.op_mut(op);
        match portion {
            Portion::Units(count) => {
                let first = operator.listing.next();
                let bytes = operator.listing.take(count);
                (Work::Units { first, count }, count, bytes)
            }
            Portion::Blocks(count) => {
                let (blocks, rows) = pop_blocks(operator.queue_mut(), count);
                for block in &blocks {
                    self.hold(*block, true);
                }
                (Work::Blocks(blocks), rows.0, Bytes::ZERO)
            }
            Portion::Rows(count) => {
                (Work::Slices(self.take_slices(op, count)), count.0, Bytes::ZERO)
            }
        }
    }

    fn take_slices(&mut self, op: OpId, count: Rows) -> Vec<Vec<Slice>> {
        let operator = self.state.op_mut(op);
        operator.limit_left = operator.limit_left.saturating_sub(count);
        let taken: Vec<_> =
            operator.queues.iter_mut().map(|queue| queue.take_rows(count)).collect();
        for (slice, is_last) in taken.iter().flatten() {
            self.hold(slice.block, *is_last);
        }
        taken.iter().map(|input| input.iter().map(|(slice, _)| *slice).collect()).collect()
    }

    /// Notes what new work reads, so that its output can be made again.
    fn begin_lineage(&mut self, op: OpId, number: u64, work: &Work, items: u64) {
        let (origin, epoch) = match work {
            Work::Units { first, count } => {
                let origin = Origin::Units { first: *first, count: *count };
                (origin, self.state.epoch_of_unit(*first))
            }
            Work::Blocks(_) | Work::Slices(_) => {
                let slices = self.state.slices(work);
                let origin = Origin::of_blocks(slices.iter().map(|slice| self.state.range(slice)));
                let first = work.blocks().next();
                (origin, first.map_or(Epoch(0), |block| self.state.epoch_of(block)))
            }
        };
        self.state.lineage.begin(op, number, origin, items, epoch);
    }

    /// Nothing moves and nothing may: lets the work nearest to the output pass its limits. If it is
    /// slots that it lacks, the youngest paused task above it is cancelled, and goes on later from
    /// the row where it stopped. False if there is nothing to let pass.
    ///
    /// What follows lost rows waits for them, so of an operator that waits for some nothing else is let
    /// pass as long as anything else can be. Work whose output another input has to come before goes
    /// last. First comes the operator for which a paused task was cancelled.
    fn force_progress(&mut self) -> bool {
        if self.state.op_ids().any(|op| self.start_past_heap(op)) {
            return true;
        }
        if let Some(op) = self.cleared_for.take()
            && self.force_first(op)
        {
            return true;
        }
        let mut ops: Vec<OpId> = ranking::order(&self.state).collect();
        let waits = |op: &OpId| self.state.rivals(*op).any(|rival| !self.state.op(rival).is_done);
        ops.sort_by_key(waits);
        ops.iter().any(|op| self.force_first(*op))
            || ops.iter().any(|op| self.state.op(*op).has_losses() && self.force(*op))
    }

    /// Lets pass what comes first of `op`: where rows were lost, what makes them again.
    fn force_first(&mut self, op: OpId) -> bool {
        if self.state.op(op).has_losses() { self.force_remake(op) } else { self.force(op) }
    }

    fn force(&mut self, op: OpId) -> bool {
        if self.clear_actor(op) {
            return true;
        }
        if let Some((task, credit)) = admission::forced_resumption(&self.state, op) {
            self.state.overshoots += 1;
            self.resume(task, credit);
            return true;
        }
        match admission::launch(&self.state, op, Pass::Limits) {
            Ok(launch) => {
                self.launch(op, launch);
                true
            }
            Err(Reason::ActorStarting { actors: 0 } | Reason::ShareHeld { .. })
                if self.state.op(op).pool.is_some() =>
            {
                (self.stop_surplus_actor(op) && self.start_actors(scaling::is_short))
                    || self.clear_retiring(op)
                    || self.clear_for_first_actor(op)
            }
            Err(Reason::NoFreeSlot { .. } | Reason::ShareHeld { .. }) => {
                self.stop_idle_actor(op)
                    || self.preempt_other(op)
                    || self.preempt_youngest(op)
                    || self.launch_after_move(op)
            }
            Err(Reason::HeapReserved { .. }) => {
                self.stop_idle_actor(op)
                    || self.preempt_other(op)
                    || self.preempt_youngest(op)
                    || self.launch_past_heap(op)
            }
            Err(Reason::ActorsBusy { .. } | Reason::ConcurrencyReached { .. }) => {
                self.preempt_youngest(op)
            }
            Err(_) => false,
        }
    }

    /// Cancels the youngest paused task of a pool whose actors are all to end, so that one can, and
    /// another start elsewhere.
    fn clear_retiring(&mut self, op: OpId) -> bool {
        let pool = self.state.op(op).pool.as_ref();
        pool.is_some_and(|pool| pool.alive() > 0 && pool.size() == 0) && self.preempt_youngest(op)
    }

    /// Makes a place for the first actor of a pool: cancels the youngest paused task that holds it, or else
    /// stops idle actors.
    fn clear_for_first_actor(&mut self, op: OpId) -> bool {
        let has_none = self.state.op(op).pool.as_ref().is_some_and(|pool| pool.alive() == 0);
        let is_behind_tasks = has_none && placement::has_place_beside_tasks(&self.state, op);
        (is_behind_tasks && self.preempt_for(op)) || (has_none && self.clear_crowded(op))
    }

    /// Launches a task with what heap there is. What it is thought to need is a guess, which must not
    /// keep a run from going on.
    pub(super) fn launch_past_heap(&mut self, op: OpId) -> bool {
        let launch = admission::launch(&self.state, op, Pass::Heap);
        launch.map(|launch| self.launch(op, launch)).is_ok()
    }

    /// Starts an actor of a pool that lacks one, with what heap there is.
    fn start_past_heap(&mut self, op: OpId) -> bool {
        if !scaling::is_short(&self.state, op) {
            return false;
        }
        let node = placement::actor_node_past_heap(&self.state, op);
        node.map(|node| self.start_actor(op, node)).is_some()
    }

    /// Stops an idle actor where actors alone leave `op` no slot: they grew before a node drained or
    /// was lost.
    pub(super) fn stop_idle_actor(&mut self, op: OpId) -> bool {
        if self.state.ledger.fits_share_beside(op, None) {
            return false;
        }
        self.stop_surplus_actor(op)
    }

    /// Stops an actor beyond its pool's smallest size that has no work and holds what `op` needs.
    pub(super) fn stop_surplus_actor(&mut self, op: OpId) -> bool {
        let is_surplus = |pool: &Pool| pool.size() > pool.spec.actors_min;
        let has_surplus = |id: &OpId| self.state.op(*id).pool.as_ref().is_some_and(is_surplus);
        let mut rivals = self.state.op_ids().filter(has_surplus);
        let idle = rivals.find_map(|other| Some((other, self.idle_rival(other, op)?)));
        idle.map(|(other, actor)| self.stop_actor(other, actor)).is_some()
    }

    /// Cancels the youngest paused task above `op` or beside it that holds slots which it needs, unless
    /// it fills a gap. Where actors alone leave `op` no slot, that would gain nothing.
    fn preempt_other(&mut self, op: OpId) -> bool {
        if !self.state.ledger.fits_share_beside(op, None) {
            return false;
        }
        let below = self.state.plan.below(op);
        let others = self.state.op_ids().filter(|other| *other != op && !below.contains(other));
        let victims: Vec<TaskId> =
            others.flat_map(|other| self.preemptible(other).map(|(_, id)| id)).collect();
        self.preempt_one_of(op, &victims)
    }
}

/// After how many orders an operator was refused something. Only orders change the state during a turn,
/// so the answer is the same until the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusal {
    launch: Option<usize>,
    credit: Option<usize>,
}

/// Orders of one turn: more would keep the driver from its events. The rest follows in the next one,
/// which is due at once.
const ORDERS_MAX: usize = 512;
