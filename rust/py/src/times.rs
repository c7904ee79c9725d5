//! Attributed time as Python classes.
//!
//! Owns their conversion. What is attributed to what is documented in the core.

use millstream_core as core;
use millstream_core::{Activity, Constraint, Slots};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

/// Makes the class of a list of activities, each with its name in Python.
macro_rules! times_class {
    ($(#[$about:meta])* $class:ident { $($(#[$doc:meta])* $field:ident: $activity:ident,)* }) => {
        $(#[$about])*
        #[pyclass(frozen, get_all, eq, from_py_object, module = "millstream._core")]
        #[derive(Clone, PartialEq)]
        pub(crate) struct $class {
            $($(#[$doc])* $field: f64,)*
            /// All of it.
            total_s: f64,
        }

        #[pymethods]
        impl $class {
            fn __repr__(&self) -> String {
                format!("<Times {:.3} s, {:.3} s of them compute>", self.total_s, self.compute_s)
            }

            #[classattr]
            fn __annotations__(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
                [$((stringify!($field), "float"),)* ("total_s", "float")].into_py_dict(py)
            }
        }

        impl $class {
            fn new(times: &core::Times, unit: f64) -> Self {
                #[expect(clippy::cast_precision_loss, reason = "people read them in a few digits")]
                let seconds = |amount: u128| amount as f64 / unit;
                Self {
                    $($field: seconds(times.of(Activity::$activity)),)*
                    total_s: seconds(times.total()),
                }
            }
        }
    };
}

times_class! {
    /// Time by what it went to, in seconds of workers, CPUs or GPUs.
    ///
    /// The parts add up to the whole. A free CPU or GPU waits for what holds the operators that could
    /// use it: of several, memory first, then the output, then input.
    Times {
        /// Work, as finished tasks report it, and all that tasks under way do while not paused.
        compute_s: Compute,
        /// There was nothing to work on.
        input_wait_s: InputWait,
        /// A block could not be handed over, or the store was full of blocks for the consumer.
        output_blocked_s: OutputBlocked,
        /// There was work, but no room for what it would put out.
        memory_held_s: MemoryHeld,
        /// A task was ordered and not at work yet, or through and not noticed yet.
        starting_s: Starting,
        /// An actor started and loaded its state.
        loading_s: Loading,
        /// The same as starting, of tasks whose input lay on other nodes.
        transfer_s: Transfer,
        /// No operator wanted the worker.
        idle_s: Idle,
    }
}

impl Times {
    pub(crate) fn of_workers(times: &core::Times) -> Self {
        Self::new(times, MICROSECONDS)
    }

    pub(crate) fn of_slots(times: &core::Times) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "ten thousand is exact in a float")]
        let shares = Slots::PER_UNIT as f64;
        Self::new(times, shares * MICROSECONDS)
    }
}

/// What a run waited for most.
///
/// Attributes:
///     bottleneck: What.
///     op: The operator that it is about; None where it is the driver or the consumer.
///     share: For how much of the run's time, between 0 and 1.
#[pyclass(frozen, get_all, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Finding {
    bottleneck: &'static str,
    op: Option<u32>,
    share: f64,
}

#[pymethods]
impl Finding {
    fn __repr__(&self) -> String {
        let op = self.op.map_or_else(String::new, |op| format!(" at op{op}"));
        format!("<Finding {}{op} {:.0}%>", self.bottleneck, self.share * 100.0)
    }

    #[classattr]
    fn __annotations__(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        [("bottleneck", "_Bottleneck"), ("op", "int | None"), ("share", "float")].into_py_dict(py)
    }
}

impl From<core::Finding> for Finding {
    fn from(finding: core::Finding) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a share has at most four digits")]
        let share = finding.share as f64 / 1_000.0;
        Self { bottleneck: finding.bottleneck.into(), op: finding.op.map(|op| op.0), share }
    }
}

pub(crate) const fn constraint(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::Cpu => "cpu",
        Constraint::Gpu => "gpu",
        Constraint::Limit => "limit",
        Constraint::LastWork => "last_work",
        Constraint::Straggler => "straggler",
        Constraint::Loading => "loading",
        Constraint::Listing => "listing",
        Constraint::Store => "store",
        Constraint::Heap => "heap",
        Constraint::OtherRuns => "other_runs",
        Constraint::Consumer => "consumer",
    }
}

const MICROSECONDS: f64 = 1e6;
