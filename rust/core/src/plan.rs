//! The validated plan: what the operators are, what each needs, and how they are connected.
//!
//! Owns the checks that need no cluster. Whether a cluster can ever run the plan is decided by
//! [`Scheduler::submit`](crate::Scheduler::submit), which sees its nodes.

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::operators::{Inputs, OpKind};
use crate::resources::Resources;
use crate::units::{Bytes, OpId, Rows, Span};

/// One indivisible piece of a source: a file, a row group, a range of numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Unit {
    /// How many bytes it becomes in memory, if known. Zero: unknown.
    pub bytes: Bytes,
}

/// The bounds of an actor pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PoolSpec {
    /// Actors that the pool starts with and never goes below while it has work.
    pub actors_min: u32,
    /// Actors that the pool never exceeds.
    pub actors_max: u32,
    /// Tasks that may be queued at or running on one actor.
    pub tasks_in_flight_max: u32,
}

/// One operator of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OpSpec {
    /// What people call it in reports and errors.
    pub name: String,
    /// The operators whose blocks it consumes, in order; none for a source.
    pub inputs: Vec<OpId>,
    /// How it executes.
    pub kind: OpKind,
    /// What one task holds while it runs, or one actor while it lives.
    pub resources: Resources,
    /// Stateless tasks that may run at a time. Zero: as many as there is room for. A pool has its
    /// own bounds.
    pub concurrency_max: u32,
    /// Rows that a task wants in its bundle; a task with fewer is launched only when no more
    /// input comes. Zero: any number, and nobody knows whether a call or a row of it takes long. A source
    /// takes units whatever it is, so of one it says only that.
    pub bundle_rows_min: Rows,
}

impl OpSpec {
    /// Whether its tasks run on a pool of actors.
    #[must_use]
    pub const fn has_actors(&self) -> bool {
        matches!(self.kind, OpKind::Actors(_))
    }
}

/// Whether operators overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Execution {
    /// All operators at once, within the memory of the nodes.
    #[default]
    Streaming,
    /// Each operator finishes before the next starts, without regard to memory. For comparison.
    Bulk,
}

/// Choices that hold for the whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// Whether operators overlap.
    pub execution: Execution,
    /// Whether blocks leave in the order of the source units.
    pub preserve_order: bool,
    /// The size at which workers cut their output into blocks.
    pub block_bytes_target: Bytes,
    /// The length of a task below which its fixed cost is thought to matter; small units and
    /// blocks are bundled until a task is expected to take this long.
    pub task_span_target: Span,
    /// A task whose worker died this many times fails the run; likewise a pool whose actors died
    /// this many times in a row while they were loading.
    pub deaths_max: u32,
    /// Units of each source that are an epoch; the last one may have fewer. An epoch is committed
    /// ([`Action::CommitEpoch`](crate::Action::CommitEpoch)) when nothing is left to do for its units.
    /// No task works on several. Zero: there are no epochs.
    #[cfg_attr(feature = "serde", serde(default))]
    pub epoch_units: u64,
    /// Whether a plan is refused for which the stores have no room for one block of the target size of
    /// each operator. Else it runs, since its blocks may be smaller, and if they are not it passes the
    /// stores' limits, block by block, each of which is counted.
    #[cfg_attr(feature = "serde", serde(default))]
    pub strict_memory: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            execution: Execution::Streaming,
            preserve_order: true,
            block_bytes_target: Bytes(BLOCK_BYTES_TARGET),
            task_span_target: Span(TASK_SPAN_TARGET_US),
            deaths_max: DEATHS_MAX,
            epoch_units: 0,
            strict_memory: false,
        }
    }
}

