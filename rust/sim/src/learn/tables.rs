//! From pieces of work to tables over all items of each operator.
//!
//! The rows of an operator are numbered in the order of the items that they come from, whatever the
//! order in which they came out.

use std::collections::BTreeMap;

use millstream_core::{BlockId, OpId, OpKind, Plan, Span, Work};

use crate::learn::log::{Log, WorkKey};
use crate::random::scaled;
use crate::recorded::{BeyondWork, Point, Recorded, Size};
use crate::rows::{Content, Stretch};

/// A piece of work that was done.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) key: WorkKey,
    pub(super) work: Work,
    /// What all its attempts put out.
    pub(super) outputs: Vec<BlockId>,
    pub(super) busy: Span,
}

/// The units of the source.
pub(super) fn units(plan: &Plan) -> u64 {
    let units = plan.ops().iter().map(|op| match &op.kind {
        OpKind::Source { units, .. } => units.len() as u64,
        _ => 0,
    });
    units.sum()
}

/// A table for each operator.
pub(super) fn tables(plan: &Plan, log: &Log) -> Vec<Recorded> {
    let mut items = units(plan);
    let mut contents: BTreeMap<BlockId, Content> = BTreeMap::new();
    let mut tables = Vec::new();
    for op in (0..).map(OpId).take(plan.ops().len()) {
        let works: Vec<&Done> = log.works.iter().filter(|work| work.key.0 == op).collect();
        let inputs: Vec<Content> = works.iter().map(|work| input(work, &contents)).collect();
        let task = fixed_cost(&works, &inputs);
        let mut shares = Vec::new();
        for (number, (work, input)) in works.iter().zip(&inputs).enumerate() {
            shares.extend(cut(number, work, input, task, log));
        }
        let points = points(shares.clone(), items);
        let (sizes, beyond_work) = (Vec::new(), BeyondWork::default());
        let mut table = Recorded { points, sizes, cut_bytes: u64::MAX, task, beyond_work };
        contents = outputs(&works, &shares, &table, log);
        table.sizes = sizes_of(&contents, table.rows_before(u64::MAX), log);
        items = table.rows_before(u64::MAX);
        tables.push(table);
    }
    tables
}

/// A stretch of the items of one piece of work, and its part of what came of it.
#[derive(Clone, Copy, Debug)]
struct Share {
    work: usize,
    items: Stretch,
    rows: u64,
    busy: u64,
}

fn input(work: &Done, contents: &BTreeMap<BlockId, Content>) -> Content {
    match &work.work {
        Work::Units { first, count } => Content::of(*first, first + count),
        Work::Blocks(_) | Work::Slices(_) => {
            let mut input = Content::default();
            for block in work.work.blocks().filter_map(|block| contents.get(&block)) {
                input.append(block);
            }
            input
        }
    }
}

/// The part of a task's time that does not grow with its items: where the line through the times of
/// tasks of different sizes begins.
#[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative")]
fn fixed_cost(works: &[&Done], inputs: &[Content]) -> Span {
    let count = works.len() as f64;
    let tasks = works.iter().zip(inputs);
    let sizes = tasks.map(|(work, input)| (input.rows() as f64, work.busy.0 as f64));
    let sizes: Vec<(f64, f64)> = sizes.collect();
    let items_mean = sizes.iter().map(|(items, _)| items).sum::<f64>() / count;
    let busy_mean = sizes.iter().map(|(_, busy)| busy).sum::<f64>() / count;
    let around = |size: &(f64, f64)| (size.0 - items_mean, size.1 - busy_mean);
    let spread: f64 = sizes.iter().map(around).map(|(items, _)| items * items).sum();
    let both: f64 = sizes.iter().map(around).map(|(items, busy)| items * busy).sum();
    if spread <= 0.0 {
        return Span::ZERO;
    }
    let least = works.iter().map(|work| work.busy.0).min().unwrap_or(0);
    let begin = busy_mean - both / spread * items_mean;
    Span(begin.max(0.0) as u64).min(Span(least))
}

