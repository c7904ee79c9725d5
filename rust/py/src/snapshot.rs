//! Snapshots as Python classes.
//!
//! Owns their conversion. The numbers and what they mean are listed in the core; `_core_snapshot.pyi`
//! is made of these classes by `tools/core_stub.py`.

use std::collections::BTreeMap;

use millstream_core as core;
use millstream_core::{Bytes, NodeId, Slots, Span};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::details::{self, Details};
use crate::numbers::float;
use crate::times::{Finding, Times, constraint};

/// A number of the core as Python sees it.
trait Number {
    type Shown;
    /// The type in Python.
    const TYPE: &str;
    fn shown(self) -> Self::Shown;
}

/// Implements [`Number`] for types of the core.
macro_rules! shown {
    ($($type:ty => $shown:ty, $name:literal, |$number:ident| $value:expr;)*) => {
        $(impl Number for $type {
            type Shown = $shown;
            const TYPE: &str = $name;
            fn shown(self) -> $shown {
                let $number = self;
                $value
            }
        })*
    };
}

shown! {
    bool => bool, "bool", |flag| flag;
    u64 => u64, "int", |count| count;
    Vec<u64> => Vec<u64>, "list[int]", |counts| counts;
    Bytes => u64, "int", |bytes| bytes.0;
    Span => u64, "int", |span| span.0;
    Slots => f64, "float", |slots| float(slots);
    NodeId => u32, "int", |node| node.0;
    Vec<NodeId> => Vec<u32>, "list[int]", |nodes| nodes.iter().map(|node| node.0).collect();
}

/// Makes a class of a snapshot of the core: of fields that are given with their types in Python, and
/// of all numbers of a list.
macro_rules! snapshot_class {
    (
        $(#[$about:meta])* $class:ident($taken:ident) {
            $($(#[$doc:meta])* $own:ident: $own_type:ty, $annotation:literal = $value:expr;)*
        }
        $($group:ident {
            $($(#[$number_doc:meta])* $number:ident: $type:ty $(as $name:literal)?,)*
        })*
    ) => {
        $(#[$about])*
        #[pyclass(frozen, get_all, eq, from_py_object, module = "millstream._core")]
        #[derive(Clone, PartialEq)]
        pub(crate) struct $class {
            $($(#[$doc])* $own: $own_type,)*
            $($($(#[$number_doc])* $(#[pyo3(name = $name)])? $number: <$type as Number>::Shown,)*)*
        }

        #[pymethods]
        impl $class {
            fn __repr__(&self) -> String {
                self.text()
            }

            #[classattr]
            fn __annotations__(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
                [
                    $((stringify!($own), $annotation),)*
                    $($((named!($number $($name)?), <$type as Number>::TYPE),)*)*
                ]
                .into_py_dict(py)
            }
        }

        impl From<core::$class> for $class {
            fn from($taken: core::$class) -> Self {
                Self {
                    $($own: $value,)*
                    $($($number: $taken.$number.shown(),)*)*
                }
            }
        }
    };
}

/// The name in Python of a number.
macro_rules! named {
    ($number:ident) => {
        stringify!($number)
    };
    ($number:ident $name:literal) => {
        $name
    };
}

core::op_numbers! { snapshot_class
    /// One operator at a moment.
    OpSnapshot(op) {
        /// Its name in the plan.
        name: String, "str" = op.name;
        /// Whether something runs, or nothing at present, or nothing ever again.
        state: &'static str, r#"Literal["running", "waiting", "done"]"# = match op.state {
            core::OpState::Running => "running",
            core::OpState::Waiting => "waiting",
            core::OpState::Done => "done",
        };
        /// Why it launches nothing at present: one of `REASONS`; None if it just could.
        reason: Option<&'static str>, "str | None" = held(&op.verdict).map(Into::into);
        /// The numbers that belong to the reason, by name.
        details: Details, "dict[str, int | str]" =
            held(&op.verdict).map(details::of_reason).unwrap_or_default();
        /// The time of its workers, in worker-seconds: of its tasks, or of its actors.
        times: Times, "Times" = Times::of_workers(&op.times);
        /// For how long it launched nothing, by the name of the reason, such as `"input_empty"`.
        held_us: BTreeMap<&'static str, u64>, "dict[str, int]" =
            op.held.into_iter().map(|(name, span)| (name, span.0)).collect();
        /// For how long it was what kept the run from being faster, by what it lacked.
        constraints_us: BTreeMap<&'static str, u64>, "dict[str, int]" =
            op.constraints.iter().map(|(c, span)| (constraint(*c), span.0)).collect();
    }
}

impl OpSnapshot {
    fn text(&self) -> String {
        let reason = self.reason.map_or_else(String::new, |reason| format!(": {reason}"));
        format!("<OpSnapshot {:?} {}{reason}>", self.name, self.state)
    }
}

/// Why an operator launches nothing, if it holds.
fn held(verdict: &core::Verdict) -> Option<&core::Reason> {
    match verdict {
        core::Verdict::Admit => None,
        core::Verdict::Hold(reason) => Some(reason),
    }
}

core::node_numbers! { snapshot_class
    /// One node at a moment.
    NodeSnapshot(node) {}
}

impl NodeSnapshot {
    fn text(&self) -> String {
        format!(
            "<NodeSnapshot {}: {}/{} CPU, {}/{} GPU, {}/{} B>",
            self.node,
            self.cpu_used,
            self.cpu_total,
            self.gpu_used,
            self.gpu_total,
            self.store_used,
            self.store_total,
        )
    }
}

core::run_numbers! { snapshot_class
    /// A run at a moment: all that progress, statistics and reports read.
    Snapshot(run) {
        /// What the run waited for most so far; None before any time has passed.
        bottleneck: Option<Finding>, "Finding | None" = run.bottleneck().map(Into::into);
        /// The operators, in the order of the flow.
        ops: Vec<OpSnapshot>, "list[OpSnapshot]" = run.ops.into_iter().map(Into::into).collect();
        /// The nodes, by number.
        nodes: Vec<NodeSnapshot>, "list[NodeSnapshot]" =
            run.nodes.into_iter().map(Into::into).collect();
        /// The time of all CPUs, free ones too, in CPU-seconds.
        cpu_times: Times, "Times" = Times::of_slots(&run.cpu_times);
        /// The time of all GPUs, free ones too, in GPU-seconds.
        gpu_times: Times, "Times" = Times::of_slots(&run.gpu_times);
    }
}

impl Snapshot {
    fn text(&self) -> String {
        let ops: Vec<String> = self.ops.iter().map(OpSnapshot::text).collect();
        format!("<Snapshot {} rows out, [{}]>", self.output_rows, ops.join(", "))
    }
}
