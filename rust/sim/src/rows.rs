//! Which rows a block holds, so that "each row once, in order" can be checked.
//!
//! The rows that an operator puts out over the whole run are numbered from zero in the order of the
//! source units. A block is then a list of stretches of such numbers. Knows nothing of time.

mod exchange;

use std::collections::BTreeSet;

use millstream_core::{OpKind, OpSpec, Plan};

use serde::{Deserialize, Serialize};

use crate::random::scaled;
use crate::recorded::Recorded;
use crate::rows::exchange::Deal;

/// Consecutive rows: `first` and those after it, up to but not including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The first row.
    pub first: u64,
    /// The row after the last.
    pub end: u64,
}

/// The rows of a block or of a task's whole output, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content(Vec<Stretch>);

impl Content {
    /// One stretch.
    #[must_use]
    pub fn of(first: u64, end: u64) -> Self {
        let mut content = Self::default();
        content.push(Stretch { first, end });
        content
    }

    /// The stretches, none of them empty.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.0
    }

    /// How many rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.0.iter().map(|stretch| stretch.end - stretch.first).sum()
    }

    /// The first row; zero if there is none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.first().map_or(0, |stretch| stretch.first)
    }

    /// Adds rows at the end.
    pub fn push(&mut self, stretch: Stretch) {
        if stretch.first == stretch.end {
            return;
        }
        match self.0.last_mut() {
            Some(last) if last.end == stretch.first => last.end = stretch.end,
            _ => self.0.push(stretch),
        }
    }

    /// Adds all rows of `other` at the end.
    pub fn append(&mut self, other: &Self) {
        for stretch in &other.0 {
            self.push(*stretch);
        }
    }

    /// The rows with numbers from `first` up to `end`, counted from `first`.
    fn within(&self, first: u64, end: u64) -> Self {
        let mut rows = Self::default();
        for stretch in &self.0 {
            let (first_here, end_here) = (stretch.first.max(first), stretch.end.min(end));
            if first_here < end_here {
                rows.push(Stretch { first: first_here - first, end: end_here - first });
            }
        }
        rows
    }

    /// The same rows with numbers that are larger by `offset`.
    #[must_use]
    pub fn shifted(&self, offset: u64) -> Self {
        let shift = |stretch: &Stretch| Stretch {
            first: stretch.first + offset,
            end: stretch.end + offset,
        };
        Self(self.0.iter().map(shift).collect())
    }

    /// The rows with numbers below `end`.
    #[must_use]
    pub fn below(&self, end: u64) -> Self {
        let mut rows = Self::default();
        for stretch in self.0.iter().filter(|stretch| stretch.first < end) {
            rows.push(Stretch { first: stretch.first, end: stretch.end.min(end) });
        }
        rows
    }

    /// The rows that `other` does not have.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut left = self.clone();
        for gone in &other.0 {
            let mut rows = Self::default();
            for stretch in &left.0 {
                rows.push(Stretch {
                    end: stretch.end.min(gone.first).max(stretch.first),
                    ..*stretch
                });
                rows.push(Stretch {
                    first: stretch.first.max(gone.end).min(stretch.end),
                    ..*stretch
                });
            }
            left = rows;
        }
        left
    }

    /// Whether both have some row.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|a| other.0.iter().any(|b| a.first < b.end && b.first < a.end))
    }

    /// `count` rows from position `skip` on, or fewer where there are not so many.
    #[must_use]
    pub fn part(&self, skip: u64, count: u64) -> Self {
        let (mut skip, mut count) = (skip, count);
        let mut part = Self::default();
        for stretch in &self.0 {
            let length = stretch.end - stretch.first;
            let first = stretch.first + skip.min(length);
            let end = first + count.min(stretch.end - first);
            part.push(Stretch { first, end });
            skip -= skip.min(length);
            count -= end - first;
        }
        part
    }
}

/// How many rows come out for the rows that go in: `out` for each `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRatio {
    /// Rows out.
    pub out: u64,
    /// Rows in.
    pub per: u64,
}

impl RowRatio {
    /// As many out as in.
    pub const ONE: Self = Self { out: 1, per: 1 };

    fn before(self, row: u64) -> u64 {
        scaled(row, self.out, self.per)
    }
}

