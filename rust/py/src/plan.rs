//! The plan as Python describes it: operators, configuration, nodes.
//!
//! Owns the conversion of these to the core's types. What a plan may look like is the core's.

use std::collections::BTreeMap;

use millstream_core as core;
use millstream_core::{Bytes, OpId, Rows, Span};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::numbers;
use crate::protocol::repr;

/// What an operator is; each kind is a class of its own, for `isinstance` and `match`.
#[pyclass(frozen, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) enum Kind {
    /// Makes blocks out of units.
    #[pyo3(constructor = (unit_bytes, is_open=false))]
    Source { unit_bytes: Vec<u64>, is_open: bool },
    /// Stateless tasks.
    Tasks {},
    /// A pool of workers with loaded state.
    #[pyo3(constructor = (actors_min, actors_max, tasks_in_flight_max=2))]
    Actors { actors_min: u32, actors_max: u32, tasks_in_flight_max: u32 },
    /// Lets the first rows pass, and ends what is above it.
    Limit { rows: u64 },
    /// Lets the blocks of its inputs pass, one input after the other.
    Union {},
    /// Tasks over rows of all inputs side by side.
    Zip {},
    /// The last tasks, which write and put out no more than reports of it.
    Sink {},
    /// At the end: gives each block to one of several consumers.
    #[pyo3(constructor = (consumers, equal=false, left_out=Vec::new()))]
    Split { consumers: u32, equal: bool, left_out: Vec<(u64, u64)> },
    /// Deals its rows out to partitions.
    Scatter { partitions: u32 },
    /// Reads a scatter: has a task for each partition, once all of the scatter's have ended.
    Gather {},
}

#[pymethods]
impl Kind {
    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        repr("Kind", slf.as_any())
    }
}

impl Kind {
    fn to_core(&self) -> core::OpKind {
        match *self {
            Self::Source { ref unit_bytes, is_open } => {
                core::OpKind::Source { units: units(unit_bytes.clone()), is_open }
            }
            Self::Tasks {} => core::OpKind::Tasks,
            Self::Actors { actors_min, actors_max, tasks_in_flight_max } => {
                core::OpKind::Actors(core::PoolSpec { actors_min, actors_max, tasks_in_flight_max })
            }
            Self::Limit { rows } => core::OpKind::Limit { rows: Rows(rows) },
            Self::Union {} => core::OpKind::Union,
            Self::Zip {} => core::OpKind::Zip,
            Self::Sink {} => core::OpKind::Sink,
            Self::Split { consumers, equal, ref left_out } => {
                let rows = |&(first, end)| core::OutputRows { first, end };
                let left_out = left_out.iter().map(rows).collect();
                core::OpKind::Split { consumers, equal, left_out }
            }
            Self::Scatter { partitions } => core::OpKind::Scatter { partitions },
            Self::Gather {} => core::OpKind::Gather,
        }
    }

    fn of(kind: &core::OpKind) -> Self {
        match *kind {
            core::OpKind::Source { ref units, is_open } => Self::Source {
                unit_bytes: units.iter().map(|unit| unit.bytes.0).collect(),
                is_open,
            },
            core::OpKind::Tasks => Self::Tasks {},
            core::OpKind::Actors(pool) => Self::Actors {
                actors_min: pool.actors_min,
                actors_max: pool.actors_max,
                tasks_in_flight_max: pool.tasks_in_flight_max,
            },
            core::OpKind::Limit { rows } => Self::Limit { rows: rows.0 },
            core::OpKind::Union => Self::Union {},
            core::OpKind::Zip => Self::Zip {},
            core::OpKind::Sink => Self::Sink {},
            core::OpKind::Split { consumers, equal, ref left_out } => {
                let left_out = left_out.iter().map(|rows| (rows.first, rows.end)).collect();
                Self::Split { consumers, equal, left_out }
            }
            core::OpKind::Scatter { partitions } => Self::Scatter { partitions },
            core::OpKind::Gather => Self::Gather {},
        }
    }
}

/// One operator of a plan.
#[pyclass(frozen, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct OpSpec(core::OpSpec);

