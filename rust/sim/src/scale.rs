//! The workloads that ask what the scheduler itself costs: very many files, very many workers.
//!
//! Owns what is to be reached. They run on clusters that cost nothing and judge nothing ([`cost`]), so
//! their times are the scheduler's own, those of the thread's processor; makespans are virtual.

use crate::cost::{self, Cost, Size};
use crate::published::{Goal, Outcome};

/// All of them. Where it was built without optimization, many files are fewer.
#[must_use]
pub fn workloads() -> Vec<Outcome> {
    let files = if cfg!(debug_assertions) { FILES / 100 } else { FILES };
    vec![many_files(files), worker_scaling()]
}

/// Files from a kilobyte to 50 GB, listed while 8,000 slots read them. What a task reads is judged of
/// tasks that read several files, since one larger than a task should be is read by a task of its own;
/// no task reads more than the largest file.
#[must_use]
pub fn many_files(files: u64) -> Outcome {
    let cost = cost::many_files(files);
    let live = cost::live_blocks(LIVE_BLOCKS).map(|live| quantity(live.bytes_per_block));
    let mut goals = vec![
        Goal::at_most("CPU time until the first task, s", cost.first_launch_s, 1.0),
        Goal::at_most("max/median input of packed tasks", cost.packed_max_over_median, 2.0),
        Goal::at_most(
            "max/median input of all tasks",
            cost.max_over_median,
            cost.file_over_median.max(2.0),
        ),
    ];
    goals.extend(
        cost.memory_growth
            .map(|growth| Goal::at_most("memory, last over first tenth", growth, 1.25)),
    );
    goals.extend(live.map(|bytes| Goal::at_most("memory of a live block, B", bytes, 512.0)));
    outcome("many_files", cost.makespan_s, cost.bound_s, goals)
}

/// The farm with 500, 5,000 and 10,000 workers, as many blocks for each. The longest loop of the
/// best-known peer takes 33.6 s.
fn worker_scaling() -> Outcome {
    let farm = |nodes: u32| {
        let size = Size::LARGE.on_nodes(nodes);
        let blocks = size.blocks / BLOCKS_LESS;
        (cost::run(&Size { blocks, ..size }), quantity(blocks / u64::from(nodes)))
    };
    let [small, middle, large] = [50, 500, 1_000].map(farm);
    let each = |cost: &Cost| 1e6 / cost.events_per_s;
    let goals = vec![
        Goal::at_most("an event of 5,000 workers, over 500", each(&middle.0) / each(&small.0), 2.0),
        Goal::at_most("an event of 10,000 workers, over 500", each(&large.0) / each(&small.0), 2.0),
        Goal::at_most("longest turn of 500 workers, ms", small.0.step_max_us / 1e3, 10.0),
        Goal::at_most("longest turn of 5,000 workers, ms", middle.0.step_max_us / 1e3, 10.0),
        Goal::at_most("longest turn of 10,000 workers, ms", large.0.step_max_us / 1e3, 10.0),
    ];
    // Of four blocks three take the CPUs of a node for 4 s in all, and one its GPUs for 1 s.
    outcome("worker_scaling", large.0.makespan_s, large.1 / 8.0, goals)
}

fn outcome(name: &'static str, makespan_s: f64, bound_s: f64, goals: Vec<Goal>) -> Outcome {
    Outcome {
        name,
        memory_bytes: 0,
        makespan_s,
        bound_s,
        best_known_s: None,
        ratio: makespan_s / bound_s,
        peak_over_limit_bytes: 0,
        spilled_bytes: 0,
        idle_cpu_s: 0.0,
        idle_gpu_s: 0.0,
        stalled_s: 0.0,
        goals,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a measurement has fewer than 52 bits")]
const fn quantity(amount: u64) -> f64 {
    amount as f64
}

const FILES: u64 = 10_000_000;
const LIVE_BLOCKS: u64 = 200_000;
/// A fifth of the blocks of the cost measurement tell as much.
const BLOCKS_LESS: u64 = 5;