/// Which rows an operator puts out for those that go in.
#[derive(Clone, Debug)]
pub enum RowFlow {
    /// By a rule.
    Ratio(RowRatio),
    /// As it did before.
    Recorded(Recorded),
}

impl RowFlow {
    fn before(&self, row: u64) -> u64 {
        match self {
            Self::Ratio(ratio) => ratio.before(row),
            Self::Recorded(recorded) => recorded.rows_before(row),
        }
    }
}

/// The rows of every operator of a plan.
#[derive(Clone, Debug)]
pub struct RowMap {
    ops: Vec<OpRows>,
}

/// How the rows of one operator follow from those of others.
#[derive(Clone, Debug)]
struct OpRows {
    kind: RowKind,
    inputs: Vec<usize>,
    reader: Option<(usize, usize)>,
    /// The numbers that its rows can have are below this one.
    numbers: u64,
    /// How many rows it puts out.
    total: u64,
    /// Whether it is known which numbers those have: all from zero on.
    is_dense: bool,
}

#[derive(Clone, Debug)]
enum RowKind {
    /// The row after the last of each unit.
    Source(Vec<u64>),
    Map(RowFlow),
    Limit {
        rows: u64,
        in_order: bool,
    },
    Union,
    Zip,
    /// Rows keep their numbers, but not their order.
    Scatter(Deal),
    Gather(Deal),
    Split,
}

impl RowMap {
    /// `unit_rows`: the rows of each unit, for each operator; `flows`: one for each operator,
    /// unused where rows do not follow from others in that way.
    #[must_use]
    pub fn new(plan: &Plan, unit_rows: &[Vec<u64>], flows: Vec<RowFlow>) -> Self {
        let mut map = Self { ops: Vec::new() };
        for ((position, spec), flow) in plan.ops().iter().enumerate().zip(flows) {
            let inputs: Vec<usize> = spec.inputs.iter().map(|input| input.0 as usize).collect();
            for (port, input) in inputs.iter().enumerate() {
                map.ops[*input].reader = Some((position, port));
            }
            let kind = match spec.kind {
                OpKind::Source { .. } => RowKind::Source(ends(&unit_rows[position])),
                OpKind::Tasks | OpKind::Actors(_) | OpKind::Sink => RowKind::Map(flow),
                OpKind::Limit { rows } => {
                    let in_order = plan.config().preserve_order || meets_zip(plan, position);
                    RowKind::Limit { rows: rows.0, in_order }
                }
                OpKind::Union => RowKind::Union,
                OpKind::Split { .. } => RowKind::Split,
                OpKind::Zip => RowKind::Zip,
                OpKind::Scatter { partitions } => {
                    let numbers = map.ops[inputs[0]].numbers;
                    RowKind::Scatter(Deal::new(position as u64, partitions, numbers))
                }
                OpKind::Gather => match &map.ops[inputs[0]].kind {
                    RowKind::Scatter(deal) => RowKind::Gather(deal.clone()),
                    _ => unreachable!("because a plan has no gather without its scatter"),
                },
            };
            let op = map.measured(kind, inputs);
            map.ops.push(op);
        }
        map
    }

    fn measured(&self, kind: RowKind, inputs: Vec<usize>) -> OpRows {
        let above = || inputs.iter().map(|input| &self.ops[*input]);
        let (mut numbers, mut total) = match &kind {
            RowKind::Source(ends) => {
                (ends.last().copied().unwrap_or(0), ends.last().copied().unwrap_or(0))
            }
            RowKind::Zip => above().map(|op| (op.numbers, op.total)).min().unwrap_or((0, 0)),
            _ => (above().map(|op| op.numbers).sum(), above().map(|op| op.total).sum()),
        };
        let mut is_dense = above().all(|op| op.is_dense);
        match kind {
            RowKind::Map(ref flow) => (numbers, total) = (flow.before(numbers), flow.before(total)),
            RowKind::Limit { rows, in_order } => {
                total = total.min(rows);
                numbers = if in_order { numbers.min(rows) } else { numbers };
                is_dense = is_dense && total == numbers;
            }
            _ => {}
        }
        OpRows { kind, inputs, reader: None, numbers, total, is_dense }
    }

