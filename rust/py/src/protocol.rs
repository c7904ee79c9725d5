//! Events and actions as Python classes.
//!
//! Owns the conversion between these and the core's. Knows nothing of their meaning.

use millstream_core as core;
use millstream_core::{ActorId, BlockId, Bytes, NodeId, OpId, Rows, Span, TaskFailure, TaskId};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::details::{self, Details};
use crate::plan::{Node, units};

/// A fact that a driver reports; each kind is a class of its own, for `isinstance` and `match`.
#[pyclass(frozen, eq, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) enum Event {
    /// A task handed over its next block, using up credit of as many bytes.
    ///
    /// `partition`: that of its rows, if a scatter made it.
    #[pyo3(constructor = (task, block, rows, bytes, node, partition=0))]
    BlockProduced { task: u64, block: u64, rows: u64, bytes: u64, node: u32, partition: u32 },
    /// A task waits with a finished block that is larger than its credit.
    BlockReady { task: u64, ordinal: u32, bytes: u64 },
    /// A task ended well; all its blocks have been reported before.
    #[pyo3(constructor = (task, busy_us, heap_peak_bytes=0))]
    TaskFinished { task: u64, busy_us: u64, heap_peak_bytes: u64 },
    /// A task ended badly, or was cancelled.
    TaskFailed { task: u64, failure: Failure },
    /// An actor has loaded and takes tasks.
    ActorReady { actor: u64, node: u32, load_us: u64 },
    /// An actor is gone. Report it before the failures of its tasks.
    #[pyo3(constructor = (actor, user_code=false, out_of_memory=false))]
    ActorLost { actor: u64, user_code: bool, out_of_memory: bool },
    /// A node can be used.
    NodeJoined { node: Node },
    /// The run may use no more than this of a node, which it shares with other runs.
    ShareChanged { share: Node },
    /// A node will go; it gets no new work.
    NodeDraining { node: u32 },
    /// A node is gone with all that was on it.
    NodeLost { node: u32 },
    /// A block is gone though its node is not.
    BlockLost { block: u64 },
    /// The consumer is done with a block that it got by `Action.EmitBlock`.
    OutputTaken { block: u64 },
    /// One of several consumers takes nothing more; comes after all else that it reports.
    ConsumerGone { consumer: u32 },
    /// News waited so long for this turn, since the driver was busy. Comes with the news.
    TurnDelayed { by_us: u64 },
    /// An open source has more units. They come in order, each once.
    SourceExtended { op: u32, first: u64, unit_bytes: Vec<u64> },
    /// An open source has no more units than those reported.
    SourceExhausted { op: u32 },
    /// Nothing but time.
    TimePassed {},
    /// The run must end now: cancelled, failed, or the consumer has enough.
    StopRequested {},
}

#[pymethods]
impl Event {
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr("Event", slf.as_any())
    }
}

impl Event {
    pub(crate) fn to_core(&self) -> core::Event {
        match self {
            &Self::BlockProduced { task, block, rows, bytes, node, partition } => {
                core::Event::BlockProduced {
                    task: TaskId(task),
                    block: BlockId(block),
                    rows: Rows(rows),
                    bytes: Bytes(bytes),
                    node: NodeId(node),
                    partition,
                }
            }
            &Self::BlockReady { task, ordinal, bytes } => {
                core::Event::BlockReady { task: TaskId(task), ordinal, bytes: Bytes(bytes) }
            }
            &Self::TaskFinished { task, busy_us, heap_peak_bytes } => core::Event::TaskFinished {
                task: TaskId(task),
                busy: Span(busy_us),
                heap_peak: Bytes(heap_peak_bytes),
            },
            &Self::TaskFailed { task, failure } => {
                core::Event::TaskFailed { task: TaskId(task), failure: failure.0 }
            }
            &Self::ActorReady { actor, node, load_us } => core::Event::ActorReady {
                actor: ActorId(actor),
                node: NodeId(node),
                load: Span(load_us),
            },
            &Self::ActorLost { actor, user_code, out_of_memory } => {
                core::Event::ActorLost { actor: ActorId(actor), user_code, out_of_memory }
            }
            Self::NodeJoined { node } => core::Event::NodeJoined {
                node: node.id,
                resources: node.resources.clone(),
                store: node.store,
            },
            Self::ShareChanged { share } => core::Event::ShareChanged {
                node: share.id,
                resources: share.resources.clone(),
                store: share.store,
            },
            &Self::NodeDraining { node } => core::Event::NodeDraining { node: NodeId(node) },
            &Self::NodeLost { node } => core::Event::NodeLost { node: NodeId(node) },
            &Self::BlockLost { block } => core::Event::BlockLost { block: BlockId(block) },
            &Self::OutputTaken { block } => core::Event::OutputTaken { block: BlockId(block) },
            &Self::ConsumerGone { consumer } => core::Event::ConsumerGone { consumer },
            &Self::TurnDelayed { by_us } => core::Event::TurnDelayed { by: Span(by_us) },
            Self::SourceExtended { op, first, unit_bytes } => core::Event::SourceExtended {
                op: OpId(*op),
                first: *first,
                units: units(unit_bytes.iter().copied()),
            },
            &Self::SourceExhausted { op } => core::Event::SourceExhausted { op: OpId(op) },
            Self::TimePassed {} => core::Event::TimePassed,
            Self::StopRequested {} => core::Event::StopRequested,
        }
    }
}

