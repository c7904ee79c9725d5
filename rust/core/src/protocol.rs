//! What goes in and what comes out: events, actions, and the reasons between them.
//!
//! Events are facts about the past, actions are orders. Both are plain numbers, so that a trace of
//! them replays anywhere.

use alloc::vec::Vec;
use core::fmt;

use crate::plan::Unit;
use crate::resources::Resources;
use crate::units::{ActorId, BlockId, Bytes, Epoch, NodeId, OpId, Rows, Span, TaskId};

/// Where a row belongs among all that come to a split ([`OpKind::Split`](crate::OpKind::Split)). In
/// order it is the same in every run of the same plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OutputPlace {
    /// Its number, from zero.
    pub row: u64,
    /// The epoch of the units that it follows from.
    pub epoch: Epoch,
    /// The number of the first row of this epoch.
    pub epoch_row: u64,
}

/// Rows of the output by their numbers ([`OutputPlace`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OutputRows {
    /// The first one.
    pub first: u64,
    /// The one after the last.
    pub end: u64,
}

/// A fact that the driver reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// A task handed over its next block, using up credit of as many bytes.
    BlockProduced {
        /// The task.
        task: TaskId,
        /// The block's new number.
        block: BlockId,
        /// Its rows.
        rows: Rows,
        /// Its bytes in the object store.
        bytes: Bytes,
        /// Where it lies.
        node: NodeId,
        /// The partition that its rows are of, if a scatter made it; else zero.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
        partition: u32,
    },
    /// A task has finished its next block, which is larger than its credit, and waits with it. The
    /// block is in the worker's own memory, not in the object store.
    BlockReady {
        /// The task.
        task: TaskId,
        /// How many blocks this attempt handed over before.
        ordinal: u32,
        /// The block's bytes.
        bytes: Bytes,
    },
    /// A task ended well; all its blocks have been reported before.
    TaskFinished {
        /// The task.
        task: TaskId,
        /// How long it worked, waiting and pauses left out.
        busy: Span,
        /// The largest resident memory of its worker.
        heap_peak: Bytes,
    },
    /// A task ended badly, or was cancelled.
    TaskFailed {
        /// The task.
        task: TaskId,
        /// What happened to it.
        failure: TaskFailure,
    },
    /// An actor has loaded and takes tasks.
    ActorReady {
        /// The actor.
        actor: ActorId,
        /// Where it runs.
        node: NodeId,
        /// How long it took to start and load.
        load: Span,
    },
    /// An actor is gone. Its tasks are reported by events of their own, or not at all.
    ActorLost {
        /// The actor.
        actor: ActorId,
        /// Whether its constructor raised, which no new attempt would change.
        user_code: bool,
        /// Whether it was killed because the node's memory ran out.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "core::ops::Not::not"))]
        out_of_memory: bool,
    },
    /// A node can be used.
    NodeJoined {
        /// The node's new number.
        node: NodeId,
        /// Its CPUs, GPUs, custom resources and heap.
        resources: Resources,
        /// The object-store bytes that this run may hold there.
        store: Bytes,
    },
    /// The run may use no more than this of a node, which it shares with others. What it holds beyond
    /// that it keeps until it is done with it.
    ShareChanged {
        /// The node.
        node: NodeId,
        /// Its CPUs, GPUs, custom resources and heap.
        resources: Resources,
        /// Its object-store bytes.
        store: Bytes,
    },
    /// A node will go; it gets no new work.
    NodeDraining {
        /// The node.
        node: NodeId,
    },
    /// A node is gone with all that was on it.
    NodeLost {
        /// The node.
        node: NodeId,
    },
    /// A block was lost on a live node. Of a block that the consumer was given, only the
    /// consumer says so, and then waits for [`Action::EmitBlock`] with as many rows in its place.
    BlockLost {
        /// The block.
        block: BlockId,
    },
    /// The consumer is done with a block.
    OutputTaken {
        /// The block.
        block: BlockId,
    },
    /// One of several consumers ([`OpKind::Split`](crate::OpKind::Split)) takes nothing more. Comes after
    /// all else that it reports.
    ConsumerGone {
        /// Which.
        consumer: u32,
    },
    /// News waited so long for this turn, since the driver was busy: from when the oldest of it had
    /// come. Comes with the news.
    TurnDelayed {
        /// How long.
        by: Span,
    },
    /// An open source has more units. They come in order, each once.
    SourceExtended {
        /// The source.
        op: OpId,
        /// How many units it had before: a page that comes twice changes nothing.
        first: u64,
        /// The units, one at least.
        units: Vec<Unit>,
    },
    /// An open source has no more units than those reported.
    SourceExhausted {
        /// The source.
        op: OpId,
    },
    /// Nothing but time.
    TimePassed,
    /// The run must end now: cancelled, failed, or the consumer has enough.
    StopRequested,
}

