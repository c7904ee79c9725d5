//! The run-time state of one operator: its queues, its live tasks, its counters.
//!
//! Decides nothing: policies read it, the scheduler changes it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::attribution::Stretch;
use crate::estimate::{Load, TaskEstimates};
use crate::line::SIZES_DIFFER;
use crate::lineage::RowRange;
use crate::live::LiveTasks;
use crate::operators::source::listing::Listing;
use crate::pool::Pool;
use crate::protocol::{Slice, Work};
use crate::quarantine::Quarantine;
use crate::queue::{InputQueue, Position, Spot};
use crate::units::{ActorId, BlockId, Bytes, NodeId, OpId, Rows, Span, TaskId};

/// Whether a task waits for credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appetite {
    /// It has what it needs for its next block, or makes no more.
    Sated,
    /// It will once its next block is finished.
    Hungry,
    /// It does.
    Paused,
}

/// A piece of an operator's work, over all its attempts.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) op: OpId,
    /// The number of the work in its operator; gives the order of its output.
    pub(crate) number: u64,
    pub(crate) attempt: u32,
    pub(crate) deaths: u32,
    pub(crate) work: Work,
    /// Units or rows that it works on.
    pub(crate) items: u64,
    /// The bytes of its units, as far as they are known.
    pub(crate) unit_bytes: Bytes,
    pub(crate) blocks_out: u32,
    /// Those of its present attempt.
    pub(crate) handed_over: u32,
    pub(crate) rows_out: Rows,
    pub(crate) bytes_out: Bytes,
    /// How long it took for its first block, pauses left out; none as long as it makes that.
    pub(crate) lead: Option<Span>,
    /// Rows that it is still expected to put out.
    pub(crate) rows_coming: u64,
    /// Bytes that it is still expected to put out beyond those of its input.
    pub(crate) growth: Bytes,
    pub(crate) node: NodeId,
    pub(crate) actor: Option<ActorId>,
    /// Room on `node` for what it may put out; kept between attempts.
    pub(crate) credit: Bytes,
    /// Room on `node` for copies of input from other nodes.
    pub(crate) copies: Bytes,
    /// Heap that its attempt was given when it was launched, by itself or by its actor.
    pub(crate) heap_given: Bytes,
    /// Heap that is held for it on `node`, if it has no actor.
    pub(crate) heap: Bytes,
    /// The most with which it was killed for lack of memory.
    pub(crate) heap_killed: Option<Bytes>,
    /// The size of the finished block with which it waits for credit.
    pub(crate) ready: Option<Bytes>,
    /// The size of the last block with which an attempt waited: the next one has to make it again.
    pub(crate) block_known: Bytes,
    /// As its operator has it in its lists.
    pub(crate) appetite: Appetite,
    pub(crate) is_cancelled: bool,
    /// Since when it is launched; once it has ended, how long it held its worker.
    pub(crate) stretch: Stretch,
    /// Whether all its output that anyone wants has been made once. What remains are its gaps.
    pub(crate) is_complete: bool,
    /// Whether its present attempt fills the first of its gaps.
    pub(crate) is_filling: bool,
    /// Rows of its output that are made again.
    pub(crate) gaps: Vec<Gap>,
}

impl Task {
    /// Work that was never launched.
    pub(crate) fn new(op: OpId, number: u64, work: Work, items: u64) -> Self {
        Self {
            op,
            number,
            attempt: 0,
            deaths: 0,
            work,
            items,
            unit_bytes: Bytes::ZERO,
            blocks_out: 0,
            lead: None,
            rows_out: Rows::ZERO,
            bytes_out: Bytes::ZERO,
            rows_coming: 0,
            node: NO_NODE,
            actor: None,
            growth: Bytes::ZERO,
            credit: Bytes::ZERO,
            copies: Bytes::ZERO,
            heap_given: Bytes::ZERO,
            heap: Bytes::ZERO,
            heap_killed: None,
            ready: None,
            block_known: Bytes::ZERO,
            handed_over: 0,
            appetite: Appetite::Sated,
            is_cancelled: false,
            is_complete: false,
            is_filling: false,
            gaps: Vec::new(),
            stretch: Stretch::default(),
        }
    }

    /// Whether it waits with a finished block for which it has no credit.
    pub(crate) const fn is_paused(&self) -> bool {
        self.ready.is_some()
    }

    /// Whether nobody wants anything of it any more.
    pub(crate) fn is_useless(&self) -> bool {
        self.is_complete && self.gaps.is_empty()
    }

    /// All room that it holds on its node.
    pub(crate) fn reserved(&self) -> Bytes {
        self.credit + self.copies
    }

