//! What the outside may know of a run: counters, bytes and the present verdict of each operator.
//!
//! Progress, statistics, metrics and reports read this and nothing else.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::attribution::{Attribution, Times};
use crate::constraint::Constraint;
use crate::policy::admission;
use crate::protocol::Verdict;
use crate::queue::InputQueue;
use crate::state::State;
use crate::units::{Bytes, NodeId, OpId, Slots, Span};

/// The phase an operator is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpState {
    /// Something runs.
    Running,
    /// Nothing runs; the verdict says why.
    Waiting,
    /// Final.
    Done,
}

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpSnapshot {
    /// Its name in the plan.
    pub name: String,
    /// Its phase.
    pub state: OpState,
    /// Why it launches nothing at present, or that it could.
    pub verdict: Verdict,
    /// Tasks that run.
    pub tasks_running: u64,
    /// Tasks that wait for room to hand over a block.
    pub tasks_paused: u64,
    /// Tasks that ended well.
    pub tasks_finished: u64,
    /// Attempts that ended badly.
    pub tasks_failed: u64,
    /// Attempts after the first.
    pub tasks_retried: u64,
    /// Paused tasks that were cancelled to free their slots, and run again later.
    pub tasks_preempted: u64,
    /// Actors that are loading.
    pub actors_starting: u64,
    /// Actors that take tasks.
    pub actors_ready: u64,
    /// Actors started since the beginning.
    pub actors_started: u64,
    /// Actors that died.
    pub actors_lost: u64,
    /// Actors that were stopped, since they lived but failed their tasks.
    pub actors_given_up: u64,
    /// Nodes that get no work of it at present, since its workers kept failing there.
    pub nodes_quarantined: Vec<NodeId>,
    /// How often it began to leave a node alone for that.
    pub quarantines: u64,
    /// Blocks that wait for it.
    pub queued_blocks: u64,
    /// Rows that wait for it.
    pub queued_rows: u64,
    /// Bytes that wait for it.
    pub queued_bytes: Bytes,
    /// Rows that its finished tasks consumed.
    pub rows_in: u64,
    /// Rows that it put out.
    pub rows_out: u64,
    /// Blocks that it put out.
    pub blocks_out: u64,
    /// Bytes that it put out.
    pub bytes_out: Bytes,
    /// Blocks of its output that were lost.
    pub blocks_lost: u64,
    /// Blocks that it made in their place.
    pub blocks_remade: u64,
    /// Whether it is a source.
    pub is_source: bool,
    /// Units of a source, as far as they are known.
    pub units_total: u64,
    /// Whether more units of it may be listed.
    pub is_listing: bool,
    /// Units of a source that are done.
    pub units_done: u64,
    /// Time its finished tasks worked.
    pub busy: Span,
    /// The largest resident memory of one of its workers.
    pub heap_peak: Bytes,
    /// Heap that each of its tasks or actors is thought to need now; zero where it is not watched.
    pub heap_each: Bytes,
    /// Workers of it that were killed since a node's memory ran out.
    pub memory_kills: u64,
    /// Bytes of its output that exist now.
    pub store_used: Bytes,
    /// Bytes promised to its tasks now.
    pub store_reserved: Bytes,
    /// CPUs that each of its tasks or actors holds.
    pub cpu_each: Slots,
    /// GPUs that each of its tasks or actors holds.
    pub gpu_each: Slots,
    /// The time of its workers, in workers times microseconds.
    pub times: Times,
    /// For how long it launched nothing for which reason, by the name of the
    /// [`Reason`](crate::Reason) in words with underscores.
    pub held: BTreeMap<&'static str, Span>,
    /// For how long it was the operator that kept the run from being faster, by what it lacked.
    pub constraints: BTreeMap<Constraint, Span>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// Which.
    pub node: NodeId,
    /// Its CPUs.
    pub cpu_total: Slots,
    /// CPUs that tasks and actors of the run hold.
    pub cpu_used: Slots,
    /// Its GPUs.
    pub gpu_total: Slots,
    /// GPUs that tasks and actors of the run hold.
    pub gpu_used: Slots,
    /// Bytes that the run may hold there.
    pub store_total: Bytes,
    /// Bytes of blocks that lie there.
    pub store_used: Bytes,
    /// Those of them that wait behind the barrier of an exchange, or are read there, and were set aside,
    /// since the store has no room for them: what the run may hold beyond it.
    pub store_aside: Bytes,
    /// Bytes promised there.
    pub store_reserved: Bytes,
    /// The most that ever lay there.
    pub store_used_peak: Bytes,
    /// Its heap; zero: it is not watched.
    pub heap_total: Bytes,
    /// Heap that tasks and actors of the run hold.
    pub heap_reserved: Bytes,
}

