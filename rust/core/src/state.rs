//! All that a run knows at a moment, and the check that it can run at all.
//!
//! Owns the data; the policies read it, the scheduler changes it.

mod around;
mod epochs;
mod fits;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::ledger::Ledger;
use crate::lineage::{Lineage, RowRange};
use crate::operator::{Appetite, Operator, Task};
use crate::operators::Meaning;
use crate::operators::source::listing::Listing;
use crate::operators::split::consumers::Split;
use crate::plan::{Execution, OpSpec, Plan};
use crate::protocol::{Slice, Work};
use crate::queue::{InputQueue, Position, Queued, Release, Spot};
use crate::resources::Resources;
use crate::table::Table;
use crate::units::{ActorId, BlockId, Bytes, Epoch, NodeId, OpId, Rows, TaskId, Time};

/// Where a block is. It is in exactly one place (I2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the queue after this operator, all of it or what is left of it.
    Queued(OpId),
    /// Input of work that has not finished, all of it.
    Input,
    /// With the consumer.
    Emitted,
    /// Gone, while a task that may have read it before goes on.
    Lost,
}

/// Whether a block waits behind a barrier, where it stays for long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shelf {
    /// It does not.
    Off,
    /// In the store.
    AtBarrier,
    /// Beyond what the store has room for, since it came, until it is dropped. A task that reads it
    /// needs room for a copy.
    Aside,
}

/// A block by its metadata.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) producer: OpId,
    pub(crate) at: Position,
    pub(crate) rows: Rows,
    pub(crate) bytes: Bytes,
    pub(crate) node: NodeId,
    pub(crate) place: Place,
    pub(crate) shelf: Shelf,
    /// Pieces of work that have it, or rows of it, as input and have not finished.
    pub(crate) readers: u32,
}

impl Block {
    /// Some of the rows that it holds.
    pub(crate) fn range(&self, first: Rows, rows: Rows) -> RowRange {
        let Position { number, row, .. } = self.at.after(first);
        RowRange { op: self.producer, number, row, rows }
    }
}

/// Why a plan can never run on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SubmitError {
    /// There is nothing to run on.
    #[error("the cluster has no nodes")]
    NoNodes,
    /// One task or actor is larger than every node.
    #[error(
        "operator '{name}' needs {needs} for each {what}, but no node has that; the largest amounts on one node are {largest}"
    )]
    TooLarge {
        /// The operator.
        name: String,
        /// `"task"` or `"actor"`.
        what: &'static str,
        /// What it needs.
        needs: Resources,
        /// The most that a node has of each resource.
        largest: Resources,
    },
    /// The smallest pools do not fit at the same time.
    #[error(
        "the actor pools do not fit at the same time: {pools} need {needs}, the cluster has {has}; '{name}' found room for {placed} of {wanted} actors"
    )]
    Pools {
        /// Each pool with its smallest size.
        pools: String,
        /// What all need together.
        needs: Resources,
        /// What the cluster has.
        has: Resources,
        /// The pool that does not fit.
        name: String,
        /// Its actors that do.
        placed: u32,
        /// Its smallest size.
        wanted: u32,
    },
    /// The pools leave no room for a stateless operator.
    #[error(
        "operator '{name}' needs {needs} for each task, but the actor pools ({pools}) leave no node with that much; the cluster has {has}"
    )]
    NoRoomBesidePools {
        /// The operator.
        name: String,
        /// What it needs.
        needs: Resources,
        /// Each pool with its smallest size.
        pools: String,
        /// What the cluster has.
        has: Resources,
    },
    /// The stores are too small, where blocks of the target size must fit.
    #[error(
        "{operators} operators need a block of {block} each in the object store at a time, {needs} in all, but the nodes have room for {room} such blocks; allow more memory, make blocks smaller, or turn strict_memory off"
    )]
    Memory {
        /// Operators that make blocks.
        operators: u64,
        /// The size at which workers cut blocks.
        block: Bytes,
        /// One block for each.
        needs: Bytes,
        /// Whole blocks that the nodes' stores hold.
        room: u64,
    },
}

