//! What is simulated: a plan, a cluster, and how long, how large and how unlucky everything is.
//!
//! Owns the models. A model's answer follows from the seed and from what is asked about, never from
//! when it is asked, so that every attempt at the same work has the same output. Knows nothing of
//! the clock.

use millstream_core::{OpId, OpKind, OutputRows, Plan, Span};
use serde::{Deserialize, Serialize};

use crate::faults::Faults;
use crate::listing::Listing;
use crate::random::scaled;
use crate::recorded::Recorded;
use crate::rows::{Content, RowFlow, RowMap, RowRatio};
use crate::trace::NodeSpec;
use crate::variation::Variation;

/// Everything that decides a simulated run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The seed of all that is drawn while it runs.
    pub seed: u64,
    /// What runs.
    pub plan: Plan,
    /// The cluster at the start.
    pub nodes: Vec<NodeSpec>,
    /// For each operator the rows of its units; none for what is no source.
    pub unit_rows: Vec<Vec<u64>>,
    /// One for each operator.
    pub models: Vec<OpModel>,
    /// Who takes the output.
    pub consumer: Consumer,
    /// How slow news and orders travel.
    pub delays: Delays,
    /// How fast blocks get from node to node.
    #[serde(default)]
    pub network: Network,
    /// What running something costs beside the work itself.
    #[serde(default)]
    pub overheads: Overheads,
    /// How units are listed; none: all are known at submit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<Listing>,
    /// What goes wrong.
    pub faults: Faults,
}

impl Scenario {
    /// The plan as the scheduler gets it.
    #[must_use]
    pub fn submitted(&self) -> Plan {
        let listed = |listing: Listing| listing.submitted(&self.plan);
        self.listing.map_or_else(|| self.plan.clone(), listed)
    }

    /// Which rows each operator puts out.
    #[must_use]
    pub fn row_map(&self) -> RowMap {
        let flows = self.models.iter().map(OpModel::flow).collect();
        RowMap::new(&self.plan, &self.unit_rows, flows)
    }

    /// How many consumers there are.
    #[must_use]
    pub fn consumers(&self) -> u32 {
        match self.plan.ops().last().map(|op| &op.kind) {
            Some(OpKind::Split { consumers, .. }) => *consumers,
            _ => 1,
        }
    }

    /// Whether the output is split, be it to one consumer.
    #[must_use]
    pub fn is_split(&self) -> bool {
        matches!(self.plan.ops().last().map(|op| &op.kind), Some(OpKind::Split { .. }))
    }

    /// Rows of a split's input that count as none.
    #[must_use]
    pub fn rows_left_out(&self) -> &[OutputRows] {
        match self.plan.ops().last().map(|op| &op.kind) {
            Some(OpKind::Split { left_out, .. }) => left_out,
            _ => &[],
        }
    }

    /// How many of `rows` rows of a split's input, from one on, count.
    #[must_use]
    pub fn rows_counted(&self, first: u64, rows: u64) -> u64 {
        let end = first + rows;
        let overlap = |out: &OutputRows| out.end.min(end).saturating_sub(out.first.max(first));
        rows - self.rows_left_out().iter().map(overlap).sum::<u64>()
    }

    /// Whether all consumers must get equally many rows.
    #[must_use]
    pub fn is_split_equally(&self) -> bool {
        let last = self.plan.ops().last();
        last.is_some_and(|op| matches!(op.kind, OpKind::Split { equal: true, .. }))
    }

    /// How often limits may be passed at a time, by a block and the copies of a task's input each, where
    /// a block of each operator [has room](Self::has_room).
    ///
    /// Once; but once for each consumer where all must get equally many rows, since none gets its block
    /// before all have one, and once for each row that is left out then, since it may come behind one
    /// that not all can have; and twice where what is put side by side lies on several nodes: no room is
    /// kept for its copies, so the block that was let pass may be read by a task that is let pass too.
    #[must_use]
    pub fn overshoots_at_a_time(&self) -> u64 {
        let nodes = self.nodes.len() + self.faults.joins.len();
        let has_zip = self.plan.ops().iter().any(|op| op.kind == OpKind::Zip);
        if self.is_split_equally() {
            let left_out = self.rows_left_out().iter().map(|rows| rows.end - rows.first);
            u64::from(self.consumers()) + left_out.sum::<u64>()
        } else if has_zip && nodes > 1 {
            2
        } else {
            1
        }
    }

