//! The millstream scheduler: a pure, deterministic state machine.
//!
//! It decides what runs where and when, and nothing else. It knows no clock, thread, random number,
//! environment, log, file or socket, and nothing of Ray, Arrow or Python. Time is an argument.
//!
//! The contract: any number of [`Scheduler::handle`] with one `now`, then [`Scheduler::poll_action`]
//! until there is none, then [`Scheduler::next_wakeup`]. Time never goes back. The same plan, nodes
//! and events give the same actions, byte for byte.
//!
//! ```
//! use millstream_core::{
//!     Action, Config, Event, NodeId, OpKind, OpSpec, Plan, Resources, Rows, Bytes, Scheduler, Slots,
//!     Time, Unit,
//! };
//!
//! let read = OpSpec {
//!     name: "Read".into(),
//!     inputs: vec![],
//!     kind: OpKind::Source { units: vec![Unit::default()], is_open: false },
//!     resources: Resources::cpu(Slots::whole(1)),
//!     concurrency_max: 0,
//!     bundle_rows_min: Rows::ZERO,
//! };
//! let plan = Plan::new(vec![read], Config::default())?;
//! let node = (NodeId(0), Resources::cpu(Slots::whole(2)), Bytes(1 << 30));
//! let mut scheduler = Scheduler::submit(plan, vec![node])?;
//! scheduler.handle(Time(0), Event::TimePassed);
//! assert!(matches!(scheduler.poll_action(), Some(Action::LaunchTask { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
// A refusal is made at most once a run.
#![allow(clippy::result_large_err)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arbiter;
mod attribution;
mod bottleneck;
mod constraint;
mod estimate;
mod ledger;
mod line;
mod lineage;
mod live;
mod operator;
mod operators;
mod plan;
mod policy;
mod pool;
mod protocol;
mod quarantine;
mod queue;
mod resources;
mod scheduler;
mod snapshot;
mod state;
mod table;
mod units;

pub use arbiter::{Arbiter, Demand, RunId, Seat, Standing};
pub use attribution::{Activity, Times};
pub use bottleneck::{Bottleneck, Finding};
pub use constraint::Constraint;
pub use operators::OpKind;
pub use plan::{Config, Execution, OpSpec, Plan, PlanError, PoolSpec, Unit};
pub use protocol::{
    Action, Event, FailCause, OutputPlace, OutputRows, Reason, Slice, TaskFailure, Verdict, Work,
};
pub use resources::Resources;
pub use scheduler::Scheduler;
pub use snapshot::{NodeSnapshot, OpSnapshot, OpState, Snapshot};
pub use state::SubmitError;
pub use units::{ActorId, BlockId, Bytes, Epoch, NodeId, OpId, Rows, Slots, Span, TaskId, Time};