/// All that a run knows at a moment.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) plan: Plan,
    /// When the last event came.
    pub(crate) now: Time,
    /// When the last event came that told something new.
    pub(crate) last_fact: Time,
    pub(crate) ledger: Ledger,
    pub(crate) ops: Vec<Operator>,
    pub(crate) output: InputQueue,
    /// Who takes the output, if there are several.
    pub(crate) split: Option<Split>,
    pub(crate) emitted_bytes: Bytes,
    pub(crate) emitted_blocks: u64,
    /// Blocks that the consumer found gone, and in whose place it waits for others.
    pub(crate) replacements: u64,
    pub(crate) tasks: Table<TaskId, Box<Task>>,
    pub(crate) blocks: Table<BlockId, Block>,
    pub(crate) lineage: Lineage,
    pub(crate) actors: BTreeMap<ActorId, OpId>,
    pub(crate) task_next: u64,
    pub(crate) actor_next: u64,
    pub(crate) is_stopping: bool,
    pub(crate) has_failed: bool,
    pub(crate) stale_events: u64,
    pub(crate) overshoots: u64,
    pub(crate) heap_overshoots: u64,
    /// Of all blocks that were set aside at a barrier.
    pub(crate) bytes_set_aside: Bytes,
    pub(crate) output_rows: u64,
    pub(crate) output_blocks: u64,
    /// The epoch to commit next.
    pub(crate) epochs_committed: Epoch,
}

impl State {
    pub(crate) fn new(
        mut plan: Plan,
        nodes: Vec<(NodeId, Resources, Bytes)>,
    ) -> Result<Self, SubmitError> {
        fits::check(&plan, &nodes)?;
        let requests = plan.ops().iter().map(|op| (&op.resources, op.has_actors()));
        let mut ledger = Ledger::new(requests);
        for (node, resources, store) in nodes {
            ledger.join(node, resources, store);
        }
        let release = |in_order| if in_order { Release::InOrder } else { Release::AsTheyCome };
        let output = InputQueue::new(release(plan.config().preserve_order));
        let split = plan.ops().last().and_then(Split::of);
        let lineage = Lineage::new(plan.ops().len());
        let listings = (0..plan.ops().len()).map(|op| plan.take_units(op));
        let listings: Vec<Listing> =
            listings.map(|(units, is_open)| Listing::new(&units, is_open)).collect();
        let ops = plan.ops().iter().zip((0..).map(OpId)).zip(listings);
        let ops = ops.map(|((spec, op), listing)| {
            new_operator(spec, listing, release(plan.takes_in_order(op)))
        });
        let ops = ops.collect();
        Ok(Self {
            plan,
            now: Time::default(),
            last_fact: Time::default(),
            ledger,
            ops,
            output,
            split,
            emitted_bytes: Bytes::ZERO,
            emitted_blocks: 0,
            replacements: 0,
            tasks: Table::new(),
            blocks: Table::new(),
            lineage,
            actors: BTreeMap::new(),
            task_next: 0,
            actor_next: 0,
            is_stopping: false,
            has_failed: false,
            stale_events: 0,
            overshoots: 0,
            heap_overshoots: 0,
            bytes_set_aside: Bytes::ZERO,
            output_rows: 0,
            output_blocks: 0,
            epochs_committed: Epoch(0),
        })
    }

    pub(crate) fn spec(&self, op: OpId) -> &OpSpec {
        &self.plan.ops()[op.0 as usize]
    }

