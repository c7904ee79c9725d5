//! Sources whose units are listed while they are read, and units of different sizes, driven by hand.
#![allow(clippy::unwrap_used, missing_docs)] // a test may stop at the first surprise

mod common;

use common::{op, tasks};
use millstream_core::{
    Action, BlockId, Bytes, Config, Event, NodeId, OpId, OpKind, OpSpec, OpState, Plan, Reason,
    Resources, Rows, Scheduler, Slots, Span, TaskId, Time, Unit, Verdict, Work,
};

const NODE: NodeId = NodeId(0);
const READ: OpId = OpId(0);

fn listed(units: &[u64], is_open: bool) -> OpSpec {
    op("Read", OpKind::Source { units: sized(units), is_open }, vec![])
}

fn sized(sizes: &[u64]) -> Vec<Unit> {
    sizes.iter().map(|bytes| Unit { bytes: Bytes(*bytes) }).collect()
}

/// A run on one node with four CPUs.
struct Run {
    scheduler: Scheduler,
    block_next: u64,
}

impl Run {
    fn new(ops: Vec<OpSpec>, config: Config) -> (Self, Vec<Action>) {
        let plan = Plan::new(ops, config).unwrap();
        let node = (NODE, Resources::cpu(Slots::whole(4)), Bytes(1 << 40));
        let scheduler = Scheduler::submit(plan, vec![node]).unwrap();
        let mut run = Self { scheduler, block_next: 0 };
        let actions = run.tell(Event::TimePassed);
        (run, actions)
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        self.scheduler.handle(Time(0), event);
        let actions = std::iter::from_fn(|| self.scheduler.poll_action()).collect();
        self.scheduler.assert_invariants();
        actions
    }

    fn extend(&mut self, first: u64, sizes: &[u64]) -> Vec<Action> {
        self.tell(Event::SourceExtended { op: READ, first, units: sized(sizes) })
    }

    fn exhaust(&mut self) -> Vec<Action> {
        self.tell(Event::SourceExhausted { op: READ })
    }

    /// A task makes a block of so many rows and ends.
    fn make(&mut self, task: u64, rows: u64, busy: Span) -> Vec<Action> {
        let (task, block, rows) = (TaskId(task), BlockId(self.block_next), Rows(rows));
        self.block_next += 1;
        let made =
            Event::BlockProduced { task, block, rows, bytes: Bytes(8), node: NODE, partition: 0 };
        let mut actions = self.tell(made);
        actions.extend(self.tell(Event::TaskFinished { task, busy, heap_peak: Bytes::ZERO }));
        actions
    }

    fn source(&self) -> millstream_core::OpSnapshot {
        self.scheduler.snapshot().ops[0].clone()
    }
}

/// The task and the units of each launch of a source.
fn launches(actions: &[Action]) -> Vec<(u64, u64, u64)> {
    let launched = actions.iter().filter_map(|action| match action {
        Action::LaunchTask { task, work: Work::Units { first, count }, .. } => {
            Some((task.0, *first, *count))
        }
        _ => None,
    });
    launched.collect()
}

fn requests(actions: &[Action]) -> Vec<(u64, u64)> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::ExtendSource { first, units, .. } => Some((*first, *units)),
        _ => None,
    });
    asked.collect()
}

#[test]
fn units_are_asked_for_once_and_read_as_they_come() {
    let (mut run, actions) = Run::new(vec![listed(&[], true)], Config::default());
    let (first, asked) = requests(&actions)[0];
    assert_eq!((first, requests(&actions).len()), (0, 1));
    let wait = Reason::Listing { waiting: 0, awaited: asked };
    assert_eq!(run.source().verdict, Verdict::Hold(wait));
    assert_eq!(run.scheduler.next_wakeup(), None);
    let actions = run.extend(0, &[0, 0]);
    assert_eq!(launches(&actions), [(0, 0, 1)], "the second one waits for what fills its task");
    assert!(requests(&actions).is_empty(), "the first request is under way");
    let actions = run.exhaust();
    assert_eq!(launches(&actions), [(1, 1, 1)]);
    run.make(0, 1, Span(10));
    run.make(1, 1, Span(10));
    for block in 0..2 {
        run.tell(Event::OutputTaken { block: BlockId(block) });
    }
    assert!(run.scheduler.is_done());
    assert_eq!((run.source().units_total, run.source().is_listing), (2, false));
}

#[test]
fn pages_that_come_twice_or_too_late_are_only_counted() {
    let (mut run, _) = Run::new(vec![listed(&[], true)], Config::default());
    run.extend(0, &[5, 5]);
    let stale = |run: &Run| run.scheduler.snapshot().stale_events;
    assert_eq!(run.extend(0, &[5, 5]), []);
    assert_eq!(run.extend(7, &[5]), []);
    assert_eq!(run.extend(2, &[]), []);
    assert_eq!((stale(&run), run.source().units_total), (3, 2));
    run.exhaust();
    assert_eq!(run.exhaust(), []);
    assert_eq!(run.extend(2, &[5]), []);
    assert_eq!(run.tell(Event::SourceExhausted { op: OpId(9) }), []);
    assert_eq!((stale(&run), run.source().units_total), (6, 2));
}

