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

/// Calls a macro with all numbers of an operator, each with its documentation and its type.
///
/// This list is the only place that names them: the structs here, the classes of other languages and
/// their documentation are made of it. Where the type says what the name does not, the unit, a name
/// for languages without such types follows. `counted` is what the state counts under the same name,
/// `computed` all else. What stands behind the macro's name is put before the list.
#[macro_export]
#[doc(hidden)]
macro_rules! op_numbers {
    ($take:ident $($before:tt)*) => {
        $take! {
            $($before)*
            computed {
                /// Tasks that run.
                tasks_running: u64,
                /// Tasks that wait for room to hand over a block.
                tasks_paused: u64,
                /// Actors that are loading.
                actors_starting: u64,
                /// Actors that take tasks.
                actors_ready: u64,
                /// Blocks that wait for it.
                queued_blocks: u64,
                /// Rows that wait for it.
                queued_rows: u64,
                /// Bytes that wait for it.
                queued_bytes: Bytes,
                /// Whether it is a source.
                is_source: bool,
                /// Units of a source, as far as they are known.
                units_total: u64,
                /// Whether more units of it may be listed.
                is_listing: bool,
                /// What each of its tasks or actors is thought to need; 0 where memory is not watched.
                heap_each: Bytes as "heap_each_bytes",
                /// Bytes of its output that exist now.
                store_used: Bytes,
                /// Bytes promised to its tasks now.
                store_reserved: Bytes,
                /// Nodes that get no work of it at present, since its workers kept failing there.
                nodes_quarantined: Vec<NodeId>,
            }
            counted {
                /// How often it began to leave a node alone for that.
                quarantines: u64,
                /// Tasks that ended well.
                tasks_finished: u64,
                /// Attempts that ended badly.
                tasks_failed: u64,
                /// Attempts after the first.
                tasks_retried: u64,
                /// Paused tasks that were cancelled to free their slots, and run again later.
                tasks_preempted: u64,
                /// Actors started since the beginning.
                actors_started: u64,
                /// Actors that died.
                actors_lost: u64,
                /// Actors that were stopped, since they lived but failed their tasks.
                actors_given_up: u64,
                /// Rows that its finished tasks consumed.
                rows_in: u64,
                /// Rows that it put out.
                rows_out: u64,
                /// Blocks that it put out.
                blocks_out: u64,
                /// Bytes that it put out.
                bytes_out: Bytes,
                /// Blocks of its output that were lost.
                blocks_lost: u64,
                /// Blocks that it made in their place.
                blocks_remade: u64,
                /// Units of a source that are done.
                units_done: u64,
                /// Time that its finished tasks worked.
                busy: Span as "busy_us",
                /// The largest resident memory of one of its workers.
                heap_peak: Bytes as "heap_peak_bytes",
                /// Workers of it that were killed since a node's memory ran out.
                memory_kills: u64,
            }
        }
    };
}

/// Calls a macro with all numbers of a node, as `op_numbers` does with those of an operator.
#[macro_export]
#[doc(hidden)]
macro_rules! node_numbers {
    ($take:ident $($before:tt)*) => {
        $take! {
            $($before)*
            computed {
                /// Its number.
                node: NodeId,
                /// Its CPUs.
                cpu_total: Slots,
                /// CPUs that tasks and actors of the run hold.
                cpu_used: Slots,
                /// Its GPUs.
                gpu_total: Slots,
                /// GPUs that tasks and actors of the run hold.
                gpu_used: Slots,
                /// Bytes that the run may hold there.
                store_total: Bytes,
                /// Bytes of blocks that lie there.
                store_used: Bytes,
                /// Those of them set aside at the barrier of an exchange, beyond what the store holds.
                store_aside: Bytes,
                /// Bytes promised there.
                store_reserved: Bytes,
                /// The most bytes of blocks that ever lay there.
                store_used_peak: Bytes as "store_peak",
                /// Its memory beside the object store; 0: unknown, and not watched.
                heap_total: Bytes,
                /// What of that the run's tasks and actors hold.
                heap_reserved: Bytes,
            }
        }
    };
}

/// Calls a macro with all numbers of a whole run, as `op_numbers` does with those of an operator.
#[macro_export]
#[doc(hidden)]
macro_rules! run_numbers {
    ($take:ident $($before:tt)*) => {
        $take! {
            $($before)*
            computed {
                /// Rows that each of several consumers was given, or is meant to get; else nothing.
                consumer_rows: Vec<u64>,
                /// Rows that none of several consumers got, or that one had not taken when it went.
                rows_dropped: u64,
                /// Epochs that were committed.
                epochs_committed: u64,
                /// Bytes that wait for or are with the consumer.
                output_bytes: Bytes,
                /// Blocks that exist.
                blocks: u64,
                /// How long the run has gone on, up to the last event.
                elapsed: Span as "elapsed_us",
                /// For how long news waited for the driver.
                driver_delay: Span as "driver_delay_us",
            }
            counted {
                /// Events of dead attempts and unknown things, which changed nothing.
                stale_events: u64,
                /// Launches and resumptions let past the memory limit, since nothing else could run.
                overshoots: u64,
                /// Workers started with less memory than they are thought to need, for the same reason.
                heap_overshoots: u64,
                /// Bytes ever set aside at the barrier of an exchange, beyond what the stores hold.
                bytes_set_aside: Bytes,
                /// Rows given to the consumer.
                output_rows: u64,
                /// Blocks given to the consumer.
                output_blocks: u64,
            }
        }
    };
}