/// Divides what came of a piece of work among the stretches of its items.
fn cut(number: usize, work: &Done, items: &Content, task: Span, log: &Log) -> Vec<Share> {
    let blocks = work.outputs.iter().map(|block| log.blocks[block]);
    let rows = blocks.map(|block| block.rows).sum();
    let all = items.rows();
    let mut done = 0;
    let shares = items.stretches().iter().map(|stretch| {
        let (from, to) = (done, done + stretch.end - stretch.first);
        done = to;
        let part = |amount| scaled(amount, to, all) - scaled(amount, from, all);
        let (rows, busy) = (part(rows), part(work.busy.saturating_sub(task).0));
        Share { work: number, items: *stretch, rows, busy }
    });
    shares.collect()
}

/// The sums along the items. Items that were never done are taken to be like the others.
fn points(shares: Vec<Share>, items: u64) -> Vec<Point> {
    let mut shares = shares;
    shares.sort_unstable_by_key(|share| share.items.first);
    let done: u64 = shares.iter().map(|share| share.items.end - share.items.first).sum();
    let sum = |amount: fn(&Share) -> u64| shares.iter().map(amount).sum::<u64>();
    let sums = [sum(|share| share.rows), sum(|share| share.busy)];
    let mut points = vec![Point::default()];
    let mut add = |item: u64, [rows, busy]: [u64; 2]| {
        let last = points[points.len() - 1];
        points.push(Point { item, rows: last.rows + rows, busy: last.busy + Span(busy) });
    };
    let mut next = 0;
    for share in &shares {
        if share.items.first > next {
            add(share.items.first, sums.map(|all| scaled(all, share.items.first - next, done)));
        }
        add(share.items.end, [share.rows, share.busy]);
        next = share.items.end;
    }
    if items > next {
        add(items, sums.map(|all| scaled(all, items - next, done)));
    }
    points
}

/// The bytes along the rows. Rows that never came out are taken to be like the others.
fn sizes_of(contents: &BTreeMap<BlockId, Content>, rows: u64, log: &Log) -> Vec<Size> {
    let mut parts = Vec::new();
    for (block, content) in contents {
        let (bytes, all) = (log.blocks[block].bytes, content.rows());
        let share = |stretch: &Stretch| scaled(bytes, stretch.end - stretch.first, all);
        parts.extend(content.stretches().iter().map(|stretch| (*stretch, share(stretch))));
    }
    parts.sort_unstable_by_key(|(stretch, _)| stretch.first);
    let (known, all) = parts.iter().fold((0, 0), |(rows, sum), (stretch, bytes)| {
        (rows + stretch.end - stretch.first, sum + bytes)
    });
    let mut sizes = vec![Size::default()];
    let mut add = |row: u64, bytes: u64| {
        let last = sizes[sizes.len() - 1];
        sizes.push(Size { row, bytes: last.bytes + bytes });
    };
    let mut next = 0;
    for (stretch, bytes) in parts {
        if stretch.first > next {
            add(stretch.first, scaled(all, stretch.first - next, known));
        }
        add(stretch.end, bytes);
        next = stretch.end;
    }
    if rows > next {
        add(rows, scaled(all, rows - next, known));
    }
    sizes
}

/// Which rows each block holds.
fn outputs(
    works: &[&Done],
    shares: &[Share],
    table: &Recorded,
    log: &Log,
) -> BTreeMap<BlockId, Content> {
    let mut whole = vec![Content::default(); works.len()];
    for share in shares {
        let [first, end] = [share.items.first, share.items.end].map(|item| table.rows_before(item));
        whole[share.work].push(Stretch { first, end });
    }
    let mut contents = BTreeMap::new();
    for (work, whole) in works.iter().zip(&whole) {
        let mut skip = 0;
        for block in &work.outputs {
            let rows = log.blocks[block].rows;
            contents.insert(*block, whole.part(skip, rows));
            skip += rows;
        }
        for (_, row, block) in log.remade.iter().filter(|(key, ..)| *key == work.key) {
            contents.insert(*block, whole.part(*row, log.blocks[block].rows));
        }
    }
    contents
}