#[test]
fn a_limit_that_has_its_rows_ends_the_list() {
    let limit = op("Limit", OpKind::Limit { rows: Rows(3) }, vec![READ]);
    let (mut run, _) = Run::new(vec![listed(&[], true), limit], Config::default());
    run.extend(0, &[0; 4]);
    let actions = run.make(0, 3, Span(10));
    assert!(requests(&actions).is_empty());
    assert!(!run.source().is_listing);
    assert_eq!(run.extend(4, &[0; 4]), []);
    assert_eq!(run.scheduler.snapshot().stale_events, 1);
    run.tell(Event::OutputTaken { block: BlockId(0) });
    assert!(run.scheduler.is_done());
}

#[test]
fn a_stop_ends_the_list() {
    let (mut run, _) = Run::new(vec![listed(&[], true)], Config::default());
    assert_eq!(run.tell(Event::StopRequested), []);
    assert!(run.scheduler.is_done());
    assert_eq!(run.extend(0, &[0]), []);
    assert_eq!(run.scheduler.snapshot().stale_events, 1);
}

#[test]
fn an_epoch_is_over_only_when_its_last_unit_is_known() {
    let config = Config { epoch_units: 2, ..Config::default() };
    let (mut run, _) = Run::new(vec![listed(&[], true)], config);
    run.extend(0, &[0]);
    run.make(0, 1, Span(10));
    let is_commit = |action: &Action| matches!(action, Action::CommitEpoch { .. });
    let taken = run.tell(Event::OutputTaken { block: BlockId(0) });
    assert!(!taken.iter().any(is_commit), "a second unit of it may come");
    assert!(run.exhaust().iter().any(is_commit));
    assert!(run.scheduler.is_done());
}

#[test]
fn a_later_input_waits_for_the_list_of_an_earlier_one() {
    let later = listed(&[0, 0], false);
    let union = op("Union", OpKind::Union, vec![OpId(0), OpId(1)]);
    let (mut run, actions) = Run::new(vec![listed(&[], true), later, union], Config::default());
    assert!(launches(&actions).is_empty());
    assert_eq!(launches(&run.exhaust()).len(), 2);
    assert_eq!(run.source().state, OpState::Done);
}

#[test]
fn what_is_kept_of_a_list_does_not_grow_with_it() {
    let (mut run, actions) = Run::new(vec![listed(&[], true), tasks(0)], Config::default());
    let mut asked = requests(&actions);
    let mut most = 0;
    for _ in 0..20 {
        let Some((first, units)) = asked.pop() else { break };
        most = most.max(units);
        let page = vec![1; usize::try_from(units).unwrap()];
        asked = requests(&run.extend(first, &page));
    }
    assert!(asked.is_empty(), "enough units wait");
    assert!(most <= 1 << 18, "{most}");
}

/// How a source packs units of these sizes once it knows that each byte takes a microsecond, if its
/// tasks are to take 1,000.
fn packed(sizes: &[u64]) -> Vec<u64> {
    let config = Config { task_span_target: Span(1_000), ..Config::default() };
    let sizes: Vec<u64> = [100, 101].into_iter().chain(sizes.iter().copied()).collect();
    let op = OpSpec { concurrency_max: 1, ..listed(&sizes, false) };
    let (mut run, mut actions) = Run::new(vec![op], config);
    let mut counts = Vec::new();
    while let Some((task, first, count)) = launches(&actions).pop() {
        let range = usize::try_from(first).unwrap()..usize::try_from(first + count).unwrap();
        let bytes: u64 = sizes[range].iter().sum();
        counts.push(bytes);
        actions = run.make(task, 1, Span(bytes));
        actions.extend(run.tell(Event::OutputTaken { block: BlockId(task) }));
    }
    counts
}

#[test]
fn tasks_have_about_as_many_bytes_each_whatever_their_units_have() {
    let sizes: Vec<u64> = (0..400).map(|unit| 1 + unit * 37 % 300).collect();
    let tasks = packed(&sizes);
    let full = &tasks[2..tasks.len() / 2];
    assert!(full.iter().all(|bytes| (700..=1_001).contains(bytes)), "{tasks:?}");
}

#[test]
fn a_unit_that_is_larger_than_a_task_should_be_goes_alone() {
    let mut sizes = vec![50; 400];
    sizes[3] = 1 << 40;
    let tasks = packed(&sizes);
    assert!(tasks.contains(&(1 << 40)), "{tasks:?}");
}
