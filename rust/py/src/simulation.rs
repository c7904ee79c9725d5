//! Python's door to the simulator.
//!
//! Owns the conversion of its answers, which cross the border as JSON.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use millstream_sim::trace;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

pyo3::create_exception!(
    millstream._core,
    ReplayError,
    PyValueError,
    "A trace does not replay; the message has the first difference."
);

pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("ReplayError", module.py().get_type::<ReplayError>())?;
    module.add_function(wrap_pyfunction!(replay_trace, module)?)
}

/// Replays a trace and compares the actions byte by byte.
#[pyfunction]
fn replay_trace(py: Python<'_>, path: PathBuf) -> PyResult<String> {
    py.detach(|| {
        let name = path.display().to_string();
        let file = File::open(path)
            .map_err(|error| PyOSError::new_err(format!("{name} cannot be read: {error}")))?;
        let replayed = trace::replay(BufReader::new(file))
            .map_err(|error| ReplayError::new_err(error.to_string()))?;
        to_json(&replayed)
    })
}

fn to_json(value: &impl serde::Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
