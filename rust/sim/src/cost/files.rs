//! A source of many files of very different sizes, listed while it is read.
//!
//! Owns the files, of which nothing is kept: what a file is like follows from its number. They are read
//! on 1,000 nodes by tasks that cost nothing here, so that what is measured is the scheduler alone: how
//! long until the first task, how memory grows with the list, and how evenly tasks are packed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

use cpu_time::ThreadTime;
use millstream_core::{
    Action, BlockId, Bytes, Config, Event, NodeId, OpId, OpKind, OpSpec, Plan, Resources, Rows,
    Scheduler, Slots, Span, TaskId, Time, Unit, Work,
};
use serde::Serialize;

use crate::cost::memory::resident_bytes;
use crate::random::Random;
use crate::trace::step;

/// What it cost to read many files.
#[derive(Clone, Debug, Serialize)]
pub struct FilesCost {
    /// How many.
    pub files: u64,
    /// Tasks that read them.
    pub tasks: u64,
    /// Tasks that read several.
    pub packed_tasks: u64,
    /// The scheduler's time until the first task was launched, submit included.
    pub first_launch_s: f64,
    /// The scheduler's time for all of it.
    pub busy_s: f64,
    /// Memory of the process at the end over that after a tenth of the files; none where this system
    /// does not tell.
    pub memory_growth: Option<f64>,
    /// Bytes of the largest over those of the median task, of tasks that read several files.
    pub packed_max_over_median: f64,
    /// The same of all tasks: a file cannot be divided, however large it is.
    pub max_over_median: f64,
    /// Bytes of the largest file over those of the median task.
    pub file_over_median: f64,
    /// How long the run took on its virtual clock.
    pub makespan_s: f64,
    /// What it takes at least: all work, evenly spread, or the largest file.
    pub bound_s: f64,
}

/// Reads `files` files.
///
/// # Panics
/// If the run fails, which nothing in it gives a reason to.
#[must_use]
pub fn many_files(files: u64) -> FilesCost {
    let begun = ThreadTime::now();
    let mut scheduler = submit();
    let mut busy = begun.elapsed();
    let mut first_launch = None;
    let mut world = World { files, ..World::default() };
    let mut early = None;
    let mut events = Vec::new();
    while !scheduler.is_done() {
        let begun = ThreadTime::now();
        let actions = step(&mut scheduler, world.now, std::mem::take(&mut events));
        busy += begun.elapsed();
        world.perform(&actions, &mut events);
        if !world.jobs.is_empty() {
            first_launch.get_or_insert(busy);
        }
        if world.read * 10 >= files && early.is_none() {
            early = resident_bytes();
        }
        if events.is_empty() && !scheduler.is_done() {
            world.wait(scheduler.next_wakeup(), &mut events);
        }
    }
    let late = resident_bytes();
    let growth = early.zip(late).map(|(early, late)| ratio(late, early));
    world.cost(first_launch.unwrap_or(busy), busy, growth)
}

fn submit() -> Scheduler {
    let read = OpSpec {
        name: "Read".to_owned(),
        inputs: Vec::new(),
        kind: OpKind::Source { units: Vec::new(), is_open: true },
        resources: Resources::cpu(Slots::whole(1)),
        concurrency_max: 0,
        // Nothing but reading takes time.
        bundle_rows_min: Rows(1),
    };
    let config = Config { preserve_order: false, ..Config::default() };
    let plan = Plan::new(vec![read], config).expect("because it is one source");
    let has = Resources::cpu(Slots::whole(CPUS_PER_NODE));
    let nodes = (0..NODES).map(|node| (NodeId(node), has.clone(), Bytes(1 << 36)));
    Scheduler::submit(plan, nodes.collect()).expect("because each node holds a task")
}

/// The bytes of a file: most have between a kilobyte and a megabyte, and a few up to 50 GB; each
/// order of magnitude is as frequent as the others.
fn file_bytes(file: u64) -> u64 {
    let mut random = Random::of(&[file, FILES]);
    let most = if random.between(1, RARE) == 1 { LARGEST.ilog2() } else { USUAL.ilog2() };
    let size = 1_u64 << random.between(u64::from(SMALLEST.ilog2()), u64::from(most));
    random.between(size, 2 * size).min(LARGEST)
}

/// The cluster, as far as there is one, and what the tasks had to read.
#[derive(Debug, Default)]
struct World {
    files: u64,
    now: Time,
    due: BinaryHeap<Reverse<(Time, TaskId)>>,
    jobs: HashMap<TaskId, (NodeId, Span, u64)>,
    /// Files that tasks have read.
    read: u64,
    work: Span,
    longest: Span,
    largest_file: u64,
    /// The bytes of tasks that read one file, and of those that read several.
    alone: Sizes,
    packed: Sizes,
}

impl World {
    fn perform(&mut self, actions: &[Action], events: &mut Vec<Event>) {
        for action in actions {
            match action {
                Action::ExtendSource { op, first, units } => {
                    self.list(*op, *first, *units, events);
                }
                Action::LaunchTask { task, node, work: Work::Units { first, count }, .. } => {
                    self.launch(*task, *node, *first, *count);
                }
                Action::EmitBlock { block, .. } => {
                    events.push(Event::OutputTaken { block: *block });
                }
                Action::DropBlock { .. } | Action::ResumeTask { .. } => {}
                other => unreachable!("because nothing goes wrong here: {other:?}"),
            }
        }
    }