/// An order to the driver; each kind is a class of its own, for `isinstance` and `match`.
#[pyclass(frozen, eq, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) enum Action {
    /// Run a task.
    #[pyo3(constructor = (
        task, op, attempt, node, actor, first_unit, unit_count, blocks, slices, rows_skipped,
        rows_wanted, credit, heap=0,
    ))]
    LaunchTask {
        task: u64,
        op: u32,
        attempt: u32,
        node: u32,
        actor: Option<u64>,
        first_unit: Option<u64>,
        unit_count: u64,
        blocks: Vec<u64>,
        slices: Option<Vec<Vec<(u64, u64, u64)>>>,
        rows_skipped: u64,
        rows_wanted: Option<u64>,
        credit: u64,
        heap: u64,
    },
    /// Let a task hand over `credit` more bytes.
    ResumeTask { task: u64, credit: u64 },
    /// End a task; answered by `TaskFailed("cancelled")`, or by its end if it was quicker.
    CancelTask { task: u64 },
    /// Start an actor of the operator `op` on `node` and load its state.
    #[pyo3(constructor = (actor, op, node, heap=0))]
    StartActor { actor: u64, op: u32, node: u32, heap: u64 },
    /// End an actor. It has no tasks, or tasks that are being cancelled. Needs no answer.
    StopActor { actor: u64 },
    /// Give a block to the consumer.
    ///
    /// Answered by `Event.OutputTaken`, or by `Event.BlockLost` if it is gone. `instead_of`: the lost
    /// block whose rows, or some of them, it has. `consumer`: which one, where there are several. `row`:
    /// the number of its first row among all that come to a split; `epoch`: its epoch, and `epoch_row`:
    /// the number of the first row of this.
    #[pyo3(constructor = (block, instead_of = None, consumer = 0, row = 0, epoch = 0, epoch_row = 0))]
    EmitBlock {
        block: u64,
        instead_of: Option<u64>,
        consumer: u32,
        row: u64,
        epoch: u32,
        epoch_row: u64,
    },
    /// Forget a block: nobody will ask for it again.
    DropBlock { block: u64 },
    /// List more units of an open source.
    ///
    /// Answered by `Event.SourceExtended`, by several if it must, until there are as many, or by
    /// `Event.SourceExhausted` before. More than that may come.
    ExtendSource { op: u32, first: u64, units: u64 },
    /// All that follows from the units of an epoch is written, or taken, for good.
    CommitEpoch { epoch: u32 },
    /// The run cannot go on. The driver raises an error and answers `Event.StopRequested`.
    FailRun { op: u32, task: Option<u64>, cause: String, details: Details },
}

#[pymethods]
impl Action {
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr("Action", slf.as_any())
    }
}

