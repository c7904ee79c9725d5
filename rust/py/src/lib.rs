//! The extension module `millstream._core`.
//!
//! Owns the conversion between Python's objects and the types of the core and the simulator. It
//! decides nothing, and everything that it exports is documented in `_core*.pyi`.

mod arbiter;
mod cost;
mod details;
mod numbers;
mod plan;
mod protocol;
mod scheduler;
mod simulation;
mod snapshot;
mod times;

use millstream_core as core;
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use strum::VariantNames;

/// How this extension was compiled.
const BUILD_PROFILE: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("build_profile", BUILD_PROFILE)?;
    module.add("REASONS", names(module, core::Reason::VARIANTS)?)?;
    module.add("FAIL_CAUSES", names(module, core::FailCause::VARIANTS)?)?;
    module.add("BOTTLENECKS", names(module, core::Bottleneck::VARIANTS)?)?;
    module.add_class::<plan::Kind>()?;
    module.add_class::<plan::OpSpec>()?;
    module.add_class::<plan::Config>()?;
    module.add_class::<plan::Node>()?;
    module.add_class::<plan::Plan>()?;
    module.add_class::<protocol::Event>()?;
    module.add_class::<protocol::Action>()?;
    module.add_class::<scheduler::Scheduler>()?;
    module.add_class::<arbiter::Demand>()?;
    module.add_class::<arbiter::Standing>()?;
    module.add_class::<arbiter::Arbiter>()?;
    module.add_class::<snapshot::OpSnapshot>()?;
    module.add_class::<snapshot::NodeSnapshot>()?;
    module.add_class::<snapshot::Snapshot>()?;
    module.add_class::<times::Times>()?;
    module.add_class::<times::Finding>()?;
    module.add("SubmitError", module.py().get_type::<scheduler::SubmitError>())?;
    simulation::add_to(module)?;
    cost::add_to(module)?;
    if cfg!(debug_assertions) {
        warn_of_debug_build(module.py())?;
    }
    Ok(())
}

/// The names of an enum's variants, for who must have words for all of them.
fn names<'py>(
    module: &Bound<'py, PyModule>,
    variants: &[&'static str],
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(module.py(), variants)
}

fn warn_of_debug_build(py: Python<'_>) -> PyResult<()> {
    let message = c"millstream._core is a debug build, which is many times slower; \
                    build it with `maturin develop --release`";
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), message, 1)
}