/// Why operators do not make a plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PlanError {
    /// There is no operator.
    #[error("the plan has no operators")]
    Empty,
    /// An operator has more or fewer inputs than its kind takes.
    #[error("operator '{name}' must have {wanted}")]
    Input {
        /// The operator.
        name: String,
        /// `"no input"`, `"one input"` or `"two or more inputs"`.
        wanted: &'static str,
    },
    /// An operator's input is not an earlier operator.
    #[error("operator '{name}' reads from {input}, which does not come before it")]
    InputOrder {
        /// The operator.
        name: String,
        /// What it reads from.
        input: OpId,
    },
    /// The operators are not one chain.
    #[error("the output of operator '{name}' must have exactly one reader, but has {readers}")]
    Readers {
        /// The operator.
        name: String,
        /// How many read it.
        readers: usize,
    },
    /// The bounds of a pool make no sense.
    #[error(
        "the actor pool of operator '{name}' needs 1 <= min <= max and at least one task in flight, \
         but has min={min}, max={max}, tasks in flight={in_flight}"
    )]
    Pool {
        /// The operator.
        name: String,
        /// Its smallest size.
        min: u32,
        /// Its largest size.
        max: u32,
        /// Its tasks in flight per actor.
        in_flight: u32,
    },
    /// A sink whose output another operator reads.
    #[error("operator '{name}' writes the output of the plan, so it must be the last one")]
    SinkNotLast {
        /// The operator.
        name: String,
    },
    /// A split that cannot be.
    #[error("operator '{name}' splits the output, so it must {wanted}")]
    Split {
        /// The operator.
        name: String,
        /// What it must.
        wanted: &'static str,
    },
    /// Rows of several epochs come together in one.
    #[error(
        "operator '{name}' brings rows of several units together, so they are of no one epoch: \
         set epoch_units to 0, or leave the operator out"
    )]
    EpochsMeet {
        /// The operator.
        name: String,
    },
    /// One side of an exchange without the other, or without partitions.
    #[error("operator '{name}' must {wanted}")]
    Exchange {
        /// The operator.
        name: String,
        /// What it must.
        wanted: &'static str,
    },
    /// A limit that must not be zero is zero.
    #[error("the configuration's {option} must be at least 1")]
    Config {
        /// The option.
        option: &'static str,
    },
}

/// Operators that are known to be well formed: each has one reader, except the last, whose blocks
/// are the output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Parts", into = "Parts"))]
pub struct Plan {
    ops: Vec<OpSpec>,
    config: Config,
    /// One for each operator.
    edges: Vec<Edges>,
}

/// Where an operator is in the flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Edges {
    reader: Option<Port>,
    below: Vec<OpId>,
    above: Vec<OpId>,
}

/// Where blocks enter an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    pub(crate) op: OpId,
    /// Which of its inputs.
    pub(crate) input: usize,
}

/// What a plan is made of, as it is written down.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Parts {
    ops: Vec<OpSpec>,
    config: Config,
}