/// A run at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The operators, in the order of the flow.
    pub ops: Vec<OpSnapshot>,
    /// The nodes.
    pub nodes: Vec<NodeSnapshot>,
    /// Events of dead attempts and unknown things, which changed nothing.
    pub stale_events: u64,
    /// Launches and resumptions that were let pass the memory limit, since nothing else could run.
    pub overshoots: u64,
    /// Tasks and actors that were started with less heap than they are thought to need, since nothing
    /// else could run.
    pub heap_overshoots: u64,
    /// Bytes that were ever set aside at a barrier, beyond what the stores have room for.
    pub bytes_set_aside: Bytes,
    /// Rows given to the consumer.
    pub output_rows: u64,
    /// Blocks given to the consumer.
    pub output_blocks: u64,
    /// Rows that each of several consumers was given, or is meant to get.
    pub consumer_rows: Vec<u64>,
    /// Rows that none of several consumers got, or that one had not taken when it went.
    pub rows_dropped: u64,
    /// Epochs that were committed.
    pub epochs_committed: u64,
    /// Bytes that wait for or are with the consumer.
    pub output_bytes: Bytes,
    /// Blocks that exist.
    pub blocks: u64,
    /// How long the run has gone on, up to the last event.
    pub elapsed: Span,
    /// The time of all CPUs, free ones too, in 1/10000 of a CPU times microseconds.
    pub cpu_times: Times,
    /// The time of all GPUs, likewise.
    pub gpu_times: Times,
    /// For how long news waited for the driver.
    pub driver_delay: Span,
}

pub(crate) fn take(state: &State, attribution: &Attribution) -> Snapshot {
    let (cpu_times, gpu_times) = attribution.slot_times(state);
    let split = state.split.as_ref();
    Snapshot {
        ops: state.op_ids().map(|op| op_snapshot(state, attribution, op)).collect(),
        nodes: node_snapshots(state),
        stale_events: state.stale_events,
        overshoots: state.overshoots,
        heap_overshoots: state.heap_overshoots,
        bytes_set_aside: state.bytes_set_aside,
        output_rows: state.output_rows,
        output_blocks: state.output_blocks,
        consumer_rows: split
            .map_or_else(Vec::new, |split| split.rows().map(|rows| rows.0).collect()),
        rows_dropped: split.map_or(0, |split| split.rows_dropped.0),
        epochs_committed: u64::from(state.epochs_committed.0),
        output_bytes: state.output.bytes() + state.emitted_bytes,
        blocks: state.blocks.len() as u64,
        elapsed: attribution.elapsed(),
        cpu_times,
        gpu_times,
        driver_delay: attribution.delayed(),
    }
}

fn op_snapshot(state: &State, attribution: &Attribution, id: OpId) -> OpSnapshot {
    let (spec, op, lane) = (state.spec(id), state.op(id), state.ledger.lane(id));
    let (starting, ready) = op
        .pool
        .as_ref()
        .map_or((0, 0), |pool| (u64::from(pool.starting()), u64::from(pool.ready())));
    OpSnapshot {
        name: spec.name.clone(),
        state: match (op.is_done, op.moving()) {
            (true, _) => OpState::Done,
            (false, 0) => OpState::Waiting,
            (false, _) => OpState::Running,
        },
        verdict: admission::verdict(state, id),
        tasks_running: (op.live.len() - op.paused.len()) as u64,
        tasks_paused: op.paused.len() as u64,
        tasks_finished: op.counters.tasks_finished,
        tasks_failed: op.counters.tasks_failed,
        tasks_retried: op.counters.tasks_retried,
        tasks_preempted: op.counters.tasks_preempted,
        actors_starting: starting,
        actors_ready: ready,
        actors_started: op.counters.actors_started,
        actors_lost: op.counters.actors_lost,
        actors_given_up: op.counters.actors_given_up,
        nodes_quarantined: op.quarantine.nodes().collect(),
        quarantines: op.counters.quarantines,
        queued_blocks: op.queued_blocks() as u64,
        queued_rows: op.queues.iter().map(|queue| queue.rows().0).sum(),
        queued_bytes: op.queues.iter().map(InputQueue::bytes).sum(),
        rows_in: op.counters.rows_in,
        rows_out: op.counters.rows_out,
        blocks_out: op.counters.blocks_out,
        bytes_out: Bytes(op.counters.bytes_out),
        blocks_lost: op.counters.blocks_lost,
        blocks_remade: op.counters.blocks_remade,
        is_source: spec.kind.is_source(),
        units_total: op.listing.listed(),
        is_listing: op.listing.is_open(),
        units_done: op.counters.units_done,
        busy: op.counters.busy,
        heap_peak: op.counters.heap_peak,
        heap_each: state.ledger.request(id).heap,
        memory_kills: op.counters.memory_kills,
        store_used: lane.used,
        store_reserved: lane.reserved,
        cpu_each: spec.resources.cpu,
        gpu_each: spec.resources.gpu,
        times: attribution.op_times(id),
        held: attribution.held(id),
        constraints: attribution.constraints(id).clone(),
    }
}

fn node_snapshots(state: &State) -> Vec<NodeSnapshot> {
    let node_snapshot = |(node, account): (NodeId, &crate::ledger::Account)| NodeSnapshot {
        node,
        cpu_total: account.total.cpu,
        cpu_used: account.held().cpu,
        gpu_total: account.total.gpu,
        gpu_used: account.held().gpu,
        store_total: account.store,
        store_used: account.used,
        store_aside: account.aside,
        store_reserved: account.reserved,
        store_used_peak: account.used_peak,
        heap_total: account.total.heap,
        heap_reserved: account.held().heap,
    };
    state.ledger.nodes().map(node_snapshot).collect()
}