/// What happened to a task that did not end well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum TaskFailure {
    /// The user's code raised, or returned what it must not. Fails the run.
    UserCode,
    /// The worker process died under it. Counted against the task if it was running.
    WorkerDied,
    /// The worker says that it cannot work though its process lives: what it loaded is dead, or what its
    /// node gives it. Counted against the task unless its actor had failed the task before, too.
    WorkerBroken,
    /// The node's memory ran out and the task was killed for it. Counted only if it held no more heap
    /// than when it was killed before, or if the node's heap is not watched.
    OutOfMemory,
    /// It never ran: its actor or node went before its turn. Not counted.
    NotRun,
    /// It ended because of a [`Action::CancelTask`]. Not counted.
    Cancelled,
}

/// What a task works on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Work {
    /// Consecutive units of a source.
    Units {
        /// The first unit.
        first: u64,
        /// How many.
        count: u64,
    },
    /// A bundle of blocks, in order.
    Blocks(Vec<BlockId>),
    /// Parts of blocks, for each input of the operator and in order. All inputs have as many rows.
    Slices(Vec<Vec<Slice>>),
}

impl Work {
    /// The blocks that it reads.
    pub fn blocks(&self) -> impl Iterator<Item = BlockId> {
        let (whole, parts): (&[BlockId], &[Vec<Slice>]) = match self {
            Self::Units { .. } => (&[], &[]),
            Self::Blocks(blocks) => (blocks, &[]),
            Self::Slices(inputs) => (&[], inputs),
        };
        whole.iter().copied().chain(parts.iter().flatten().map(|slice| slice.block))
    }
}

/// Consecutive rows of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Slice {
    /// The block.
    pub block: BlockId,
    /// How many of its rows come before.
    pub first: Rows,
    /// How many rows.
    pub rows: Rows,
}

/// An order to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Action {
    /// Run a task.
    LaunchTask {
        /// The new attempt's number.
        task: TaskId,
        /// Its operator.
        op: OpId,
        /// Zero at first, then one more for each attempt at the same work.
        attempt: u32,
        /// Where.
        node: NodeId,
        /// On which actor; none for a stateless task.
        actor: Option<ActorId>,
        /// On what.
        work: Work,
        /// Rows of its output that an earlier attempt has handed over and this one must leave out.
        rows_skipped: Rows,
        /// Rows that it hands over after those, since they were lost; none: all.
        rows_wanted: Option<Rows>,
        /// Bytes that it may put into the object store. With a block that is larger than what is
        /// left of them it waits ([`Event::BlockReady`]) for [`Action::ResumeTask`].
        credit: Bytes,
        /// Heap that is reserved for it, or by its actor.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Bytes::is_zero"))]
        heap: Bytes,
    },
    /// Let a task put more into the object store.
    ResumeTask {
        /// The task.
        task: TaskId,
        /// How many more bytes.
        credit: Bytes,
    },
    /// End a task; answered by [`Event::TaskFailed`] or, if it was quicker, [`Event::TaskFinished`].
    CancelTask {
        /// The task.
        task: TaskId,
    },
    /// Start an actor and load its state.
    StartActor {
        /// The new actor's number.
        actor: ActorId,
        /// Its operator.
        op: OpId,
        /// Where.
        node: NodeId,
        /// Heap that is reserved for it.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Bytes::is_zero"))]
        heap: Bytes,
    },
    /// End an actor. It has no tasks, or tasks that are being cancelled.
    StopActor {
        /// The actor.
        actor: ActorId,
    },
    /// Give a block to the consumer; answered by [`Event::OutputTaken`], or by [`Event::BlockLost`]
    /// if it is gone.
    EmitBlock {
        /// The block.
        block: BlockId,
        /// The lost block whose rows, or some of them, it has.
        instead_of: Option<BlockId>,
        /// Which consumer, where there are several.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_zero"))]
        consumer: u32,
        /// Which of the rows of a split's input it has; of any other output it is the default.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "is_default"))]
        at: OutputPlace,
    },
    /// Forget a block: nobody will ask for it again.
    DropBlock {
        /// The block.
        block: BlockId,
    },
    /// List more units of an open source; answered by [`Event::SourceExtended`], by several if it must, until
    /// there are as many, or by [`Event::SourceExhausted`] before. More than that may come, as a listing
    /// has its own pages. One request at a time is under way for a source.
    ExtendSource {
        /// The source.
        op: OpId,
        /// The number of the first one, which is how many there are.
        first: u64,
        /// How many.
        units: u64,
    },
    /// All that follows from the units of an epoch has been written, or taken by the consumer, for good:
    /// make it count. Comes once for each epoch, in order, and never after a stop.
    CommitEpoch {
        /// The epoch.
        epoch: Epoch,
    },
    /// The run cannot go on. The driver raises an error and answers [`Event::StopRequested`].
    FailRun {
        /// The operator in which it happened.
        op: OpId,
        /// The task, if it was one.
        task: Option<TaskId>,
        /// Why.
        cause: FailCause,
    },
}

