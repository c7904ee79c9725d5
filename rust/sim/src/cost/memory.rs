//! What a live block costs in memory.

use std::time::Duration;

use cpu_time::ThreadTime;
use millstream_core::{
    Action, BlockId, Bytes, Config, Event, Execution, NodeId, OpId, OpKind, OpSpec, Plan,
    Resources, Rows, Scheduler, Slots, TaskId, Time, Unit,
};
use serde::Serialize;

use crate::trace::step;

/// Many blocks that exist at a time.
#[derive(Clone, Debug, Serialize)]
pub struct LiveBlocks {
    /// How many.
    pub blocks: u64,
    /// What the process grew by for each, tasks and books included.
    pub bytes_per_block: u64,
    /// Events a second while they came to be.
    pub events_per_s: f64,
}

/// Makes `blocks` blocks that all wait, out of order, for one that does not come.
///
/// None: this system does not tell how much memory a process has.
///
/// # Panics
/// Never: the plan is a chain that fits on its node.
#[must_use]
pub fn live_blocks(blocks: u64) -> Option<LiveBlocks> {
    let mut scheduler = hoard();
    let first = resident_bytes()?;
    let mut busy = Duration::ZERO;
    let mut turn = |events: Vec<Event>| {
        let begun = ThreadTime::now();
        let actions = step(&mut scheduler, Time::default(), events);
        busy += begun.elapsed();
        launched(&actions)
    };
    let mut tasks: Vec<TaskId> = turn(Vec::new());
    // The first task makes nothing, so that all others' blocks wait for its own.
    tasks.remove(0);
    for block in 0..blocks {
        let slot = usize::try_from(block).unwrap_or(usize::MAX) % tasks.len();
        turn(vec![Event::BlockProduced {
            task: tasks[slot],
            block: BlockId(block),
            rows: Rows(1),
            bytes: Bytes(1),
            node: NodeId(0),
            partition: 0,
        }]);
    }
    let grown = resident_bytes()?.saturating_sub(first);
    assert_eq!(scheduler.snapshot().blocks, blocks, "all blocks are live");
    #[expect(clippy::cast_precision_loss, reason = "a measurement has fewer than 52 bits")]
    let events_per_s = blocks as f64 / busy.as_secs_f64();
    Some(LiveBlocks { blocks, bytes_per_block: grown / blocks, events_per_s })
}

fn hoard() -> Scheduler {
    let read = OpSpec {
        name: "Read".to_owned(),
        inputs: Vec::new(),
        kind: OpKind::Source { units: vec![Unit::default(); TASKS], is_open: false },
        resources: Resources::cpu(Slots::whole(1)),
        concurrency_max: 0,
        bundle_rows_min: Rows::ZERO,
    };
    let map = OpSpec {
        name: "Map".to_owned(),
        inputs: vec![OpId(0)],
        kind: OpKind::Tasks,
        ..read.clone()
    };
    let config = Config { execution: Execution::Bulk, ..Config::default() };
    let plan = Plan::new(vec![read, map], config).expect("because it is a chain");
    let node = Resources::cpu(Slots::whole(TASKS as u64));
    Scheduler::submit(plan, vec![(NodeId(0), node, Bytes(1 << 50))])
        .expect("because the node holds each task")
}

fn launched(actions: &[Action]) -> Vec<TaskId> {
    let launches = actions.iter().filter_map(|action| match action {
        Action::LaunchTask { task, .. } => Some(*task),
        _ => None,
    });
    launches.collect()
}

pub(super) fn resident_bytes() -> Option<u64> {
    memory_stats::memory_stats().map(|stats| stats.physical_mem as u64)
}

/// Tasks that make them.
const TASKS: usize = 1_000;