    /// The rows that all operators put out together.
    #[must_use]
    pub fn rows_made(&self) -> u64 {
        self.ops.iter().map(|op| op.numbers).sum()
    }

    /// What source `op` puts out for `count` units from `first` on.
    ///
    /// # Panics
    /// Never: units are counted in memory.
    #[must_use]
    pub fn of_units(&self, op: usize, first: u64, count: u64) -> Content {
        let RowKind::Source(ends) = &self.ops[op].kind else { return Content::default() };
        let start = |unit: u64| {
            let unit = usize::try_from(unit).expect("because units are counted in memory");
            if unit == 0 { 0 } else { ends[unit - 1] }
        };
        Content::of(start(first), start(first + count))
    }

    /// What operator `op` puts out for `input`.
    #[must_use]
    pub fn of_input(&self, op: usize, input: &Content) -> Content {
        let flow = match &self.ops[op].kind {
            RowKind::Map(flow) => flow,
            RowKind::Scatter(deal) => return deal.dealt(input),
            RowKind::Gather(deal) => return deal.gathered(input),
            _ => return input.clone(),
        };
        let mut output = Content::default();
        for stretch in input.stretches() {
            let (first, end) = (flow.before(stretch.first), flow.before(stretch.end));
            output.push(Stretch { first, end });
        }
        output
    }

    /// The partition of a block that a task of `op` puts out; zero where there are none.
    #[must_use]
    pub fn partition(&self, op: usize, content: &Content) -> u32 {
        match &self.ops[op].kind {
            RowKind::Scatter(deal) => deal.partition(content.first()),
            _ => 0,
        }
    }

    /// The partitions of the rows that come to the reduce side of an exchange.
    #[must_use]
    pub fn partitions(&self, gather: usize, content: &Content) -> BTreeSet<u32> {
        let RowKind::Gather(deal) = &self.ops[gather].kind else { return BTreeSet::new() };
        let rows = content.stretches().iter().flat_map(|stretch| stretch.first..stretch.end);
        rows.map(|row| deal.partition(row)).collect()
    }

    /// Where in the output of a task of `op` a block must end, since a partition does.
    #[must_use]
    pub fn cuts(&self, op: usize, output: &Content) -> Vec<u64> {
        match &self.ops[op].kind {
            RowKind::Scatter(deal) => deal.cuts(output),
            _ => Vec::new(),
        }
    }

    /// The numbers that rows of `producer` have where they arrive, and at which input: at operator
    /// `at`, or at the consumer. None if they do not, or an operator works on them before.
    #[must_use]
    pub fn arriving(
        &self,
        producer: usize,
        content: &Content,
        at: Option<usize>,
    ) -> Option<(usize, Content)> {
        let (mut op, mut content) = (producer, content.clone());
        loop {
            let Some((reader, port)) = self.ops[op].reader else {
                return at.is_none().then_some((0, content));
            };
            if at == Some(reader) {
                return Some((port, content));
            }
            content = self.behind(reader, port, &content)?;
            op = reader;
        }
    }

    /// The numbers that rows have behind an operator that blocks pass. None if it works on them.
    fn behind(&self, reader: usize, port: usize, content: &Content) -> Option<Content> {
        match self.ops[reader].kind {
            RowKind::Union => Some(content.shifted(self.rows_before(reader, port))),
            RowKind::Limit { rows, in_order: true } => Some(content.below(rows)),
            RowKind::Split | RowKind::Limit { in_order: false, .. } => Some(content.clone()),
            RowKind::Source(_)
            | RowKind::Map(_)
            | RowKind::Zip
            | RowKind::Scatter(_)
            | RowKind::Gather(_) => None,
        }
    }

    /// The rows that come to the first input of operator `at`, or to the consumer, for what `op` puts
    /// out. None if they do not, or a limit takes any of them.
    #[must_use]
    pub fn reaching(&self, op: usize, content: &Content, at: Option<usize>) -> Option<Content> {
        let (mut op, mut content) = (op, content.clone());
        while let Some((reader, port)) = self.ops[op].reader {
            if at == Some(reader) {
                return Some(content);
            }
            if matches!(self.ops[reader].kind, RowKind::Limit { in_order: false, .. }) {
                return None;
            }
            let passed = self.behind(reader, port, &content);
            content = passed.unwrap_or_else(|| self.of_input(reader, &content));
            op = reader;
        }
        at.is_none().then_some(content)
    }