impl From<core::Action> for Action {
    fn from(action: core::Action) -> Self {
        match action {
            core::Action::LaunchTask {
                task,
                op,
                attempt,
                node,
                actor,
                work,
                rows_skipped,
                rows_wanted,
                credit,
                heap,
            } => {
                let blocks = work.blocks().map(|block| block.0).collect();
                let (first_unit, unit_count, slices) = match work {
                    core::Work::Units { first, count } => (Some(first), count, None),
                    core::Work::Blocks(_) => (None, 0, None),
                    core::Work::Slices(inputs) => (None, 0, Some(slices(&inputs))),
                };
                Self::LaunchTask {
                    task: task.0,
                    op: op.0,
                    attempt,
                    node: node.0,
                    actor: actor.map(|actor| actor.0),
                    first_unit,
                    unit_count,
                    blocks,
                    slices,
                    rows_skipped: rows_skipped.0,
                    rows_wanted: rows_wanted.map(|rows| rows.0),
                    credit: credit.0,
                    heap: heap.0,
                }
            }
            core::Action::ResumeTask { task, credit } => {
                Self::ResumeTask { task: task.0, credit: credit.0 }
            }
            core::Action::CancelTask { task } => Self::CancelTask { task: task.0 },
            core::Action::StartActor { actor, op, node, heap } => {
                Self::StartActor { actor: actor.0, op: op.0, node: node.0, heap: heap.0 }
            }
            core::Action::StopActor { actor } => Self::StopActor { actor: actor.0 },
            core::Action::EmitBlock { block, instead_of, consumer, at } => Self::EmitBlock {
                block: block.0,
                instead_of: instead_of.map(|lost| lost.0),
                consumer,
                row: at.row,
                epoch: at.epoch.0,
                epoch_row: at.epoch_row,
            },
            core::Action::DropBlock { block } => Self::DropBlock { block: block.0 },
            core::Action::ExtendSource { op, first, units } => {
                Self::ExtendSource { op: op.0, first, units }
            }
            core::Action::CommitEpoch { epoch } => Self::CommitEpoch { epoch: epoch.0 },
            core::Action::FailRun { op, task, cause } => Self::FailRun {
                op: op.0,
                task: task.map(|task| task.0),
                cause: <&str>::from(cause).to_owned(),
                details: details::of_cause(cause),
            },
        }
    }
}

/// What happened to a task, as a string in Python.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Failure(TaskFailure);

impl Failure {
    const NAMES: [(&'static str, TaskFailure); 6] = [
        ("user_code", TaskFailure::UserCode),
        ("worker_died", TaskFailure::WorkerDied),
        ("worker_broken", TaskFailure::WorkerBroken),
        ("out_of_memory", TaskFailure::OutOfMemory),
        ("not_run", TaskFailure::NotRun),
        ("cancelled", TaskFailure::Cancelled),
    ];
}

impl<'py> FromPyObject<'_, 'py> for Failure {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let name: String = object.extract()?;
        let found = Self::NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, failure)| Self(*failure)).ok_or_else(|| {
            let known: Vec<&str> = Self::NAMES.iter().map(|(known, _)| *known).collect();
            PyValueError::new_err(format!("failure must be one of {known:?}, not {name:?}"))
        })
    }
}

impl<'py> IntoPyObject<'py> for Failure {
    type Target = PyString;
    type Output = Bound<'py, PyString>;
    type Error = std::convert::Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Self::Error> {
        let (name, _) = Self::NAMES
            .iter()
            .find(|(_, failure)| *failure == self.0)
            .expect("because the table has every failure");
        Ok(PyString::intern(py, name))
    }
}

/// Each part as its block, its first row and its rows.
fn slices(inputs: &[Vec<core::Slice>]) -> Vec<Vec<(u64, u64, u64)>> {
    let slice = |slice: &core::Slice| (slice.block.0, slice.first.0, slice.rows.0);
    inputs.iter().map(|input| input.iter().map(slice).collect()).collect()
}

/// `Event.TaskFailed(task=1, failure='not_run')`: the class, and each field by its name.
pub(crate) fn repr(class: &str, object: &Bound<'_, PyAny>) -> PyResult<String> {
    let names: Vec<String> = object.getattr("__match_args__")?.extract()?;
    let fields: Vec<String> = names
        .iter()
        .map(|name| Ok(format!("{name}={}", object.getattr(name.as_str())?.repr()?)))
        .collect::<PyResult<_>>()?;
    let variant = object.get_type().qualname()?;
    let variant = variant.to_string();
    let variant = variant.rsplit(['.', '_']).next().unwrap_or(class);
    Ok(format!("{class}.{variant}({})", fields.join(", ")))
}
