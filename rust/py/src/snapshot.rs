//! Snapshots as Python classes.
//!
//! Owns their conversion. What the numbers mean is documented in the core and in `_core.pyi`.

use std::collections::BTreeMap;

use millstream_core as core;
use pyo3::prelude::*;

use crate::details::{self, Details};
use crate::numbers::float;
use crate::times::{Finding, Times, constraint};

/// One operator at a moment.
#[pyclass(frozen, get_all, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct OpSnapshot {
    name: String,
    state: &'static str,
    reason: Option<&'static str>,
    details: Details,
    tasks_running: u64,
    tasks_paused: u64,
    tasks_finished: u64,
    tasks_failed: u64,
    tasks_retried: u64,
    tasks_preempted: u64,
    actors_starting: u64,
    actors_ready: u64,
    actors_started: u64,
    actors_lost: u64,
    actors_given_up: u64,
    nodes_quarantined: Vec<u32>,
    quarantines: u64,
    queued_blocks: u64,
    queued_rows: u64,
    queued_bytes: u64,
    rows_in: u64,
    rows_out: u64,
    blocks_out: u64,
    bytes_out: u64,
    blocks_lost: u64,
    blocks_remade: u64,
    is_source: bool,
    units_total: u64,
    is_listing: bool,
    units_done: u64,
    busy_us: u64,
    heap_peak_bytes: u64,
    heap_each_bytes: u64,
    memory_kills: u64,
    store_used: u64,
    store_reserved: u64,
    times: Times,
    held_us: BTreeMap<&'static str, u64>,
    constraints_us: BTreeMap<&'static str, u64>,
}

#[pymethods]
impl OpSnapshot {
    fn __repr__(&self) -> String {
        let reason = self.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        format!("<OpSnapshot {:?} {}{reason}>", self.name, self.state)
    }
}

impl From<core::OpSnapshot> for OpSnapshot {
    fn from(op: core::OpSnapshot) -> Self {
        let held = match &op.verdict {
            core::Verdict::Admit => None,
            core::Verdict::Hold(reason) => Some(reason),
        };
        Self {
            name: op.name,
            state: match op.state {
                core::OpState::Running => "running",
                core::OpState::Waiting => "waiting",
                core::OpState::Done => "done",
            },
            reason: held.map(Into::into),
            details: held.map(details::of_reason).unwrap_or_default(),
            tasks_running: op.tasks_running,
            tasks_paused: op.tasks_paused,
            tasks_finished: op.tasks_finished,
            tasks_failed: op.tasks_failed,
            tasks_retried: op.tasks_retried,
            tasks_preempted: op.tasks_preempted,
            actors_starting: op.actors_starting,
            actors_ready: op.actors_ready,
            actors_started: op.actors_started,
            actors_lost: op.actors_lost,
            actors_given_up: op.actors_given_up,
            nodes_quarantined: op.nodes_quarantined.iter().map(|node| node.0).collect(),
            quarantines: op.quarantines,
            queued_blocks: op.queued_blocks,
            queued_rows: op.queued_rows,
            queued_bytes: op.queued_bytes.0,
            rows_in: op.rows_in,
            rows_out: op.rows_out,
            blocks_out: op.blocks_out,
            bytes_out: op.bytes_out.0,
            blocks_lost: op.blocks_lost,
            blocks_remade: op.blocks_remade,
            is_source: op.is_source,
            units_total: op.units_total,
            is_listing: op.is_listing,
            units_done: op.units_done,
            busy_us: op.busy.0,
            heap_peak_bytes: op.heap_peak.0,
            heap_each_bytes: op.heap_each.0,
            memory_kills: op.memory_kills,
            store_used: op.store_used.0,
            store_reserved: op.store_reserved.0,
            times: Times::of_workers(&op.times),
            held_us: op.held.into_iter().map(|(name, span)| (name, span.0)).collect(),
            constraints_us: op
                .constraints
                .iter()
                .map(|(c, span)| (constraint(*c), span.0))
                .collect(),
        }
    }
}

/// One node at a moment.
#[pyclass(frozen, get_all, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct NodeSnapshot {
    node: u32,
    cpu_total: f64,
    cpu_used: f64,
    gpu_total: f64,
    gpu_used: f64,
    store_total: u64,
    store_used: u64,
    store_aside: u64,
    store_reserved: u64,
    store_peak: u64,
    heap_total: u64,
    heap_reserved: u64,
}

#[pymethods]
impl NodeSnapshot {
    fn __repr__(&self) -> String {
        format!(
            "<NodeSnapshot {}: {}/{} CPU, {}/{} GPU, {}/{} B>",
            self.node,
            self.cpu_used,
            self.cpu_total,
            self.gpu_used,
            self.gpu_total,
            self.store_used,
            self.store_total,
        )
    }
}

impl From<core::NodeSnapshot> for NodeSnapshot {
    fn from(node: core::NodeSnapshot) -> Self {
        Self {
            node: node.node.0,
            cpu_total: float(node.cpu_total),
            cpu_used: float(node.cpu_used),
            gpu_total: float(node.gpu_total),
            gpu_used: float(node.gpu_used),
            store_total: node.store_total.0,
            store_used: node.store_used.0,
            store_aside: node.store_aside.0,
            store_reserved: node.store_reserved.0,
            store_peak: node.store_used_peak.0,
            heap_total: node.heap_total.0,
            heap_reserved: node.heap_reserved.0,
        }
    }
}

/// A run at a moment: all that progress, statistics and reports read.
#[pyclass(frozen, get_all, eq, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Snapshot {
    ops: Vec<OpSnapshot>,
    nodes: Vec<NodeSnapshot>,
    stale_events: u64,
    overshoots: u64,
    heap_overshoots: u64,
    bytes_set_aside: u64,
    consumer_rows: Vec<u64>,
    rows_dropped: u64,
    output_rows: u64,
    output_blocks: u64,
    epochs_committed: u64,
    output_bytes: u64,
    blocks: u64,
    elapsed_us: u64,
    cpu_times: Times,
    gpu_times: Times,
    driver_delay_us: u64,
    bottleneck: Option<Finding>,
}

#[pymethods]
impl Snapshot {
    fn __repr__(&self) -> String {
        let ops: Vec<String> = self.ops.iter().map(OpSnapshot::__repr__).collect();
        format!("<Snapshot {} rows out, [{}]>", self.output_rows, ops.join(", "))
    }
}

impl From<core::Snapshot> for Snapshot {
    fn from(snapshot: core::Snapshot) -> Self {
        let bottleneck = snapshot.bottleneck().map(Into::into);
        Self {
            ops: snapshot.ops.into_iter().map(Into::into).collect(),
            nodes: snapshot.nodes.into_iter().map(Into::into).collect(),
            stale_events: snapshot.stale_events,
            overshoots: snapshot.overshoots,
            heap_overshoots: snapshot.heap_overshoots,
            bytes_set_aside: snapshot.bytes_set_aside.0,
            consumer_rows: snapshot.consumer_rows,
            rows_dropped: snapshot.rows_dropped,
            output_rows: snapshot.output_rows,
            output_blocks: snapshot.output_blocks,
            epochs_committed: snapshot.epochs_committed,
            output_bytes: snapshot.output_bytes.0,
            blocks: snapshot.blocks,
            elapsed_us: snapshot.elapsed.0,
            cpu_times: Times::of_slots(&snapshot.cpu_times),
            gpu_times: Times::of_slots(&snapshot.gpu_times),
            driver_delay_us: snapshot.driver_delay.0,
            bottleneck,
        }
    }
}