    /// The operators whose output has the rows that come to an input of `op` with these numbers, and
    /// the numbers that they have there. `is_own` tells which of the rows that a limit lets pass it
    /// made itself, cutting a block.
    #[must_use]
    pub fn upstream(
        &self,
        op: usize,
        input: usize,
        content: &Content,
        is_own: &impl Fn(usize, &Content) -> bool,
    ) -> Vec<(usize, Content)> {
        let above = self.ops[op].inputs[input];
        match self.ops[above].kind {
            _ if content.rows() == 0 => Vec::new(),
            RowKind::Union => {
                let inputs = self.ops[above].inputs.iter().enumerate();
                let parts = inputs.map(|(port, from)| {
                    let first = self.rows_before(above, port);
                    (port, content.within(first, first + self.ops[*from].numbers))
                });
                parts.flat_map(|(port, rows)| self.upstream(above, port, &rows, is_own)).collect()
            }
            RowKind::Limit { .. } => {
                let mut rest = Content::default();
                let mut own = Content::default();
                for row in content.stretches().iter().flat_map(|s| s.first..s.end) {
                    let of_row = Content::of(row, row + 1);
                    if is_own(above, &of_row) { &mut own } else { &mut rest }.append(&of_row);
                }
                let mut parts = self.upstream(above, 0, &rest, is_own);
                if own.rows() > 0 {
                    parts.push((above, own));
                }
                parts
            }
            _ => vec![(above, content.clone())],
        }
    }

    /// The operators that what `op` puts out comes to before any has worked on it, and that which
    /// does, nearest first.
    pub fn next_readers(&self, op: usize) -> impl Iterator<Item = usize> {
        let worker = self.worker_after(op);
        let passing = self.below(op).take_while(|reader| self.passes(*reader));
        passing.chain(worker)
    }

    /// How many inputs `op` has.
    #[must_use]
    pub fn inputs(&self, op: usize) -> usize {
        self.ops[op].inputs.len()
    }

    /// The operator that works on what `op` puts out; none: the consumer.
    #[must_use]
    pub fn worker_after(&self, op: usize) -> Option<usize> {
        self.below(op).find(|reader| !self.passes(*reader))
    }

    /// Whether rows are to be put side by side of which there are not equally many, and no limit
    /// could end that before it shows.
    #[must_use]
    pub fn must_fail(&self) -> bool {
        let differs = |op: usize| {
            let totals = self.ops[op].inputs.iter().map(|input| self.ops[*input].total);
            let is_zip = matches!(self.ops[op].kind, RowKind::Zip);
            is_zip && totals.clone().min() != totals.max()
        };
        (0..self.ops.len()).any(|op| differs(op) && self.limits_below(op).next().is_none())
    }

    /// Whether blocks pass an operator without a task.
    #[must_use]
    pub fn passes(&self, op: usize) -> bool {
        matches!(self.ops[op].kind, RowKind::Union | RowKind::Limit { .. } | RowKind::Split)
    }

    /// The limits that what `op` puts out must pass and that let pass no more rows than come.
    pub fn limits_below(&self, op: usize) -> impl Iterator<Item = usize> {
        self.below(op).filter(|reader| match self.ops[*reader].kind {
            RowKind::Limit { rows, .. } => self.total_of_input(*reader, 0) >= rows,
            _ => false,
        })
    }

    /// The rows that a limit lets pass, and whether it takes the first ones; none if `op` is no
    /// limit.
    #[must_use]
    pub fn limit(&self, op: usize) -> Option<(u64, bool)> {
        match self.ops[op].kind {
            RowKind::Limit { rows, in_order } => Some((rows, in_order)),
            _ => None,
        }
    }

    /// How many rows come to an input of `op` in all.
    #[must_use]
    pub fn total_of_input(&self, op: usize, input: usize) -> u64 {
        self.ops[self.ops[op].inputs[input]].total
    }