    /// What an operator's kind means.
    pub(crate) fn meaning(&self, op: OpId) -> &'static dyn Meaning {
        self.spec(op).kind.meaning()
    }

    pub(crate) fn op(&self, op: OpId) -> &Operator {
        &self.ops[op.0 as usize]
    }

    pub(crate) fn op_mut(&mut self, op: OpId) -> &mut Operator {
        &mut self.ops[op.0 as usize]
    }

    /// The operators in the order of the flow.
    pub(crate) fn op_ids(&self) -> impl DoubleEndedIterator<Item = OpId> + use<> {
        let count = u32::try_from(self.ops.len()).expect("because a plan has few operators");
        (0..count).map(OpId)
    }

    /// The operators below `op`, nearest first.
    pub(crate) fn below(&self, op: OpId) -> impl Iterator<Item = OpId> {
        self.plan.below(op).iter().copied()
    }

    /// Where blocks of `op` queue.
    pub(crate) fn queue_after(&self, op: OpId) -> &InputQueue {
        match self.plan.reader(op) {
            Some(port) => &self.op(port.op).queues[port.input],
            None => &self.output,
        }
    }

    pub(crate) fn queue_after_mut(&mut self, op: OpId) -> &mut InputQueue {
        match self.plan.reader(op) {
            Some(port) => &mut self.op_mut(port.op).queues[port.input],
            None => &mut self.output,
        }
    }

    pub(crate) fn is_bulk(&self) -> bool {
        self.plan.config().execution == Execution::Bulk
    }

    pub(crate) fn is_done(&self) -> bool {
        if self.is_stopping {
            return self.tasks.is_empty();
        }
        self.blocks.is_empty()
            && self.tasks.is_empty()
            && self.ops.iter().all(|op| op.is_done)
            && self.are_epochs_committed()
    }

    /// Whether `op` is through: what it puts out is complete. Tasks that are of no more use may still
    /// be on their way to their end.
    pub(crate) fn has_ended(&self, op: OpId) -> bool {
        let operator = self.op(op);
        let is_useless = |id: TaskId| operator.is_ended_early && self.tasks[&id].is_useless();
        operator.has_taken_all() && operator.live.ids().all(is_useless)
    }

    /// The parts of blocks that some work reads.
    pub(crate) fn slices(&self, work: &Work) -> Vec<Slice> {
        match work {
            Work::Units { .. } => Vec::new(),
            Work::Blocks(blocks) => blocks.iter().map(|block| self.whole(*block)).collect(),
            Work::Slices(inputs) => inputs.iter().flatten().copied().collect(),
        }
    }

    fn whole(&self, block: BlockId) -> Slice {
        Slice { block, first: Rows::ZERO, rows: self.blocks[&block].rows }
    }

    /// The rows that a part of a block holds.
    pub(crate) fn range(&self, slice: &Slice) -> RowRange {
        self.blocks[&slice.block].range(slice.first, slice.rows)
    }

    /// Puts a block where it waits for the operator after the spot, or for the consumer.
    pub(crate) fn enqueue(&mut self, spot: Spot, queued: Queued) {
        let block = self.blocks.get_mut(&queued.block).expect("because the caller found it");
        block.place = Place::Queued(spot.after);
        self.queue_after_mut(spot.after).push(Queued { at: spot.at, ..queued });
        if self.meaning(spot.after).fills_barrier() {
            self.shelve(queued.block);
        }
    }

    /// Whether blocks pass an operator without a task.
    pub(crate) fn passes_blocks(&self, op: OpId) -> bool {
        self.meaning(op).passes_blocks()
    }

    /// Notes that a block is in no consumer's hand any more.
    pub(crate) fn take_from_hand(&mut self, bytes: Bytes) {
        self.emitted_bytes -= bytes;
        self.emitted_blocks -= 1;
    }

    /// Lets a live task put `bytes` more into the store of its node.
    pub(crate) fn grant(&mut self, id: TaskId, bytes: Bytes) {
        let task = self.tasks.get_mut(&id).expect("because only live tasks get credit");
        task.credit += bytes;
        if task.ready.is_some_and(|ready| ready <= task.credit) {
            task.ready = None;
        }
        let (op, node) = (task.op, task.node);
        self.ledger.reserve(node, op, bytes);
        self.op_mut(op).credit += bytes;
        self.note_credit(id);
    }

    /// Notes how long a task took for its first block.
    pub(crate) fn note_lead(&mut self, id: TaskId) {
        let task = self.tasks.get_mut(&id).expect("because only live tasks finish blocks");
        if task.lead.is_some() {
            return;
        }
        let (op, lead) = (task.op, task.stretch.moving(self.now));
        task.lead = Some(lead);
        if task.attempt == 0 {
            self.op_mut(op).estimates.lead.add(lead.0);
        }
    }

    /// Books whether a task waits for credit, or will.
    pub(crate) fn note_credit(&mut self, id: TaskId) {
        let (appetite, now) = (self.appetite(&self.tasks[&id]), self.now);
        let task = self.tasks.get_mut(&id).expect("because only live tasks have credit");
        let had = core::mem::replace(&mut task.appetite, appetite);
        if had == appetite {
            return;
        }
        let is_paused = appetite == Appetite::Paused;
        task.stretch.set_paused(now, is_paused);
        let (op, number, actor) = (task.op, task.number, task.actor);
        let operator = self.op_mut(op);
        operator.replace_appetite(number, id, had, appetite);
        if let (Some(actor), Some(pool)) = (actor, operator.pool.as_mut()) {
            pool.set_paused(actor, id, now, is_paused);
        }
    }

    pub(crate) fn appetite(&self, task: &Task) -> Appetite {
        let estimates = &self.op(task.op).estimates;
        let is_last = || task.blocks_out > 0 && !estimates.may_pause();
        let low = self.block_bytes(task.op).max(Bytes(self.credit_ahead(task).0 / 2));
        if task.is_paused() {
            Appetite::Paused
        } else if task.credit >= low || is_last() {
            Appetite::Sated
        } else {
            Appetite::Hungry
        }
    }

    /// What a task may put out before it is heard of again: a block; or, while that is little, as many
    /// as it has put out already, since credit for a tiny block costs no less than for a large one.
    pub(crate) fn credit_ahead(&self, task: &Task) -> Bytes {
        let block = self.block_bytes(task.op);
        let little = Bytes(self.ledger.store_min().0 / LITTLE_SHARE).min(LITTLE_MAX);
        block.max(block.times(u64::from(task.blocks_out)).min(little))
    }

    /// The size that the next block of `op` will hardly exceed.
    pub(crate) fn block_bytes(&self, op: OpId) -> Bytes {
        if self.passes_blocks(op) {
            let inputs = self.spec(op).inputs.iter();
            return inputs.map(|input| self.block_bytes(*input)).max().unwrap_or(Bytes::ZERO);
        }
        if let Some(high) = self.op(op).estimates.block_bytes.high() {
            return Bytes(high);
        }
        // A cautious probe: the target, or less where not every operator could have its block.
        let share = Bytes(self.ledger.store_min().0 / self.ops.len() as u64);
        let probe = self.plan.config().block_bytes_target.min(share);
        self.meaning(op).block_bytes_assumed(probe)
    }

    /// How many tasks of `op` could run at a time if nothing else did.
    pub(crate) fn parallelism(&self, op: OpId) -> u64 {
        if let Some(pool) = &self.op(op).pool {
            return u64::from(pool.size().max(pool.spec.actors_min));
        }
        let spec = self.spec(op);
        let most = match spec.concurrency_max {
            0 => u64::from(u32::MAX),
            limit => u64::from(limit),
        };
        self.ledger.copies(op).clamp(1, most)
    }

    /// The limit of tasks of `op` at a time, given or, where a task asks for nothing, by default.
    pub(crate) fn concurrency_limit(&self, op: OpId) -> Option<u32> {
        let spec = self.spec(op);
        match spec.concurrency_max {
            0 if spec.resources.is_zero() => Some(CONCURRENCY_OF_FREE_TASKS),
            0 => None,
            limit => Some(limit),
        }
    }

    /// Whether something goes on that will lead to an event by itself.
    pub(crate) fn is_moving(&self) -> bool {
        self.awaits_consumer() || self.is_working()
    }

    /// Whether the consumer has blocks, and waits for none in the place of one that it found gone.
    pub(crate) fn awaits_consumer(&self) -> bool {
        self.emitted_blocks > 0 && self.replacements == 0
    }

    /// Whether something goes on beside the consumer.
    pub(crate) fn is_working(&self) -> bool {
        self.is_running() || self.tasks.values().any(|task| task.is_cancelled)
    }

    /// Whether a task runs that is not paused, an actor starts, or more units are being listed.
    pub(crate) fn is_running(&self) -> bool {
        self.ops.iter().any(|op| {
            op.moving() > 0
                || op.listing.awaited() > 0
                || op.pool.as_ref().is_some_and(|pool| pool.starting() > 0)
        })
    }
}

fn new_operator(spec: &OpSpec, listing: Listing, release: Release) -> Operator {
    let release = if spec.kind.meaning().is_barrier() { Release::AtEnd } else { release };
    let queues = spec.inputs.iter().map(|_| InputQueue::new(release)).collect();
    let mut operator = Operator::new(queues, listing);
    operator.heap_known = spec.resources.heap;
    spec.kind.meaning().begin(spec, &mut operator);
    operator
}

/// So many bytes, or such a part of a store if that is less, are little for what one task puts out.
const LITTLE_MAX: Bytes = Bytes(64 << 10);
const LITTLE_SHARE: u64 = 4096;
/// Tasks that ask for no resources run this many at a time, since nothing else bounds them.
const CONCURRENCY_OF_FREE_TASKS: u32 = 64;