    /// The size of its next block, where `usual` is that of its operator.
    pub(crate) fn block_next(&self, usual: Bytes) -> Bytes {
        self.ready.unwrap_or(usual.max(self.block_known))
    }

    /// What its next attempt is to put out: rows to leave out, and how many to make after them if
    /// not all.
    pub(crate) fn portion(&self) -> (Rows, Option<Rows>) {
        match self.gaps.first() {
            Some(gap) => (Rows(gap.at.row), Some(gap.rows)),
            None => (self.rows_out, None),
        }
    }

    /// Notes rows that it handed over, and tells where they belong and who waits for them. None: for
    /// nobody, since it makes other blocks again than were lost.
    pub(crate) fn hand_over(&mut self, rows: Rows, partition: u32) -> Option<(Position, Goal)> {
        if self.is_filling {
            return self.gaps.first_mut().and_then(|gap| gap.fill(rows, partition));
        }
        let (number, row) = (self.number, self.rows_out.0);
        let at = Position { partition, number, row, ordinal: self.blocks_out };
        self.blocks_out += 1;
        self.rows_out += rows;
        Some((at, Goal::Queue(Spot { after: self.op, at })))
    }
}

/// Rows of a work's output that were lost and are made again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    /// Where the next block of them belongs.
    pub(crate) at: Position,
    /// The rows that are missing.
    pub(crate) rows: Rows,
    pub(crate) goal: Goal,
}

impl Gap {
    fn fill(&mut self, rows: Rows, partition: u32) -> Option<(Position, Goal)> {
        if rows == Rows::ZERO || rows > self.rows {
            return None;
        }
        // It may go on through several partitions.
        self.at.partition = partition;
        if let Goal::Queue(spot) = &mut self.goal {
            spot.at.partition = partition;
        }
        let (at, goal) = (self.at, self.goal);
        self.rows -= rows;
        let next = |at: Position| Position { ordinal: at.ordinal + 1, ..at.after(rows) };
        self.at = next(at);
        if let Goal::Queue(spot) = &mut self.goal {
            spot.at = next(spot.at);
        }
        Some((at, goal))
    }
}

/// Who waits for what is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// The queue that the lost block was in, at its place there.
    Queue(Spot),
    /// A piece of work that read it.
    Work(OpId, u64),
    /// The consumer, in the place of this block.
    Consumer(BlockId),
}

/// A piece of work that cannot run until lost blocks among its input are there again.
#[derive(Clone, Debug)]
pub(crate) struct Starved {
    pub(crate) task: Box<Task>,
    pub(crate) input: Vec<Part>,
}

/// A part of some work's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Rows of a block that exists.
    Here(Slice),
    /// Rows that are made again.
    Coming(RowRange),
}

/// How much the tasks that were launched work on, in items or, where units differ, in their bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sizes {
    least: Option<u64>,
    most: u64,
}

impl Sizes {
    pub(crate) fn add(&mut self, load: Load) {
        let (Load::Items(size) | Load::Bytes(Bytes(size))) = load;
        self.least = Some(self.least.map_or(size, |least| least.min(size)));
        self.most = self.most.max(size);
    }

    /// The smallest; none before the first task.
    pub(crate) fn least(&self) -> Option<u64> {
        self.least
    }

    /// Whether there are some, and they are about the same.
    pub(crate) fn are_alike(&self) -> bool {
        self.least.is_some_and(|least| self.most < least.saturating_mul(SIZES_DIFFER))
    }
}

/// Defines what is counted of a list of numbers.
macro_rules! counters {
    (
        computed $computed:tt
        counted { $($(#[$doc:meta])* $number:ident: $type:ty $(as $name:literal)?,)* }
    ) => {
        /// Totals since the start of the run.
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $number: $type,)*
        }
    };
}

crate::op_numbers!(counters);

/// The run-time state of one operator.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    /// One for each input.
    pub(crate) queues: Vec<InputQueue>,
    /// The units of a source that are not begun.
    pub(crate) listing: Listing,
    pub(crate) work_next: u64,
    pub(crate) live: LiveTasks,
    /// Those that wait for credit with a finished block.
    pub(crate) paused: BTreeMap<u64, TaskId>,
    /// Those that used up their credit and go on until their next block is finished.
    pub(crate) hungry: BTreeMap<u64, TaskId>,
    pub(crate) retries: BTreeMap<u64, Box<Task>>,
    pub(crate) starved: BTreeMap<u64, Starved>,
    /// Ranges of lost rows that its work has yet to make again.
    pub(crate) gaps: usize,
    pub(crate) pool: Option<Pool>,
    pub(crate) is_done: bool,
    /// Whether a limit, itself or one further down, has all its rows: it begins no new work.
    pub(crate) is_ended_early: bool,
    /// For a limit: the rows that it has still to pass on.
    pub(crate) limit_left: Rows,
    pub(crate) rows_coming: u64,
    /// What its live tasks will put out beyond the bytes of their input.
    pub(crate) growth: Bytes,
    /// Pieces of work that were killed for lack of memory and have not ended since.
    pub(crate) killed: u64,
    /// The most heap that a worker of it was seen to use, or is declared to.
    pub(crate) heap_known: Bytes,
    /// What its tasks, those that wait for their next attempt too, may put out now.
    pub(crate) credit: Bytes,
    pub(crate) quarantine: Quarantine,
    pub(crate) estimates: TaskEstimates,
    pub(crate) sizes: Sizes,
    pub(crate) counters: Counters,
}