/// Defines a struct that has the numbers of a list beside its own fields.
macro_rules! with_numbers {
    (
        $(#[$about:meta])* $struct:ident { $($(#[$doc:meta])* $own:ident: $own_type:ty,)* }
        $($group:ident {
            $($(#[$number_doc:meta])* $number:ident: $type:ty $(as $name:literal)?,)*
        })*
    ) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $struct {
            $($(#[$doc])* pub $own: $own_type,)*
            $($($(#[$number_doc])* pub $number: $type,)*)*
        }
    };
}

/// Makes such a struct of what is given and of what is counted, which has the same name there.
macro_rules! filled {
    (
        $struct:ident($counters:expr) { $($given:tt)* }
        computed $computed:tt
        counted { $($(#[$doc:meta])* $number:ident: $type:ty $(as $name:literal)?,)* }
    ) => {
        $struct { $($number: $counters.$number,)* $($given)* }
    };
}

op_numbers! { with_numbers
    /// One operator.
    OpSnapshot {
        /// Its name in the plan.
        name: String,
        /// Its phase.
        state: OpState,
        /// Why it launches nothing at present, or that it could.
        verdict: Verdict,
        /// CPUs that each of its tasks or actors holds.
        cpu_each: Slots,
        /// GPUs that each of its tasks or actors holds.
        gpu_each: Slots,
        /// The time of its workers, in workers times microseconds.
        times: Times,
        /// For how long it launched nothing for which reason, by the name of the
        /// [`Reason`](crate::Reason) in words with underscores.
        held: BTreeMap<&'static str, Span>,
        /// For how long it was the operator that kept the run from being faster, by what it lacked.
        constraints: BTreeMap<Constraint, Span>,
    }
}

node_numbers! { with_numbers
    /// One node.
    NodeSnapshot {}
}

run_numbers! { with_numbers
    /// A run at a moment.
    Snapshot {
        /// The operators, in the order of the flow.
        ops: Vec<OpSnapshot>,
        /// The nodes.
        nodes: Vec<NodeSnapshot>,
        /// The time of all CPUs, free ones too, in 1/10000 of a CPU times microseconds.
        cpu_times: Times,
        /// The time of all GPUs, likewise.
        gpu_times: Times,
    }
}

pub(crate) fn take(state: &State, attribution: &Attribution) -> Snapshot {
    let (cpu_times, gpu_times) = attribution.slot_times(state);
    let split = state.split.as_ref();
    run_numbers!(filled Snapshot(state) {
        ops: state.op_ids().map(|op| op_snapshot(state, attribution, op)).collect(),
        nodes: node_snapshots(state),
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
    })
}

fn op_snapshot(state: &State, attribution: &Attribution, id: OpId) -> OpSnapshot {
    let (spec, op, lane) = (state.spec(id), state.op(id), state.ledger.lane(id));
    let (starting, ready) = op
        .pool
        .as_ref()
        .map_or((0, 0), |pool| (u64::from(pool.starting()), u64::from(pool.ready())));
    op_numbers!(filled OpSnapshot(op.counters) {
        name: spec.name.clone(),
        state: match (op.is_done, op.moving()) {
            (true, _) => OpState::Done,
            (false, 0) => OpState::Waiting,
            (false, _) => OpState::Running,
        },
        verdict: admission::verdict(state, id),
        tasks_running: (op.live.len() - op.paused.len()) as u64,
        tasks_paused: op.paused.len() as u64,
        actors_starting: starting,
        actors_ready: ready,
        nodes_quarantined: op.quarantine.nodes().collect(),
        queued_blocks: op.queued_blocks() as u64,
        queued_rows: op.queues.iter().map(|queue| queue.rows().0).sum(),
        queued_bytes: op.queues.iter().map(InputQueue::bytes).sum(),
        is_source: spec.kind.is_source(),
        units_total: op.listing.listed(),
        is_listing: op.listing.is_open(),
        heap_each: state.ledger.request(id).heap,
        store_used: lane.used,
        store_reserved: lane.reserved,
        cpu_each: spec.resources.cpu,
        gpu_each: spec.resources.gpu,
        times: attribution.op_times(id),
        held: attribution.held(id),
        constraints: attribution.constraints(id).clone(),
    })
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