    fn list(&self, op: OpId, first: u64, units: u64, events: &mut Vec<Event>) {
        let end = (first + units).min(self.files);
        let unit = |file| Unit { bytes: Bytes(file_bytes(file)) };
        if first < end {
            events.push(Event::SourceExtended {
                op,
                first,
                units: (first..end).map(unit).collect(),
            });
        }
        if end < first + units {
            events.push(Event::SourceExhausted { op });
        }
    }

    fn launch(&mut self, task: TaskId, node: NodeId, first: u64, count: u64) {
        let files = (first..first + count).map(file_bytes);
        let bytes: u64 =
            files.inspect(|file| self.largest_file = self.largest_file.max(*file)).sum();
        let span = OPEN.times(count) + Span(bytes / BYTES_PER_US);
        let sizes = if count > 1 { &mut self.packed } else { &mut self.alone };
        sizes.add(bytes);
        self.work += span;
        self.longest = self.longest.max(span);
        self.jobs.insert(task, (node, span, count));
        self.due.push(Reverse((self.now.after(span), task)));
    }

    /// Lets time pass until tasks end, or until `wakeup`.
    fn wait(&mut self, wakeup: Option<Time>, events: &mut Vec<Event>) {
        let first = self.due.peek().map(|Reverse((time, _))| time.after(TURN));
        let until = first.into_iter().chain(wakeup).min();
        self.now = until.expect("because a run that is not done moves").max(self.now);
        while let Some(Reverse((_, task))) = self.due.peek().copied().filter(|d| d.0.0 <= self.now)
        {
            self.due.pop();
            let (node, busy, files) = self.jobs.remove(&task).expect("because it was launched");
            self.read += files;
            let (block, rows, bytes) = (BlockId(task.0), Rows(files), Bytes(BLOCK_BYTES));
            events.push(Event::BlockProduced { task, block, rows, bytes, node, partition: 0 });
            events.push(Event::TaskFinished { task, busy, heap_peak: Bytes::ZERO });
        }
    }

    fn cost(&self, first_launch: Duration, busy: Duration, memory: Option<f64>) -> FilesCost {
        assert_eq!(self.read, self.files, "each file is read once");
        let slots = u64::from(NODES) * CPUS_PER_NODE;
        let all = self.alone.with(&self.packed);
        FilesCost {
            files: self.files,
            tasks: self.alone.count() + self.packed.count(),
            packed_tasks: self.packed.count(),
            first_launch_s: first_launch.as_secs_f64(),
            busy_s: busy.as_secs_f64(),
            memory_growth: memory,
            packed_max_over_median: self.packed.max_over_median(),
            max_over_median: all.max_over_median(),
            file_over_median: ratio(self.largest_file, all.median()),
            makespan_s: Duration::from_micros(self.now.0).as_secs_f64(),
            bound_s: Duration::from_micros(self.longest.0.max(self.work.0 / slots)).as_secs_f64(),
        }
    }
}

/// How many tasks had how many bytes, to a 64th of each: it takes no more memory for more of them.
#[derive(Clone, Debug, Default)]
struct Sizes {
    counts: BTreeMap<u64, u64>,
    largest: u64,
}

impl Sizes {
    fn add(&mut self, bytes: u64) {
        let coarse = bytes.max(1).ilog2().saturating_sub(6);
        *self.counts.entry(bytes >> coarse << coarse).or_default() += 1;
        self.largest = self.largest.max(bytes);
    }

    fn with(&self, others: &Self) -> Self {
        let mut all = self.clone();
        for (bytes, count) in &others.counts {
            *all.counts.entry(*bytes).or_default() += count;
        }
        Self { largest: self.largest.max(others.largest), ..all }
    }

    fn count(&self) -> u64 {
        self.counts.values().sum()
    }

    fn median(&self) -> u64 {
        let (half, mut seen) = (self.count() / 2, 0);
        let median = self.counts.iter().find(|(_, count)| {
            seen += **count;
            seen > half
        });
        median.map_or(1, |(bytes, _)| *bytes)
    }

    fn max_over_median(&self) -> f64 {
        ratio(self.largest, self.median())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a measurement has fewer than 52 bits")]
fn ratio(amount: u64, of: u64) -> f64 {
    amount as f64 / of as f64
}

const NODES: u32 = 1_000;
const CPUS_PER_NODE: u64 = 8;
const SMALLEST: u64 = 1_000;
const USUAL: u64 = 1_000_000;
const LARGEST: u64 = 50_000_000_000;
/// One of so many files may be larger than usual.
const RARE: u64 = 10_000;
/// What a file takes beyond its bytes, and how fast those are read.
const OPEN: Span = Span(10_000);
const BYTES_PER_US: u64 = 100;
/// What a task puts out.
const BLOCK_BYTES: u64 = 1 << 20;
/// What happens within a turn of the driver comes in one batch.
const TURN: Span = Span(1_000);
/// Keeps these draws apart from all others.
const FILES: u64 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_files_are_read_once_each_by_even_tasks() {
        let cost = many_files(1_000_000);
        assert!(cost.packed_max_over_median <= 2.0, "{cost:?}");
        assert!(cost.tasks < cost.files / 8, "{cost:?}");
    }
}