/// Why a run cannot go on. Its name is the variant's in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum FailCause {
    /// The user's code raised in a task.
    UserCode,
    /// The user's constructor raised in an actor.
    ActorUserCode,
    /// The worker of one task died at each of its attempts.
    TaskDeaths {
        /// How many.
        count: u32,
    },
    /// Actors of a pool died one after the other while they were loading.
    ActorDeaths {
        /// How many.
        count: u32,
    },
    /// Actors of a pool were given up one after the other, since they lived but failed their tasks.
    WorkersBroken {
        /// How many.
        count: u32,
    },
    /// Tasks or actors were killed for lack of memory, again and again, with no more heap to be had.
    OutOfMemory {
        /// How many times a task was, or actors in a row.
        count: u32,
        /// What was reserved for the last of them.
        reserved: Bytes,
        /// The largest heap of a node that could run it.
        largest: Bytes,
    },
    /// Rows were lost, and what had made them did not make them again.
    BlockLost {
        /// How many are missing.
        rows: Rows,
    },
    /// A block was said to be of a partition that the exchange does not have.
    NoSuchPartition {
        /// Which, counted from zero.
        partition: u32,
        /// How many there are.
        partitions: u32,
    },
    /// No node is left on which the operator could run.
    NodesGone,
    /// Inputs that are put side by side have different numbers of rows.
    RowsDiffer {
        /// The input that has ended.
        ended: u32,
        /// Its rows.
        rows: Rows,
        /// An input that has more rows.
        longer: u32,
        /// Those that it has so far.
        rows_longer: Rows,
        /// Whether it may have still more.
        is_open: bool,
    },
}

/// Whether an operator may launch its next task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Admit,
    /// It may not, because.
    Hold(Reason),
}

/// Why an operator launches nothing at present. Its name is the variant's in snake case.
#[derive(Clone, Debug, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
    /// All its input has been processed and all its output handed on.
    Done,
    /// No block waits for it.
    InputEmpty,
    /// Too few units for a task are known, and more are being listed.
    Listing {
        /// Units that wait.
        waiting: u64,
        /// Units that were asked for and have not come.
        awaited: u64,
    },
    /// Blocks wait, but not the next one in order.
    Order {
        /// Blocks that wait.
        blocks: u64,
    },
    /// Too few rows wait for a full batch.
    Bundling {
        /// Rows that wait.
        rows: Rows,
        /// Rows of a full batch.
        wanted: Rows,
    },
    /// No node has what a task needs.
    NoFreeSlot {
        /// What it needs.
        needs: Resources,
    },
    /// A node would have what a task or actor needs, but it is the share of other runs.
    ShareHeld {
        /// What it needs.
        needs: Resources,
    },
    /// Its own limit of tasks at a time is reached.
    ConcurrencyReached {
        /// The limit.
        limit: u32,
    },
    /// The last free slots are kept for operators further down.
    SlotReserved {
        /// The operator that they are kept for.
        by: OpId,
    },
    /// No node has the heap free that a task or actor of it is thought to need.
    HeapReserved {
        /// What it needs.
        needs: Bytes,
        /// The nodes that have all else that it needs free.
        nodes: u32,
    },
    /// The nodes that have what a task needs are left alone for a time, since its workers failed there.
    NodesQuarantined {
        /// How many are.
        nodes: u32,
    },
    /// No node has room for the output it may put out before it can be paused.
    MemoryReserved {
        /// The room it needs.
        needs: Bytes,
        /// The room that is free on the best node, less what is kept for operators further down.
        free: Bytes,
    },
    /// When its next task ends, there would not be room for what it puts out.
    MemoryAhead {
        /// What the task is expected to put out, beyond its input.
        needs: Bytes,
        /// The room that there is expected to be.
        room: Bytes,
    },
    /// The store is full of blocks that wait for the consumer.
    OutputFull {
        /// Bytes that wait.
        bytes: Bytes,
    },
    /// All consumers are to get equally many rows, and with the next block one would have too many.
    ConsumersUneven {
        /// Rows that wait.
        rows: Rows,
        /// Rows that must wait for it.
        wanted: Rows,
    },
    /// The operator after it has enough to do.
    DownstreamFed {
        /// Rows that wait there or are being made.
        rows: Rows,
        /// Rows that keep it busy.
        wanted: Rows,
    },
    /// All its actors have as many tasks as they take.
    ActorsBusy {
        /// Ready actors.
        actors: u32,
    },
    /// Its actors are loading.
    ActorStarting {
        /// How many.
        actors: u32,
    },
    /// The operator before it has not finished (bulk execution).
    UpstreamRunning,
    /// The map side of its exchange has not ended, and what that puts out waits until then.
    Barrier {
        /// Bytes that wait.
        bytes: Bytes,
        /// Those of them that are set aside, since the stores have no room for them.
        aside: Bytes,
    },
    /// What it puts out comes after what an input before it puts out, which has work to launch.
    EarlierInput {
        /// The source that comes first.
        first: OpId,
    },
    /// The rows on their way to a limit further down are all that it wants.
    LimitCovered {
        /// Rows on their way, as estimated.
        rows: Rows,
        /// Rows that the limit still wants.
        wanted: Rows,
    },
    /// A limit further down has all its rows.
    LimitReached {
        /// The limit.
        rows: Rows,
    },
    /// The run is ending.
    Stopping,
}

