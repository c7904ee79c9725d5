//! What the scheduler costs, as Python asks for it.
//!
//! Owns the turns of a farm as plain tuples, so that Python can make the events itself and be timed.

use millstream_core as core;
use millstream_core::{Event, Scheduler, Time};
use millstream_sim::cost::{self, Farm, Size};
use millstream_sim::trace::step;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::plan::{Node, Plan};
use crate::simulation::json;

pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<FarmTurns>()?;
    module.add_function(wrap_pyfunction!(measure_farm, module)?)?;
    module.add_function(wrap_pyfunction!(measure_live_blocks, module)?)
}

/// Runs the scheduler on a cluster that costs nothing, ten workers a node, and measures it.
#[pyfunction]
fn measure_farm(py: Python<'_>, nodes: u32, blocks: u64) -> PyResult<String> {
    let size = size(nodes, blocks)?;
    py.detach(|| json(&cost::run(&size)))
}

/// Makes blocks that all wait, and measures how much memory the process grew by.
#[pyfunction]
fn measure_live_blocks(py: Python<'_>, blocks: u64) -> PyResult<Option<String>> {
    py.detach(|| cost::live_blocks(blocks).map(|live| json(&live)).transpose())
}

/// The turns of such a run, for a scheduler that is stepped from Python.
///
/// An iterator over the time and the events of each. A scheduler of its own answers them in Rust, as any scheduler of the same plan and nodes would.
#[pyclass(module = "millstream._core")]
pub(crate) struct FarmTurns {
    farm: Farm,
    scheduler: Scheduler,
    events: Vec<Event>,
    is_begun: bool,
}

#[pymethods]
impl FarmTurns {
    #[new]
    fn new(nodes: u32, blocks: u64) -> PyResult<Self> {
        let farm = Farm::new(&size(nodes, blocks)?);
        let scheduler = farm.submit();
        Ok(Self { farm, scheduler, events: Vec::new(), is_begun: false })
    }

    /// What runs.
    #[getter]
    fn plan(&self) -> Plan {
        Plan(self.farm.plan().clone())
    }

    /// On what.
    #[getter]
    fn nodes(&self) -> Vec<Node> {
        let nodes = self.farm.nodes().iter().cloned();
        nodes.map(|(id, resources, store)| Node { id, resources, store }).collect()
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> PyResult<Option<(u64, Vec<Fact<'py>>)>> {
        let Some(now) = self.next_turn() else { return Ok(None) };
        let facts = self.events.iter().map(|event| fact(py, event)).collect::<PyResult<_>>()?;
        Ok(Some((now.0, facts)))
    }
}

impl FarmTurns {
    /// Answers the turn before, and lets the next one come.
    fn next_turn(&mut self) -> Option<Time> {
        if self.is_begun {
            let events = std::mem::take(&mut self.events);
            let actions = step(&mut self.scheduler, self.farm.now(), events);
            self.farm.perform(&actions);
            if self.scheduler.is_done() {
                return None;
            }
            self.events = self.farm.wait(self.scheduler.next_wakeup())?;
        }
        self.is_begun = true;
        Some(self.farm.now())
    }
}

/// An event as the name of its class and what that is made of.
type Fact<'py> = (&'static str, Bound<'py, PyTuple>);

fn fact<'py>(py: Python<'py>, event: &Event) -> PyResult<Fact<'py>> {
    Ok(match event {
        Event::BlockProduced { task, block, rows, bytes, node, partition } => {
            let fields = (task.0, block.0, rows.0, bytes.0, node.0, *partition);
            ("BlockProduced", fields.into_pyobject(py)?)
        }
        Event::BlockReady { task, ordinal, bytes } => {
            ("BlockReady", (task.0, *ordinal, bytes.0).into_pyobject(py)?)
        }
        Event::TaskFinished { task, busy, heap_peak } => {
            ("TaskFinished", (task.0, busy.0, heap_peak.0).into_pyobject(py)?)
        }
        Event::ActorReady { actor, node, load } => {
            ("ActorReady", (actor.0, node.0, load.0).into_pyobject(py)?)
        }
        Event::ConsumerGone { consumer } => ("ConsumerGone", (consumer,).into_pyobject(py)?),
        Event::OutputTaken { block } => ("OutputTaken", (block.0,).into_pyobject(py)?),
        Event::TaskFailed { task, failure: core::TaskFailure::Cancelled } => {
            ("TaskFailed", (task.0, "cancelled").into_pyobject(py)?)
        }
        other => unreachable!("because a farm has no {other:?}"),
    })
}

fn size(nodes: u32, blocks: u64) -> PyResult<Size> {
    if nodes == 0 || blocks < BLOCKS_MIN {
        let message = format!("a farm needs a node and {BLOCKS_MIN} blocks, not {nodes}, {blocks}");
        return Err(PyValueError::new_err(message));
    }
    Ok(Size { blocks, ..Size::LARGE.on_nodes(nodes) })
}

/// One unit of the source, through four operators.
const BLOCKS_MIN: u64 = 16;