impl Operator {
    pub(crate) fn new(queues: Vec<InputQueue>, listing: Listing) -> Self {
        Self {
            queues,
            listing,
            work_next: 0,
            live: LiveTasks::new(),
            paused: BTreeMap::new(),
            hungry: BTreeMap::new(),
            retries: BTreeMap::new(),
            starved: BTreeMap::new(),
            gaps: 0,
            pool: None,
            is_done: false,
            is_ended_early: false,
            limit_left: Rows::ZERO,
            rows_coming: 0,
            growth: Bytes::ZERO,
            killed: 0,
            heap_known: Bytes::ZERO,
            credit: Bytes::ZERO,
            quarantine: Quarantine::default(),
            estimates: TaskEstimates::default(),
            sizes: Sizes::default(),
            counters: Counters::default(),
        }
    }

    /// The queue of an operator with one input.
    pub(crate) fn queue(&self) -> &InputQueue {
        self.queues.first().expect("because only sources have no input")
    }

    pub(crate) fn queue_mut(&mut self) -> &mut InputQueue {
        self.queues.first_mut().expect("because only sources have no input")
    }

    /// Blocks that wait in its queues.
    pub(crate) fn queued_blocks(&self) -> usize {
        self.queues.iter().map(InputQueue::blocks).sum()
    }

    /// Whether no input has more to come. True for a source.
    pub(crate) fn input_ended(&self) -> bool {
        self.queues.iter().all(InputQueue::is_closed)
    }

    /// Tasks that run and are not paused. Those queued at an actor behind another do not run.
    pub(crate) fn moving(&self) -> usize {
        match &self.pool {
            Some(pool) => pool.moving() as usize,
            None => self.live.len() - self.paused.len(),
        }
    }

    /// Whether some block or work waits that it could take next.
    pub(crate) fn has_ready_work(&self) -> bool {
        !self.retries.is_empty() || self.queues.iter().any(|queue| queue.ready_blocks() > 0)
    }

    /// Notes what live work waits for from now on.
    pub(crate) fn replace_appetite(
        &mut self,
        number: u64,
        id: TaskId,
        had: Appetite,
        has: Appetite,
    ) {
        self.forget_appetite(number, had);
        self.waiting(has).map(|tasks| tasks.insert(number, id));
    }

    pub(crate) fn forget_appetite(&mut self, number: u64, had: Appetite) {
        self.waiting(had).map(|tasks| tasks.remove(&number));
    }

    fn waiting(&mut self, appetite: Appetite) -> Option<&mut BTreeMap<u64, TaskId>> {
        match appetite {
            Appetite::Sated => None,
            Appetite::Hungry => Some(&mut self.hungry),
            Appetite::Paused => Some(&mut self.paused),
        }
    }

    /// Whether it waits for lost rows, or has some to make again.
    pub(crate) fn has_losses(&self) -> bool {
        self.gaps > 0 || !self.starved.is_empty()
    }

    /// Whether work that fills a gap waits for its next attempt.
    pub(crate) fn awaits_remake(&self) -> bool {
        self.gaps > 0 && self.retries.values().any(|task| !task.gaps.is_empty())
    }

    /// What a task with so many items has to do, and as many bytes where these are units.
    pub(crate) fn load(&self, items: u64, unit_bytes: Bytes) -> Load {
        if self.listing.is_uneven() { Load::Bytes(unit_bytes) } else { Load::Items(items) }
    }

    /// Whether nothing is left that it could begin to work on, nor work that is to go on later.
    pub(crate) fn has_taken_all(&self) -> bool {
        let has_all = self.listing.is_through() && self.queued_blocks() == 0;
        self.input_ended()
            && (has_all || self.is_ended_early)
            && self.retries.is_empty()
            && self.starved.is_empty()
    }
}

/// The node of work that was never launched; no account has this number.
const NO_NODE: NodeId = NodeId(u32::MAX);