    /// How many rows the last operator puts out in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.ops.last().map_or(0, |op| op.total)
    }

    /// Whether it is known which rows the last operator puts out: not if a limit takes any.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.ops.last().is_none_or(|op| op.is_dense)
    }

    fn below(&self, op: usize) -> impl Iterator<Item = usize> {
        let next = |op: usize| self.ops[op].reader.map(|(reader, _)| reader);
        std::iter::successors(next(op), move |op| next(*op))
    }

    fn rows_before(&self, union: usize, port: usize) -> u64 {
        self.ops[union].inputs[..port].iter().map(|input| self.ops[*input].numbers).sum()
    }
}

/// Whether what an operator puts out is put side by side with other rows further down.
fn meets_zip(plan: &Plan, op: usize) -> bool {
    let reads = |spec: &OpSpec| spec.inputs.iter().any(|input| input.0 as usize == op);
    let reader = plan.ops().iter().position(reads);
    reader.is_some_and(|reader| {
        matches!(plan.ops()[reader].kind, OpKind::Zip) || meets_zip(plan, reader)
    })
}

fn ends(unit_rows: &[u64]) -> Vec<u64> {
    let ends = unit_rows.iter().scan(0, |end, rows| {
        *end += rows;
        Some(*end)
    });
    ends.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_core::{Config, OpId, Resources, Rows};

    #[test]
    fn neighbours_join_and_parts_cut_across_them() {
        let mut content = Content::of(0, 3);
        content.append(&Content::of(3, 5));
        content.append(&Content::of(9, 12));
        assert_eq!(content.stretches().len(), 2);
        assert_eq!(content.rows(), 8);
        let part = content.part(4, 2);
        assert_eq!(part.stretches(), [Stretch { first: 4, end: 5 }, Stretch { first: 9, end: 10 }]);
        assert_eq!(content.part(7, 100).rows(), 1);
    }

    const SOURCE: OpKind = OpKind::Source { units: Vec::new(), is_open: false };

    fn plan(ops: Vec<(OpKind, Vec<u32>)>) -> Plan {
        let ops = ops.into_iter().map(|(kind, inputs)| OpSpec {
            name: "Op".into(),
            inputs: inputs.into_iter().map(OpId).collect(),
            kind,
            resources: Resources::default(),
            concurrency_max: 0,
            bundle_rows_min: Rows::ZERO,
        });
        Plan::new(ops.collect(), Config::default()).expect("because the tests' plans are sound")
    }

    #[test]
    fn rows_of_a_later_input_follow_those_of_the_first_and_a_limit_cuts_them() {
        let limit = OpKind::Limit { rows: Rows(8) };
        let plan = plan(vec![
            (SOURCE, vec![]),
            (SOURCE, vec![]),
            (OpKind::Union, vec![0, 1]),
            (limit, vec![2]),
        ]);
        let unit_rows = [vec![5], vec![6], vec![], vec![]];
        let map = RowMap::new(&plan, &unit_rows, vec![RowFlow::Ratio(RowRatio::ONE); 4]);
        let arrived = map.arriving(1, &Content::of(2, 4), Some(3));
        assert_eq!(arrived, Some((0, Content::of(7, 9))));
        assert_eq!(map.arriving(1, &Content::of(2, 4), None), Some((0, Content::of(7, 8))));
        assert_eq!((map.total(), map.is_dense()), (8, true));
        assert_eq!(map.limits_below(0).collect::<Vec<_>>(), [3]);
        let sources = map.upstream(3, 0, &Content::of(3, 7), &|_, _| false);
        assert_eq!(sources, [(0, Content::of(3, 5)), (1, Content::of(0, 2))]);
    }

    #[test]
    fn outputs_of_neighbours_are_neighbours() {
        let ratios =
            vec![RowFlow::Ratio(RowRatio::ONE), RowFlow::Ratio(RowRatio { out: 2, per: 3 })];
        let plan = plan(vec![(SOURCE, vec![]), (OpKind::Tasks, vec![0])]);
        let map = RowMap::new(&plan, &[vec![4, 0, 7], vec![]], ratios);
        let first = map.of_input(1, &map.of_units(0, 0, 2));
        let mut both = first.clone();
        both.append(&map.of_input(1, &map.of_units(0, 2, 1)));
        assert_eq!(first.rows(), 2);
        assert_eq!(both.stretches(), [Stretch { first: 0, end: 7 }]);
    }
}
