//! Attributed time as Python classes.
//!
//! Owns their conversion. What is attributed to what is documented in the core and in `_core.pyi`.

use millstream_core as core;
use millstream_core::{Activity, Constraint, Slots};
use pyo3::prelude::*;

/// Time by what it went to, in seconds of workers, CPUs or GPUs.
#[pyclass(frozen, get_all, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
#[expect(
    clippy::struct_field_names,
    reason = "Python sees the fields, and units are part of names"
)]
pub(crate) struct Times {
    compute_s: f64,
    input_wait_s: f64,
    output_blocked_s: f64,
    memory_held_s: f64,
    starting_s: f64,
    loading_s: f64,
    transfer_s: f64,
    idle_s: f64,
    total_s: f64,
}

#[pymethods]
impl Times {
    fn __repr__(&self) -> String {
        format!("<Times {:.3} s, {:.3} s of them compute>", self.total_s, self.compute_s)
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

    fn new(times: &core::Times, unit: f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "people read them in a few digits")]
        let seconds = |amount: u128| amount as f64 / unit;
        let of = |activity| seconds(times.of(activity));
        Self {
            compute_s: of(Activity::Compute),
            input_wait_s: of(Activity::InputWait),
            output_blocked_s: of(Activity::OutputBlocked),
            memory_held_s: of(Activity::MemoryHeld),
            starting_s: of(Activity::Starting),
            loading_s: of(Activity::Loading),
            transfer_s: of(Activity::Transfer),
            idle_s: of(Activity::Idle),
            total_s: seconds(times.total()),
        }
    }
}

/// What a run waited for most.
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