#[cfg(feature = "serde")]
impl From<Plan> for Parts {
    fn from(plan: Plan) -> Self {
        Self { ops: plan.ops, config: plan.config }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Parts> for Plan {
    type Error = PlanError;

    fn try_from(parts: Parts) -> Result<Self, PlanError> {
        Self::new(parts.ops, parts.config)
    }
}

impl Plan {
    /// Checks the operators, which come in the order of the flow.
    ///
    /// # Errors
    /// The first [`PlanError`] found.
    pub fn new(ops: Vec<OpSpec>, config: Config) -> Result<Self, PlanError> {
        if ops.is_empty() {
            return Err(PlanError::Empty);
        }
        for (option, value) in [
            ("block_bytes_target", config.block_bytes_target.0),
            ("deaths_max", u64::from(config.deaths_max)),
        ] {
            if value == 0 {
                return Err(PlanError::Config { option });
            }
        }
        for (position, op) in ops.iter().enumerate() {
            check_input(position, op)?;
            op.kind.meaning().check(op, position + 1 == ops.len())?;
            if config.epoch_units > 0 && op.kind.meaning().brings_units_together() {
                return Err(PlanError::EpochsMeet { name: op.name.clone() });
            }
        }
        for position in 0..ops.len() {
            check_readers(&ops, position)?;
            ops[position].kind.meaning().check_neighbours(&ops, position)?;
        }
        let edges = edges(&ops);
        Ok(Self { ops, config, edges })
    }

    /// The operators, in the order of the flow; the last one's blocks are the output.
    #[must_use]
    pub fn ops(&self) -> &[OpSpec] {
        &self.ops
    }

    /// The choices for the run.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the units of a source out of the plan, for a [`Listing`](crate::operators::source::listing::Listing), and tells
    /// whether more may come.
    pub(crate) fn take_units(&mut self, op: usize) -> (Vec<Unit>, bool) {
        match &mut self.ops[op].kind {
            OpKind::Source { units, is_open } => (core::mem::take(units), *is_open),
            _ => (Vec::new(), false),
        }
    }

    /// Whether the blocks that wait for `op` are taken in order: if all order is preserved, or if
    /// rows are put side by side there or further down.
    pub(crate) fn takes_in_order(&self, op: OpId) -> bool {
        let by_place = |op: &OpId| self.ops[op.0 as usize].kind.meaning().puts_side_by_side();
        self.config.preserve_order || by_place(&op) || self.below(op).iter().any(by_place)
    }

    /// Where the blocks of `op` enter other operators on their way to the consumer, nearest first.
    pub(crate) fn path(&self, op: OpId) -> impl Iterator<Item = Port> {
        core::iter::successors(self.reader(op), |port| self.reader(port.op))
    }

    /// An operator's input with all that leads to it.
    pub(crate) fn branch(&self, op: OpId, input: usize) -> impl Iterator<Item = OpId> {
        let nearest = self.ops[op.0 as usize].inputs[input];
        core::iter::once(nearest).chain(self.above(nearest).iter().copied())
    }

    /// Where the blocks of `op` go; none: to the consumer.
    pub(crate) fn reader(&self, op: OpId) -> Option<Port> {
        self.edges[op.0 as usize].reader
    }

    /// The operators that what `op` puts out passes through, nearest first.
    pub(crate) fn below(&self, op: OpId) -> &[OpId] {
        &self.edges[op.0 as usize].below
    }

    /// The operators whose rows reach `op`, in the order of the plan.
    pub(crate) fn above(&self, op: OpId) -> &[OpId] {
        &self.edges[op.0 as usize].above
    }
}

fn check_input(position: usize, op: &OpSpec) -> Result<(), PlanError> {
    let (is_right, wanted) = match op.kind.meaning().inputs() {
        Inputs::None => (op.inputs.is_empty(), "no input"),
        Inputs::One => (op.inputs.len() == 1, "one input"),
        Inputs::Several => (op.inputs.len() > 1, "two or more inputs"),
    };
    if !is_right {
        return Err(PlanError::Input { name: op.name.clone(), wanted });
    }
    match op.inputs.iter().find(|input| input.0 as usize >= position) {
        Some(input) => Err(PlanError::InputOrder { name: op.name.clone(), input: *input }),
        None => Ok(()),
    }
}

fn check_readers(ops: &[OpSpec], position: usize) -> Result<(), PlanError> {
    let inputs = ops.iter().flat_map(|op| &op.inputs);
    let readers = inputs.filter(|input| input.0 as usize == position).count();
    let wanted = usize::from(position + 1 < ops.len());
    if readers == wanted {
        return Ok(());
    }
    Err(PlanError::Readers { name: ops[position].name.clone(), readers })
}

/// The flow as seen from each operator. Readers come later than what they read.
fn edges(ops: &[OpSpec]) -> Vec<Edges> {
    let mut edges = alloc::vec![Edges::default(); ops.len()];
    for (op, spec) in (0..).map(OpId).zip(ops) {
        for (input, from) in spec.inputs.iter().enumerate() {
            edges[from.0 as usize].reader = Some(Port { op, input });
        }
    }
    for (op, position) in (0..).map(OpId).zip(0..ops.len()) {
        let next = |op: &OpId| edges[op.0 as usize].reader.map(|port| port.op);
        let below: Vec<OpId> = core::iter::successors(next(&op), next).collect();
        for reader in &below {
            edges[reader.0 as usize].above.push(op);
        }
        edges[position].below = below;
    }
    edges
}

/// The upper end of the block sizes that keep both per-block cost and memory small.
const BLOCK_BYTES_TARGET: u64 = 128 << 20;
/// A hundred times the cost of a task on Ray (about 2 ms), so that overhead stays near 1 %.
const TASK_SPAN_TARGET_US: u64 = 200_000;
/// The first death and three retries.
const DEATHS_MAX: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn source() -> OpSpec {
        OpSpec {
            name: "Read".into(),
            inputs: alloc::vec![],
            kind: OpKind::Source { units: alloc::vec![Unit::default()], is_open: false },
            resources: Resources::default(),
            concurrency_max: 0,
            bundle_rows_min: Rows::ZERO,
        }
    }

    fn map(input: u32) -> OpSpec {
        OpSpec {
            name: "Map".into(),
            inputs: alloc::vec![OpId(input)],
            kind: OpKind::Tasks,
            ..source()
        }
    }

    #[test]
    fn a_chain_is_a_plan() {
        let plan = Plan::new(alloc::vec![source(), map(0), map(1)], Config::default());
        assert_eq!(plan.map(|p| p.ops().len()), Ok(3));
    }

    #[test]
    fn each_malformed_plan_has_its_own_error() {
        let pool = PoolSpec { actors_min: 3, actors_max: 2, tasks_in_flight_max: 1 };
        let actors = OpSpec { kind: OpKind::Actors(pool), ..map(0) };
        let cases = [
            (alloc::vec![], "the plan has no operators"),
            (alloc::vec![OpSpec { inputs: alloc::vec![], ..map(0) }], "'Map' must have one input"),
            (
                alloc::vec![OpSpec { inputs: alloc::vec![OpId(0)], ..source() }],
                "'Read' must have no input",
            ),
            (alloc::vec![source(), map(1)], "'Map' reads from op1, which does not come before it"),
            (alloc::vec![source(), source()], "'Read' must have exactly one reader, but has 0"),
            (alloc::vec![source(), map(0), map(0)], "exactly one reader, but has 2"),
            (alloc::vec![source(), actors], "has min=3, max=2"),
        ];
        for (ops, message) in cases {
            let error = Plan::new(ops, Config::default()).expect_err(message);
            let text = alloc::string::ToString::to_string(&error);
            assert!(text.contains(message), "{text}");
        }
    }

    #[test]
    fn the_sides_of_an_exchange_are_next_to_each_other_and_epochs_meet_there() {
        let scatter = |partitions| OpSpec { kind: OpKind::Scatter { partitions }, ..map(0) };
        let gather = |input| OpSpec { kind: OpKind::Gather, ..map(input) };
        let plan = |ops| Plan::new(ops, Config::default()).map_err(|error| error.to_string());
        assert!(plan(alloc::vec![source(), scatter(3), gather(1)]).is_ok());
        let cases = [
            (alloc::vec![source(), scatter(0), gather(1)], "have at least one partition"),
            (alloc::vec![source(), scatter(3), map(1)], "be read by a gather"),
            (alloc::vec![source(), scatter(3)], "be read by a gather"),
            (alloc::vec![source(), gather(0)], "read a scatter"),
        ];
        for (ops, words) in cases {
            let error = plan(ops).expect_err(words);
            assert!(error.ends_with(words), "{error}");
        }
        let config = Config { epoch_units: 1, ..Config::default() };
        let met = Plan::new(alloc::vec![source(), scatter(3), gather(1)], config);
        assert_eq!(met.err(), Some(PlanError::EpochsMeet { name: "Map".into() }));
    }

    #[test]
    fn zero_limits_are_refused() {
        let config = Config { deaths_max: 0, ..Config::default() };
        let error = Plan::new(alloc::vec![source()], config).expect_err("zero deaths");
        assert_eq!(error, PlanError::Config { option: "deaths_max" });
    }
}
