//! The machine: events change the state, then actions are decided until nothing more can be done.

mod decide;
mod demand;
mod flow;
mod heap;
mod locality;
mod quarantine;
mod react;
mod reclaim;
mod remake;
mod unblock;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::arbiter::Demand;
use crate::attribution::Attribution;
use crate::operator::{Appetite, Operator};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::protocol::{Action, Event};
use crate::resources::Resources;
use crate::scheduler::decide::Refusal;
use crate::snapshot::{self, Snapshot};
use crate::state::{Place, Shelf, State, SubmitError};
use crate::units::{ActorId, Bytes, NodeId, OpId, Time};

/// A run of one plan on one cluster.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub(crate) state: State,
    attribution: Attribution,
    actions: VecDeque<Action>,
    /// Whether something changed since the last turn.
    is_due: bool,
    /// How many actions may wait before the turn is cut.
    actions_before_cut: usize,
    wakeup: Option<Time>,
    /// Actors that the events since the last turn ended, and their nodes: should those be lost too, the
    /// order is withdrawn.
    stops: Vec<(ActorId, NodeId)>,
    /// What each operator was refused in this turn.
    refusals: Vec<Refusal>,
    /// The operator for which a paused task was cancelled when nothing else moved: it is let pass next, or
    /// what was cancelled would take its place again.
    cleared_for: Option<OpId>,
}

impl Scheduler {
    /// Starts a run.
    ///
    /// # Errors
    /// If the plan can never run on these nodes, with the arithmetic.
    pub fn submit(plan: Plan, nodes: Vec<(NodeId, Resources, Bytes)>) -> Result<Self, SubmitError> {
        let state = State::new(plan, nodes)?;
        let attribution = Attribution::new(state.ops.len());
        let refusals = alloc::vec![Refusal::default(); state.ops.len()];
        Ok(Self {
            state,
            attribution,
            actions: VecDeque::new(),
            is_due: true,
            actions_before_cut: 0,
            wakeup: None,
            stops: Vec::new(),
            refusals,
            cleared_for: None,
        })
    }

    /// Takes note of a fact. Facts about dead attempts and unknown things are counted, and change
    /// nothing else.
    pub fn handle(&mut self, now: Time, event: Event) {
        self.state.now = self.state.now.max(now);
        self.attribution.advance(&self.state, self.state.now);
        self.is_due = true;
        let stale_events = self.state.stale_events;
        let tells = !matches!(event, Event::TimePassed | Event::TurnDelayed { .. });
        match event {
            Event::BlockProduced { task, block, rows, bytes, node, partition } => {
                self.block_produced(task, block, rows, bytes, node, partition);
            }
            Event::BlockReady { task, ordinal, bytes } => self.block_ready(task, ordinal, bytes),
            Event::TaskFinished { task, busy, heap_peak } => {
                self.task_finished(task, busy, heap_peak);
            }
            Event::TaskFailed { task, failure } => self.task_failed(task, failure),
            Event::ActorReady { actor, load, .. } => self.actor_ready(actor, load),
            Event::ActorLost { actor, user_code, out_of_memory } => {
                self.actor_lost(actor, user_code, out_of_memory);
            }
            Event::NodeJoined { node, resources, store } => {
                self.node_joined(node, resources, store);
            }
            Event::ShareChanged { node, resources, store } => {
                self.state.ledger.share(node, resources, store);
            }
            Event::NodeDraining { node } => self.node_draining(node),
            Event::NodeLost { node } => self.node_lost(node),
            Event::BlockLost { block } => self.block_lost(block),
            Event::OutputTaken { block } => self.output_taken(block),
            Event::ConsumerGone { consumer } => self.consumer_gone(consumer),
            Event::TurnDelayed { by } => self.attribution.delay(by),
            Event::SourceExtended { op, first, units } => self.source_extended(op, first, &units),
            Event::SourceExhausted { op } => self.source_exhausted(op),
            Event::TimePassed => {}
            Event::StopRequested => self.stop(),
        }
        if tells && self.state.stale_events == stale_events {
            self.state.last_fact = self.state.now;
        }
    }