    /// What a task of an operator takes beyond its work if it puts out so many bytes.
    #[must_use]
    pub fn call(&self, op: OpId, bytes: u64) -> Span {
        let recorded = self.models[op.0 as usize].recorded.as_ref();
        let own = recorded.map_or(Span::ZERO, |recorded| recorded.beyond_work.for_bytes(bytes));
        self.overheads.call + own
    }

    /// Whether each node has room for what every operator may put out at once: blocks are all alike,
    /// and none is larger than what a scheduler may take for granted before it has seen one.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let joining = self.faults.joins.iter().map(|(_, spec)| spec);
        let stores = self.nodes.iter().chain(joining).map(|spec| spec.store.0);
        let share = stores.min().unwrap_or(0) / self.models.len() as u64;
        let granted = self.plan.config().block_bytes_target.0.min(share / 2);
        // A task behind a barrier reads a whole partition.
        let has_barrier = self.plan.ops().iter().any(|op| op.kind == OpKind::Gather);
        !has_barrier
            && self.models.iter().all(|model| {
                let is_even = model.bytes_variation == Variation::NONE
                    && model.block_rows == 1
                    && !model.emits_empty
                    && model.recorded.is_none();
                is_even && model.row_bytes <= granted
            })
    }
}

/// How the tasks of an operator behave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpModel {
    /// Rows out for rows in; unused for the source.
    pub ratio: RowRatio,
    /// How long a task works.
    pub pace: Pace,
    /// How that varies, by the first item of a task.
    pub pace_variation: Variation,
    /// Rows in a full block.
    pub block_rows: u64,
    /// Bytes of a row in the object store.
    pub row_bytes: u64,
    /// How the bytes of a block vary, by its first row.
    pub bytes_variation: Variation,
    /// Whether slow tasks put out large blocks: both then draw by the first item of the task.
    pub is_correlated: bool,
    /// When blocks are finished.
    pub emission: Emission,
    /// Whether a task without output hands over an empty block, which carries the schema.
    pub emits_empty: bool,
    /// How long an actor takes to start and load.
    pub load: Span,
    /// The resident memory of a worker, and at least of an actor.
    pub heap: u64,
    /// How that varies, by the first item of a task.
    #[serde(default)]
    pub heap_variation: Variation,
    /// What it did before, which then decides its rows, its pace and its blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

/// How long a task works, as a function of its items: units for a source, rows of input for any
/// other operator.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Pace {
    /// A fixed cost and one for each item.
    Even {
        /// For each task.
        task: Span,
        /// For each item.
        item: Span,
    },
    /// One for the first `items`, another one from there on.
    Halves {
        /// Each of the first.
        first: Span,
        /// Each of the rest.
        second: Span,
        /// How many are the first.
        items: u64,
    },
    /// Each `every`-th item is slow.
    Spiky {
        /// Most items.
        usual: Span,
        /// The slow ones.
        spike: Span,
        /// How often.
        every: u64,
    },
}

/// When the blocks of a task are finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Emission {
    /// One after the other, while the task works.
    Streamed,
    /// All when the work is done.
    AtEnd,
}

/// Who takes the output.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consumer {
    /// How long it works on a block.
    pub block: Span,
    /// After so many blocks it has enough, and stops the run.
    pub blocks_max: Option<u64>,
    /// After so many blocks it rests once, for so long.
    pub rest: Option<(u64, Span)>,
}

/// How slow news and orders travel.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delays {
    /// From the driver to a worker.
    pub order: Span,
    /// From a worker to the driver, at most; drawn for each event.
    pub event_max: Span,
    /// How long the driver is busy with one turn; what happens meanwhile comes in one batch.
    pub turn: Span,
}

