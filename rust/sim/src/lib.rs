//! The millstream scheduler on a virtual clock: seeded faults, oracles, record and replay.
//!
//! The simulator is a driver like any other: it feeds events to a [`Scheduler`] and performs its
//! actions, on workers, stores and a consumer that exist as numbers only. One seed decides
//! everything.
//!
//! [`Scheduler`]: millstream_core::Scheduler

pub mod baselines;
pub mod checker;
pub mod cluster;
pub mod clusters;
pub mod cost;
pub mod description;
pub mod faults;
mod laptop;
pub mod learn;
pub mod listing;
pub mod published;
pub mod random;
pub mod recorded;
pub mod rows;
pub mod scale;
pub mod shared;
pub mod shrink;
pub mod simulation;
pub mod spread;
pub mod swarm;
pub mod timeline;
pub mod tiny;
pub mod trace;
pub mod variants;
pub mod variation;
pub mod workload;
