//! The scheduler as a Python class.
//!
//! Owns the crossing of the border: one call a turn, without the GIL while Rust works. Decides
//! nothing.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millstream_core as core;
use millstream_sim::trace::{self, NodeSpec, Recorder};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::arbiter::Demand;
use crate::plan::{Node, Plan};
use crate::protocol::{Action, Event};
use crate::snapshot::Snapshot;

pyo3::create_exception!(
    millstream._core,
    SubmitError,
    PyValueError,
    "The plan can never run on the nodes; the message has the arithmetic."
);

/// Decides, event by event, what runs where.
#[pyclass(frozen, module = "millstream._core")]
pub(crate) struct Scheduler(Mutex<Turns>);

/// A turn takes about 10 us an event; threads that want the GIL wait up to 5 ms anyway.
const EVENTS_WITH_GIL: usize = 64;

struct Turns {
    scheduler: core::Scheduler,
    trace: Option<Trace>,
}

struct Trace {
    path: PathBuf,
    recorder: Recorder<BufWriter<File>>,
}

#[pymethods]
impl Scheduler {
    #[new]
    #[pyo3(signature = (plan, nodes, *, trace=None))]
    fn new(plan: &Plan, nodes: Vec<Node>, trace: Option<PathBuf>) -> PyResult<Self> {
        let nodes: Vec<NodeSpec> = nodes.into_iter().map(Into::into).collect();
        let scheduler = core::Scheduler::submit(
            plan.0.clone(),
            nodes.iter().cloned().map(Into::into).collect(),
        )
        .map_err(|error| SubmitError::new_err(error.to_string()))?;
        let trace = trace.map(|path| start_trace(path, &plan.0, &nodes)).transpose()?;
        Ok(Self(Mutex::new(Turns { scheduler, trace })))
    }

    /// Takes what has happened and answers what to do now, in order.
    #[pyo3(signature = (now_us, events))]
    fn step(
        &self,
        py: Python<'_>,
        now_us: u64,
        events: Vec<Bound<'_, Event>>,
    ) -> PyResult<Vec<Action>> {
        let events: Vec<core::Event> =
            events.into_iter().map(|event| event.get().to_core()).collect();
        let now = core::Time(now_us);
        let actions = if events.len() <= EVENTS_WITH_GIL {
            self.turns_attached(py)?.turn(now, events)?
        } else {
            py.detach(|| self.turns()?.turn(now, events))?
        };
        Ok(actions.into_iter().map(Into::into).collect())
    }

    /// The time at which to step even if nothing happens, if any.
    fn next_wakeup(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        Ok(self.turns_attached(py)?.scheduler.next_wakeup().map(|time| time.0))
    }

    /// Whether nothing is left to run, to deliver or to cancel.
    fn is_done(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.turns_attached(py)?.scheduler.is_done())
    }

    /// What the run holds, goes by and wants, for an `Arbiter` of several runs.
    fn run_demand(&self, py: Python<'_>) -> PyResult<Demand> {
        py.detach(|| Ok(Demand(self.turns()?.scheduler.run_demand())))
    }

    /// The state of the run. Costs time in proportion to operators and nodes, not to blocks.
    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        py.detach(|| Ok(self.turns()?.scheduler.snapshot().into()))
    }
}

impl Scheduler {
    /// Another thread may ask for a snapshot in the middle of a turn; it waits without the GIL.
    fn turns(&self) -> PyResult<MutexGuard<'_, Turns>> {
        self.0.lock().map_err(broken)
    }

    /// With the GIL, for what takes no longer than to let it go and get it again among busy threads.
    fn turns_attached(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, Turns>> {
        self.0.lock_py_attached(py).map_err(broken)
    }
}

fn broken<T>(_: PoisonError<T>) -> PyErr {
    PyRuntimeError::new_err("the scheduler stopped at a broken invariant in an earlier turn")
}

impl Turns {
    fn turn(&mut self, now: core::Time, events: Vec<core::Event>) -> PyResult<Vec<core::Action>> {
        let Some(trace) = &mut self.trace else {
            return Ok(trace::step(&mut self.scheduler, now, events));
        };
        let actions = trace::step(&mut self.scheduler, now, events.clone());
        let written = trace.recorder.record(now, &events, &actions);
        let flushed = if self.scheduler.is_done() { trace.recorder.flush() } else { Ok(()) };
        written.and(flushed).map_err(|error| trace_error(&trace.path, &error))?;
        Ok(actions)
    }
}

impl From<Node> for NodeSpec {
    fn from(node: Node) -> Self {
        Self { node: node.id, resources: node.resources, store: node.store }
    }
}

fn start_trace(path: PathBuf, plan: &core::Plan, nodes: &[NodeSpec]) -> PyResult<Trace> {
    let start = || {
        let writer = BufWriter::new(File::create(&path)?);
        Recorder::start(writer, plan, nodes)
    };
    match start() {
        Ok(recorder) => Ok(Trace { path, recorder }),
        Err(error) => Err(trace_error(&path, &error)),
    }
}

fn trace_error(path: &std::path::Path, error: &io::Error) -> PyErr {
    PyOSError::new_err(format!("the trace {} cannot be written: {error}", path.display()))
}