/// How fast blocks get from node to node. Each node sends and receives one at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// What one link carries. Zero: any number of bytes at once.
    pub bytes_per_second: u64,
    /// How long the first byte takes.
    pub latency: Span,
}

/// What running something costs beside the work itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overheads {
    /// How long a worker process takes to start: once for each slot that tasks without an actor use
    /// on a node, and once for each actor, before it loads.
    pub worker_start: Span,
    /// How long a task takes beyond its work.
    pub call: Span,
}

/// Which of its rows an attempt at a task is to put out.
#[derive(Clone, Copy, Debug, Default)]
pub struct PieceOrder<'a> {
    /// How many it leaves out.
    pub skipped: u64,
    /// How many it makes after those, or all.
    pub wanted: Option<u64>,
    /// The rows of its whole output at which no block goes on.
    pub cuts: &'a [u64],
}

/// One finished block of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// How long the task works on it, from the block before.
    pub work: Span,
}

impl OpModel {
    /// Tasks that take `task`, and `item` for each item. Each item becomes a row without bytes, and each
    /// row a block that is handed over as soon as it is finished; an actor loads at once.
    #[must_use]
    pub const fn even(task: Span, item: Span) -> Self {
        Self {
            ratio: RowRatio::ONE,
            pace: Pace::Even { task, item },
            pace_variation: Variation::NONE,
            block_rows: 1,
            row_bytes: 0,
            bytes_variation: Variation::NONE,
            is_correlated: false,
            emission: Emission::Streamed,
            emits_empty: false,
            load: Span::ZERO,
            heap: 0,
            heap_variation: Variation::NONE,
            recorded: None,
        }
    }

    /// Which rows it puts out for those that go in.
    #[must_use]
    pub fn flow(&self) -> RowFlow {
        let ratio = || RowFlow::Ratio(self.ratio);
        self.recorded.clone().map_or_else(ratio, RowFlow::Recorded)
    }

    /// How long a task of operator `op` works on `items`.
    #[must_use]
    pub fn span(&self, seed: u64, op: u64, items: &Content) -> Span {
        if let Some(recorded) = &self.recorded {
            return recorded.span(items);
        }
        let exact = match self.pace {
            Pace::Even { task, item } => task + item.times(items.rows()),
            Pace::Halves { .. } | Pace::Spiky { .. } => {
                let each = items.stretches().iter().flat_map(|s| s.first..s.end);
                each.map(|item| self.item_span(item)).sum()
            }
        };
        Span(self.pace_variation.apply(exact.0, items.first(), [seed, op, PACE]))
    }

    /// The memory that a worker of operator `op` has while it works on `items`.
    #[must_use]
    pub fn heap_used(&self, seed: u64, op: u64, items: &Content) -> u64 {
        self.heap_variation.apply(self.heap, items.first(), [seed, op, HEAP])
    }

    fn item_span(&self, item: u64) -> Span {
        match self.pace {
            Pace::Even { item, .. } => item,
            Pace::Halves { first, second, items } => {
                if item < items {
                    first
                } else {
                    second
                }
            }
            Pace::Spiky { usual, spike, every } => {
                if item % every == every - 1 {
                    spike
                } else {
                    usual
                }
            }
        }
    }