    /// The next order, until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() && self.is_due {
            self.is_due = false;
            self.wakeup = None;
            self.turn();
            self.stops.clear();
            if self.is_cut() {
                self.wakeup = Some(self.state.now);
            }
        }
        self.actions.pop_front()
    }

    /// When the scheduler wants to be called again if no event comes before; none: it need not.
    ///
    /// Every decision follows from an event. It is only where one turn was too short for all of them
    /// that another one is due at once.
    #[must_use]
    pub const fn next_wakeup(&self) -> Option<Time> {
        self.wakeup
    }

    /// Whether nothing is left to run, to deliver or to cancel.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.actions.is_empty() && self.state.is_done()
    }

    /// What the outside may know.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(&self.state, &self.attribution)
    }

    /// What the run holds and could use, for an [`Arbiter`](crate::Arbiter) of several runs.
    #[must_use]
    pub fn run_demand(&self) -> Demand {
        demand::take(&self.state)
    }

    /// Asserts the invariants that need no history: I1, that each lane is backed by blocks and tasks,
    /// and that what is kept to be found quickly is what a recount gives. Costs a look at everything
    /// that exists; for simulations and tests.
    ///
    /// # Panics
    /// If an invariant does not hold.
    pub fn assert_invariants(&self) {
        let state = &self.state;
        state.ledger.assert_balanced();
        let is_idle = state.blocks.is_empty() && state.tasks.is_empty();
        let has_work = |op: &Operator| !op.retries.is_empty() || !op.starved.is_empty();
        assert!(
            !is_idle || state.ops.iter().any(has_work) || state.lineage.is_empty(),
            "lineage is kept of blocks that are gone"
        );
        self.assert_heap_backed();
        self.assert_shelves_backed();
        for op in state.op_ids() {
            let lane = state.ledger.lane(op);
            let blocks = state.blocks.values().filter(|block| {
                let lies_there = block.place != Place::Lost && state.ledger.knows(block.node);
                block.producer == op && lies_there
            });
            let used: Bytes = blocks.map(|block| block.bytes).sum();
            let live = || state.tasks.values().filter(|task| task.op == op);
            let growth: Bytes = live().map(|task| task.growth).sum();
            let tasks = live().chain(state.op(op).retries.values());
            let (reserved, credit) = tasks.fold((Bytes::ZERO, Bytes::ZERO), |sums, task| {
                (sums.0 + task.reserved(), sums.1 + task.credit)
            });
            assert_eq!((lane.used, lane.reserved), (used, reserved), "I1: the books of {op}");
            state.op(op).pool.iter().for_each(Pool::assert_recounted);
            state.op(op).live.assert_recounted(|id| state.tasks[&id].node);
            let operator = state.op(op);
            assert_eq!((operator.credit, operator.growth), (credit, growth), "I1: sums of {op}");
            let count = |appetite| live().filter(|task| task.appetite == appetite).count();
            let waiting = (operator.paused.len(), operator.hungry.len());
            assert_eq!(
                waiting,
                (count(Appetite::Paused), count(Appetite::Hungry)),
                "waiting in {op}"
            );
        }
    }

    /// Asserts that all bytes that are booked as waiting or set aside at barriers are of such blocks.
    fn assert_shelves_backed(&self) {
        for (node, account) in self.state.ledger.nodes() {
            let on = |shelf: Shelf| {
                let there = self.state.blocks.values().filter(|block| block.node == node);
                there.filter(|block| block.shelf == shelf).map(|block| block.bytes).sum::<Bytes>()
            };
            let booked = (account.at_barrier, account.aside);
            assert_eq!(booked, (on(Shelf::AtBarrier), on(Shelf::Aside)), "I1: barriers at {node}");
        }
    }

    /// Asserts that all heap that is booked is held by a task or an actor.
    fn assert_heap_backed(&self) {
        for (node, account) in self.state.ledger.nodes() {
            let tasks = self.state.tasks.values();
            let tasks = tasks.filter(|task| task.node == node);
            let pools = self.state.ops.iter().filter_map(|op| op.pool.as_ref());
            let actors = pools.flat_map(Pool::actors).filter(|(_, actor)| actor.node == node);
            let held: Bytes =
                tasks.map(|task| task.heap).chain(actors.map(|(_, actor)| actor.heap)).sum();
            assert_eq!(account.held().heap, held, "I1: the heap of {node}");
        }
    }
}