impl fmt::Display for Verdict {
    /// The reason of a hold; nothing for an admission.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admit => Ok(()),
            Self::Hold(reason) => reason.fmt(f),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => write!(f, "done"),
            Self::InputEmpty => write!(f, "waits for input"),
            Self::Listing { waiting, awaited } => {
                write!(f, "waits for its list: {waiting} units are there, {awaited} are awaited")
            }
            Self::Order { blocks } => write!(f, "{blocks} blocks wait for the next one in order"),
            Self::Bundling { rows, wanted } => {
                write!(f, "waits for a full batch: {} of {} rows", rows.0, wanted.0)
            }
            Self::NoFreeSlot { needs } => write!(f, "no node has {needs} free"),
            Self::ShareHeld { needs } => {
                write!(f, "needs {needs}, which is the share of other runs on the cluster")
            }
            Self::ConcurrencyReached { limit } => write!(f, "runs its limit of {limit} tasks"),
            Self::SlotReserved { by } => write!(f, "the last slots are kept for {by}"),
            Self::HeapReserved { needs, nodes } => {
                write!(f, "needs {needs} of heap, which none of {nodes} nodes with slots has free")
            }
            Self::NodesQuarantined { nodes } => {
                write!(
                    f,
                    "its workers kept failing on {nodes} nodes, which it leaves alone for a time"
                )
            }
            Self::MemoryReserved { needs, free } => {
                write!(f, "needs {needs} of object store, {free} is free")
            }
            Self::MemoryAhead { needs, room } => write!(
                f,
                "will need {needs} of object store when its next task ends, {room} will be free"
            ),
            Self::OutputFull { bytes } => write!(f, "{bytes} of output wait for the consumer"),
            Self::ConsumersUneven { rows, wanted } => write!(
                f,
                "{} of the {} rows wait with which each consumer could have equally many",
                rows.0, wanted.0
            ),
            Self::DownstreamFed { rows, wanted } => {
                write!(f, "the next operator has enough: {} of {} rows", rows.0, wanted.0)
            }
            Self::ActorsBusy { actors } => write!(f, "all {actors} actors are busy"),
            Self::ActorStarting { actors } => write!(f, "{actors} actors are loading"),
            Self::UpstreamRunning => write!(f, "waits for the operator before it to finish"),
            Self::Barrier { bytes, aside: Bytes::ZERO } => {
                write!(f, "waits for the end of the exchange's map side: {bytes} so far")
            }
            Self::Barrier { bytes, aside } => write!(
                f,
                "waits for the end of the exchange's map side: {bytes} so far, {aside} of them \
                 beyond what the stores have room for"
            ),
            Self::EarlierInput { first } => write!(f, "comes after {first}, which has work left"),
            Self::LimitCovered { rows, wanted } => {
                write!(f, "{} rows are on their way to a limit that wants {}", rows.0, wanted.0)
            }
            Self::LimitReached { rows } => write!(f, "the limit of {} rows is reached", rows.0),
            Self::Stopping => write!(f, "the run is ending"),
        }
    }
}

/// What is the default needs not be written down.
#[cfg(feature = "serde")]
fn is_default(place: &OutputPlace) -> bool {
    *place == OutputPlace::default()
}

/// What is zero needs not be written down.
#[cfg(feature = "serde")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}