    /// The blocks of a task that works for `span` on `items` and makes `output` of them, and how long
    /// it works after the last of them.
    #[must_use]
    pub fn pieces(
        &self,
        seed: u64,
        op: u64,
        span: Span,
        items: &Content,
        output: &Content,
        order: PieceOrder<'_>,
    ) -> (Vec<Piece>, Span) {
        let PieceOrder { skipped, wanted, cuts } = order;
        let total = output.rows();
        let end = wanted.map_or(total, |wanted| total.min(skipped + wanted));
        let mut pieces = Vec::new();
        let (mut position, mut worked) = (skipped, Span::ZERO);
        while position < end {
            let rows = match &self.recorded {
                Some(recorded) => recorded.block_rows(output, position),
                None => self.block_rows.max(1),
            };
            let cut = cuts.iter().find(|cut| **cut > position).map_or(end, |cut| end.min(*cut));
            let part = output.part(position, rows.min(cut - position));
            position += part.rows();
            let until = match self.emission {
                Emission::Streamed => Span(scaled(span.0, position, total)),
                Emission::AtEnd => span,
            };
            let bytes = self.block_bytes(seed, op, items, &part);
            pieces.push(Piece { rows: part.rows(), bytes, work: until.saturating_sub(worked) });
            worked = until;
        }
        if pieces.is_empty() && self.emits_empty {
            pieces.push(Piece { rows: 0, bytes: EMPTY_BLOCK_BYTES, work: span });
            worked = span;
        }
        // It stops as soon as it has what is wanted.
        let tail = if wanted.is_some() { Span::ZERO } else { span.saturating_sub(worked) };
        (pieces, tail)
    }

    /// The bytes of the largest block there can be.
    #[must_use]
    pub fn block_bytes_max(&self) -> u64 {
        let even = self.block_rows.max(1).saturating_mul(self.row_bytes);
        self.bytes_variation.most(even).max(EMPTY_BLOCK_BYTES)
    }

    fn block_bytes(&self, seed: u64, op: u64, items: &Content, part: &Content) -> u64 {
        if let Some(recorded) = &self.recorded {
            return recorded.bytes(part);
        }
        let even = part.rows().saturating_mul(self.row_bytes);
        let (first, kind) =
            if self.is_correlated { (items.first(), PACE) } else { (part.first(), BYTES) };
        self.bytes_variation.apply(even, first, [seed, op, kind])
    }
}

/// Keeps the draws of different models apart.
const PACE: u64 = 1;
const BYTES: u64 = 2;
const HEAP: u64 = 14;
/// A schema and nothing else.
const EMPTY_BLOCK_BYTES: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> OpModel {
        OpModel {
            block_rows: 4,
            row_bytes: 8,
            emits_empty: true,
            ..OpModel::even(Span(10), Span(30))
        }
    }

    #[test]
    fn a_retry_works_as_long_and_puts_out_the_rest() {
        let (model, output) = (model(), Content::of(0, 10));
        let span = model.span(1, 0, &output);
        let (pieces, tail) = model.pieces(1, 0, span, &output, &output, PieceOrder::default());
        assert_eq!(
            pieces.iter().map(|p| (p.rows, p.bytes)).collect::<Vec<_>>(),
            [(4, 32), (4, 32), (2, 16)]
        );
        let (rest, rest_tail) = model.pieces(
            1,
            0,
            span,
            &output,
            &output,
            PieceOrder { skipped: 8, ..PieceOrder::default() },
        );
        assert_eq!(rest.iter().map(|p| p.rows).sum::<u64>(), 2);
        for (pieces, tail) in [(pieces, tail), (rest, rest_tail)] {
            assert_eq!(pieces.iter().map(|p| p.work).sum::<Span>() + tail, span);
        }
    }

    #[test]
    fn a_task_without_rows_hands_over_its_schema() {
        let (pieces, tail) = model().pieces(
            1,
            0,
            Span(10),
            &Content::of(0, 1),
            &Content::default(),
            PieceOrder::default(),
        );
        assert_eq!((pieces.len(), tail), (1, Span::ZERO));
    }

    #[test]
    fn slow_items_are_where_they_should_be() {
        let spiky = Pace::Spiky { usual: Span(1), spike: Span(9), every: 10 };
        let model = OpModel { pace: spiky, ..model() };
        assert_eq!(model.span(1, 0, &Content::of(0, 20)), Span(36));
        let halves = Pace::Halves { first: Span(1), second: Span(5), items: 3 };
        let model = OpModel { pace: halves, ..model };
        assert_eq!(model.span(1, 0, &Content::of(2, 4)), Span(6));
    }
}