#[pymethods]
impl OpSpec {
    #[new]
    #[pyo3(signature = (
        *, name, kind, inputs=Vec::new(), cpu=0.0, gpu=0.0, custom=BTreeMap::new(), heap_bytes=0,
        concurrency_max=0, bundle_rows_min=0,
    ))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
    fn new(
        name: String,
        kind: &Bound<'_, Kind>,
        inputs: Vec<u32>,
        cpu: f64,
        gpu: f64,
        custom: BTreeMap<String, f64>,
        heap_bytes: u64,
        concurrency_max: u32,
        bundle_rows_min: u64,
    ) -> PyResult<Self> {
        Ok(Self(core::OpSpec {
            name,
            inputs: inputs.into_iter().map(OpId).collect(),
            kind: kind.get().to_core(),
            resources: numbers::resources(cpu, gpu, custom, heap_bytes)?,
            concurrency_max,
            bundle_rows_min: Rows(bundle_rows_min),
        }))
    }

    #[getter]
    fn name(&self) -> &str {
        &self.0.name
    }

    #[getter]
    fn kind(&self) -> Kind {
        Kind::of(&self.0.kind)
    }

    #[getter]
    fn inputs(&self) -> Vec<u32> {
        self.0.inputs.iter().map(|op| op.0).collect()
    }

    #[getter]
    fn cpu(&self) -> f64 {
        numbers::float(self.0.resources.cpu)
    }

    #[getter]
    fn gpu(&self) -> f64 {
        numbers::float(self.0.resources.gpu)
    }

    #[getter]
    fn custom(&self) -> BTreeMap<String, f64> {
        numbers::custom(&self.0.resources)
    }

    #[getter]
    fn heap_bytes(&self) -> u64 {
        self.0.resources.heap.0
    }

    #[getter]
    fn concurrency_max(&self) -> u32 {
        self.0.concurrency_max
    }

    #[getter]
    fn bundle_rows_min(&self) -> u64 {
        self.0.bundle_rows_min.0
    }

    fn __repr__(&self) -> String {
        let (name, kind, needs) = (&self.0.name, &self.0.kind, &self.0.resources);
        format!("<OpSpec {name:?}: {}, each needs {needs}>", kind_name(kind))
    }
}

/// The kind in one word.
const fn kind_name(kind: &core::OpKind) -> &'static str {
    match kind {
        core::OpKind::Source { .. } => "source",
        core::OpKind::Tasks => "tasks",
        core::OpKind::Actors(_) => "actors",
        core::OpKind::Limit { .. } => "limit",
        core::OpKind::Union => "union",
        core::OpKind::Zip => "zip",
        core::OpKind::Sink => "sink",
        core::OpKind::Scatter { .. } => "scatter",
        core::OpKind::Gather => "gather",
        core::OpKind::Split { .. } => "split",
    }
}

/// The choices that hold for a whole run.
#[pyclass(frozen, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Config(core::Config);

