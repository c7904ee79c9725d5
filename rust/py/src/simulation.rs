//! Python's door to the simulator.
//!
//! Owns the conversion of its answers, which cross the border as JSON.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use millstream_sim::swarm::Failure;
use millstream_sim::trace::NodeSpec;
use millstream_sim::{description, learn, simulation, spread, swarm, trace, variants};
use pyo3::exceptions::{PyAssertionError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Serialize;

use crate::plan::{Node, Plan};

pyo3::create_exception!(
    millstream._core,
    ReplayError,
    PyValueError,
    "A trace does not replay; the message has the first difference."
);
pyo3::create_exception!(
    millstream._core,
    OracleError,
    PyAssertionError,
    "A simulated run violates an invariant; the message has the seed and the world."
);

pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ReplayError", module.py().get_type::<ReplayError>())?;
    module.add("OracleError", module.py().get_type::<OracleError>())?;
    module.add_function(wrap_pyfunction!(replay_trace, module)?)?;
    module.add_function(wrap_pyfunction!(learn_trace, module)?)?;
    module.add_function(wrap_pyfunction!(describe_plan, module)?)?;
    module.add_function(wrap_pyfunction!(describe_nodes, module)?)?;
    module.add_function(wrap_pyfunction!(simulate, module)?)?;
    module.add_function(wrap_pyfunction!(run_swarm, module)?)?;
    module.add_function(wrap_pyfunction!(run_seed, module)?)?;
    module.add_function(wrap_pyfunction!(run_workloads, module)?)?;
    module.add_function(wrap_pyfunction!(run_workloads_jittered, module)?)?;
    module.add_function(wrap_pyfunction!(run_workloads_spread, module)?)
}

/// Replays a trace in a new scheduler and compares its actions byte by byte.
#[pyfunction]
fn replay_trace(py: Python<'_>, trace: &[u8]) -> PyResult<String> {
    py.detach(|| json(&trace::replay(trace).map_err(replay_error)?))
}

/// Makes a scenario of what a trace teaches.
#[pyfunction]
fn learn_trace(py: Python<'_>, trace: &[u8]) -> PyResult<String> {
    py.detach(|| json(&learn::learn(trace).map_err(replay_error)?))
}

/// A plan as JSON, as `simulate` wants it.
#[pyfunction]
fn describe_plan(py: Python<'_>, plan: &Plan) -> PyResult<String> {
    py.detach(|| json(&plan.0))
}

/// Nodes as JSON, as `simulate` wants them.
#[pyfunction]
fn describe_nodes(py: Python<'_>, nodes: Vec<Node>) -> PyResult<String> {
    py.detach(|| json(&nodes.into_iter().map(Into::into).collect::<Vec<NodeSpec>>()))
}

/// Simulates a scenario that is described as JSON, under the oracles.
#[pyfunction]
fn simulate<'py>(py: Python<'py>, scenario: &str) -> PyResult<(String, Bound<'py, PyBytes>)> {
    let (report, trace) = py.detach(|| {
        let scenario = description::read(scenario)
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let mut trace = Vec::new();
        let report = simulation::run(&scenario, Some(&mut trace))
            .map_err(|violation| OracleError::new_err(violation.to_string()))?;
        PyResult::Ok((json(&report)?, trace))
    })?;
    Ok((report, PyBytes::new(py, &trace)))
}

/// Simulates the worlds of `seeds` seeds from `first` on, under the oracles.
#[pyfunction]
fn run_swarm(py: Python<'_>, first: u64, seeds: u64) -> PyResult<String> {
    py.detach(|| {
        let summary = swarm::run(first, seeds).map_err(|failure| oracle_error(&failure))?;
        json(&summary)
    })
}

/// Simulates the world of one seed, and writes its trace if there is a path for it.
#[pyfunction]
#[pyo3(signature = (seed, *, trace=None))]
fn run_seed(py: Python<'_>, seed: u64, trace: Option<PathBuf>) -> PyResult<String> {
    py.detach(|| {
        let mut writer = trace.map(File::create).transpose()?.map(BufWriter::new);
        let scenario = swarm::scenario(seed);
        let report =
            simulation::run(&scenario, writer.as_mut().map(|writer| writer as &mut dyn Write));
        writer.map_or(Ok(()), |mut writer| writer.flush())?;
        let report = report.map_err(|violation| oracle_error(&Failure::of(seed, violation)))?;
        json(&report)
    })
}

/// Simulates the published scheduling workloads.
///
/// With the memory of the table, half of it, or the least in which each can drain; or those on
/// clusters, which have a memory of their own, and those that ask what the scheduler costs.
#[pyfunction]
#[pyo3(signature = (memory="exact"))]
fn run_workloads(py: Python<'_>, memory: &str) -> PyResult<String> {
    match memory {
        "exact" => py.detach(|| varied(variants::exact())),
        "half" => py.detach(|| varied(variants::half())),
        "least" => py.detach(|| varied(variants::least())),
        "clusters" => py.detach(|| varied(variants::clusters())),
        "scale" => py.detach(|| json(&variants::scale())),
        other => {
            let words = format!(
                "memory must be 'exact', 'half', 'least', 'clusters' or 'scale', not {other:?}"
            );
            Err(PyValueError::new_err(words))
        }
    }
}

/// Simulates the published scheduling workloads with durations and sizes that vary.
///
/// By up to `spread` thousandths, with `seeds` seeds each.
#[pyfunction]
fn run_workloads_jittered(py: Python<'_>, spread: u64, seeds: u64) -> PyResult<String> {
    py.detach(|| varied(variants::jittered(spread, seeds)))
}

/// Simulates the published scheduling workloads on several nodes, with `seeds` seeds each.
#[pyfunction]
fn run_workloads_spread(py: Python<'_>, seeds: u64) -> PyResult<String> {
    py.detach(|| varied(spread::spread(seeds)))
}

fn varied<T: Serialize>(outcomes: Result<Vec<T>, variants::Failure>) -> PyResult<String> {
    json(&outcomes.map_err(|failure| OracleError::new_err(failure.to_string()))?)
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn replay_error(error: trace::ReplayError) -> PyErr {
    ReplayError::new_err(error.to_string())
}

fn oracle_error(failure: &Failure) -> PyErr {
    OracleError::new_err(failure.to_string())
}

pub(crate) fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
