//! What each kind of operator means: what its tasks take, what passes it without one, what it wants of
//! the others, and when it is through.
//!
//! One file a kind. A new one is such a file with its [`Meaning`], and an entry in [`OpKind`]. Where and
//! when things run is for the policies.

mod actors;
pub(crate) mod exchange;
pub(crate) mod limit;
mod sink;
pub(crate) mod source;
pub(crate) mod split;
mod tasks;
mod union;
mod zip;

use alloc::vec::Vec;

use crate::operator::Operator;
use crate::plan::{OpSpec, PlanError, PoolSpec, Port, Unit};
use crate::policy::granularity::{self, Portion};
use crate::protocol::{OutputRows, Reason};
use crate::scheduler::Scheduler;
use crate::state::State;
use crate::units::{Bytes, OpId, Rows};

/// How an operator executes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OpKind {
    /// Tasks that make blocks out of source units.
    Source {
        /// The units, in the order of the rows; of an open source, those that are known at submit.
        units: Vec<Unit>,
        /// Whether more units are listed while it is read
        /// ([`Action::ExtendSource`](crate::Action::ExtendSource)).
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "core::ops::Not::not"))]
        is_open: bool,
    },
    /// Stateless tasks over bundles of blocks.
    Tasks,
    /// Tasks on a pool of actors, each with its loaded state.
    Actors(PoolSpec),
    /// Passes on the first rows of its input, and ends the operators above when it has them. Blocks
    /// pass as they are; a task cuts the one in which the limit falls.
    Limit {
        /// How many rows.
        rows: Rows,
    },
    /// Passes on the blocks of its inputs: in order, those of one input after those of the one
    /// before; else as they come. It runs no tasks.
    Union,
    /// Stateless tasks over rows of all its inputs, put side by side. The inputs are in order and
    /// must have equally many rows.
    Zip,
    /// Stateless tasks that write the blocks of its input to where they are to stay: the last operator.
    /// What they put out is small, reports of what they wrote, or nothing. An attempt writes beside
    /// what is there; what it wrote counts once its task has finished and, with reports, these have
    /// reached the consumer.
    Sink,
    /// The map side of an exchange: stateless tasks over bundles of blocks that deal out their rows.
    /// Each puts out the rows of the first partition, then those of the second, and so on, and says
    /// of each block which it is of. A [`Gather`](Self::Gather) reads it.
    Scatter {
        /// How many partitions.
        partitions: u32,
    },
    /// The reduce side: one stateless task for each partition that has any blocks, over its blocks of
    /// all tasks of the [`Scatter`](Self::Scatter) that it reads, in the order of these. The first one
    /// begins when the scatter has ended; what they put out is in the order of the partitions.
    Gather,
    /// Gives each block of its input to one of several consumers: the last operator. It runs no tasks,
    /// except what is left at the end where all are to get equally many rows.
    Split {
        /// How many consumers.
        consumers: u32,
        /// Whether all get exactly as many rows. What is left over is dropped.
        equal: bool,
        /// Rows that consumers leave out, since an earlier run has given them: apart from each other,
        /// in order. Their blocks come as all others, but they count as no row.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
        left_out: Vec<OutputRows>,
    },
}

impl OpKind {
    /// Whether it makes blocks out of units.
    #[must_use]
    pub const fn is_source(&self) -> bool {
        matches!(self, Self::Source { .. })
    }

    /// What it means.
    pub(crate) const fn meaning(&self) -> &'static dyn Meaning {
        match self {
            Self::Source { .. } => &source::Source,
            Self::Tasks => &tasks::Tasks,
            Self::Actors(_) => &actors::Actors,
            Self::Limit { .. } => &limit::Limit,
            Self::Union => &union::Union,
            Self::Zip => &zip::Zip,
            Self::Sink => &sink::Sink,
            Self::Scatter { .. } => &exchange::Scatter,
            Self::Gather => &exchange::Gather,
            Self::Split { .. } => &split::Split,
        }
    }
}

/// How many operators one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inputs {
    None,
    One,
    Several,
}

/// What the rest of the core asks of a kind. Without an answer of its own, it is one of tasks over bundles
/// of blocks.
pub(crate) trait Meaning {
    fn inputs(&self) -> Inputs {
        Inputs::One
    }

    /// Refuses an operator that can never run, whatever is around it.
    fn check(&self, _op: &OpSpec, _is_last: bool) -> Result<(), PlanError> {
        Ok(())
    }

    /// Refuses one that does not fit those that it reads or that read it.
    fn check_neighbours(&self, _ops: &[OpSpec], _position: usize) -> Result<(), PlanError> {
        Ok(())
    }

    /// Whether a block that it puts out may be of several epochs.
    fn brings_units_together(&self) -> bool {
        false
    }

    /// Whether blocks pass without a task, all or nearly all of them.
    fn passes_blocks(&self) -> bool {
        false
    }

    /// Whether it may put out more or fewer rows than it reads.
    fn changes_rows(&self) -> bool {
        true
    }

    /// Whether, in order, all rows of one input come before those of the next.
    fn reads_in_turn(&self) -> bool {
        false
    }

    /// Whether it puts rows of its inputs side by side, so that the place of each counts.
    fn puts_side_by_side(&self) -> bool {
        false
    }

    /// Whether it begins nothing before all its input is there.
    fn is_barrier(&self) -> bool {
        false
    }

    /// Whether what it puts out waits behind a barrier.
    fn fills_barrier(&self) -> bool {
        false
    }

    /// Whether it works on parts of blocks, those of each input in order.
    fn cuts_blocks(&self) -> bool {
        false
    }

    /// Whether its tasks may take any of the blocks that wait where no order is preserved.
    fn takes_any_blocks(&self) -> bool {
        false
    }

    /// Whether it ever runs tasks, which need room.
    fn may_run_tasks(&self, _op: &OpSpec) -> bool {
        true
    }

    /// Whether what it puts out is cut into blocks of the target size.
    fn fills_blocks(&self) -> bool {
        false
    }

    /// The size of its blocks before one is known, where `usual` is that of most operators.
    fn block_bytes_assumed(&self, usual: Bytes) -> Bytes {
        usual
    }

    /// Whether what comes through a port waits for the progress of another input.
    fn goes_before(&self, _state: &State, _port: Port, _other: usize) -> bool {
        false
    }

    /// The next portion, or why there is none. With `anything` it may be a partial batch, and is one batch
    /// at most.
    fn portion(&self, state: &State, op: OpId, anything: bool) -> Result<Portion, Reason> {
        granularity::blocks_portion(state, op, anything)
    }

    /// Sets what an operator has from the start.
    fn begin(&self, _spec: &OpSpec, _operator: &mut Operator) {}

    /// Lets blocks pass for which it needs no task, and fails the run if what has come may not be.
    fn advance(&self, _scheduler: &mut Scheduler, _op: OpId) {}

    /// Notes that a task is to take this portion of its input.
    fn note_portion(&self, _scheduler: &mut Scheduler, _op: OpId, _portion: Portion) {}

    /// Does what follows as soon as a task of it is launched.
    fn note_launch(&self, _scheduler: &mut Scheduler, _op: OpId) {}
}