#[pymethods]
impl Config {
    #[new]
    #[pyo3(signature = (
        *, execution="streaming", preserve_order=true,
        block_bytes_target=core::Config::default().block_bytes_target.0,
        task_span_target_us=core::Config::default().task_span_target.0,
        deaths_max=core::Config::default().deaths_max, epoch_units=0, strict_memory=false,
    ))]
    fn new(
        execution: &str,
        preserve_order: bool,
        block_bytes_target: u64,
        task_span_target_us: u64,
        deaths_max: u32,
        epoch_units: u64,
        strict_memory: bool,
    ) -> PyResult<Self> {
        let execution = match execution {
            "streaming" => core::Execution::Streaming,
            "bulk" => core::Execution::Bulk,
            _ => {
                let message = format!("execution must be 'streaming' or 'bulk', not {execution:?}");
                return Err(PyValueError::new_err(message));
            }
        };
        Ok(Self(core::Config {
            execution,
            preserve_order,
            block_bytes_target: Bytes(block_bytes_target),
            task_span_target: Span(task_span_target_us),
            deaths_max,
            epoch_units,
            strict_memory,
        }))
    }

    #[getter]
    fn execution(&self) -> &'static str {
        match self.0.execution {
            core::Execution::Streaming => "streaming",
            core::Execution::Bulk => "bulk",
        }
    }

    #[getter]
    fn preserve_order(&self) -> bool {
        self.0.preserve_order
    }

    #[getter]
    fn block_bytes_target(&self) -> u64 {
        self.0.block_bytes_target.0
    }

    #[getter]
    fn task_span_target_us(&self) -> u64 {
        self.0.task_span_target.0
    }

    #[getter]
    fn deaths_max(&self) -> u32 {
        self.0.deaths_max
    }

    #[getter]
    fn epoch_units(&self) -> u64 {
        self.0.epoch_units
    }

    #[getter]
    fn strict_memory(&self) -> bool {
        self.0.strict_memory
    }

    fn __repr__(&self) -> String {
        let in_words = |flag| if flag { "True" } else { "False" };
        format!(
            "Config(execution={:?}, preserve_order={}, block_bytes_target={}, \
             task_span_target_us={}, deaths_max={}, epoch_units={}, strict_memory={})",
            self.execution(),
            in_words(self.0.preserve_order),
            self.0.block_bytes_target.0,
            self.0.task_span_target.0,
            self.0.deaths_max,
            self.0.epoch_units,
            in_words(self.0.strict_memory),
        )
    }
}

/// A machine and what a run may use of it.
#[pyclass(frozen, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) id: core::NodeId,
    pub(crate) resources: core::Resources,
    pub(crate) store: Bytes,
}

#[pymethods]
impl Node {
    #[new]
    #[pyo3(signature = (
        *, node, cpu, store_bytes, gpu=0.0, custom=BTreeMap::new(), heap_bytes=0,
    ))]
    fn new(
        node: u32,
        cpu: f64,
        store_bytes: u64,
        gpu: f64,
        custom: BTreeMap<String, f64>,
        heap_bytes: u64,
    ) -> PyResult<Self> {
        Ok(Self {
            id: core::NodeId(node),
            resources: numbers::resources(cpu, gpu, custom, heap_bytes)?,
            store: Bytes(store_bytes),
        })
    }

    #[getter]
    fn node(&self) -> u32 {
        self.id.0
    }

    #[getter]
    fn cpu(&self) -> f64 {
        numbers::float(self.resources.cpu)
    }

    #[getter]
    fn gpu(&self) -> f64 {
        numbers::float(self.resources.gpu)
    }

    #[getter]
    fn custom(&self) -> BTreeMap<String, f64> {
        numbers::custom(&self.resources)
    }

    #[getter]
    fn heap_bytes(&self) -> u64 {
        self.resources.heap.0
    }

    #[getter]
    fn store_bytes(&self) -> u64 {
        self.store.0
    }

    fn __repr__(&self) -> String {
        format!("<Node {}: {}, {} of object store>", self.id.0, self.resources, self.store)
    }
}

/// Operators that are known to be well formed.
#[pyclass(frozen, eq, module = "millstream._core")]
#[derive(PartialEq)]
pub(crate) struct Plan(pub(crate) core::Plan);

#[pymethods]
impl Plan {
    #[new]
    fn new(ops: Vec<OpSpec>, config: &Config) -> PyResult<Self> {
        let ops = ops.into_iter().map(|op| op.0).collect();
        core::Plan::new(ops, config.0)
            .map(Self)
            .map_err(|error| PyValueError::new_err(error.to_string()))
    }

    #[getter]
    fn ops(&self) -> Vec<OpSpec> {
        self.0.ops().iter().cloned().map(OpSpec).collect()
    }

    #[getter]
    fn config(&self) -> Config {
        Config(*self.0.config())
    }

    fn __repr__(&self) -> String {
        let names: Vec<&str> = self.0.ops().iter().map(|op| op.name.as_str()).collect();
        format!("<Plan {}>", names.join(" -> "))
    }
}

/// Units of so many bytes each.
pub(crate) fn units(unit_bytes: impl IntoIterator<Item = u64>) -> Vec<core::Unit> {
    unit_bytes.into_iter().map(|bytes| core::Unit { bytes: Bytes(bytes) }).collect()
}
