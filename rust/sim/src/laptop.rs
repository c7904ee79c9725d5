//! Workloads that a small machine runs: few rows, and functions that take long for each call or for
//! each row.
//!
//! Owns their numbers, and what is to be reached on each. Nothing is known of an operator before its
//! first task has ended, so the bounds are those of who knows everything.

use millstream_core::{Bytes, Plan, Resources, Slots, Span};

use crate::checker::Violation;
use crate::clusters::{
    GB, Stage, completed, millis, nodes, outcome, pool, scenario, seconds_of, source,
};
use crate::faults::Faults;
use crate::published::{Goal, Outcome, seconds};
use crate::workload::{Emission, OpModel, Pace, Scenario};

/// 100 rows, a row a unit, and a function that takes 0.3 s for each call, whatever its rows: first one
/// call for each CPU, which tells that, then all the rest.
pub(crate) fn slow_call(name: &'static str) -> Result<Outcome, Violation> {
    run(name, &world(&[reads(100, CALL, Span::ZERO)], 2), CALL, 2.0)
}

/// The same with 256 units on 8 CPUs, where a row takes 1 ms too.
pub(crate) fn slow_call_of_many(name: &'static str) -> Result<Outcome, Violation> {
    let bound = CALL + millis(256 / 8);
    run(name, &world(&[reads(256, CALL, millis(1))], 8), bound, 1.95)
}

/// 400 rows that are read at once, before two actors whose calls take 0.3 s and 1 ms for each row.
pub(crate) fn slow_call_pool(name: &'static str) -> Result<Outcome, Violation> {
    let actors = pool([2, 2], Resources::cpu(Slots::whole(1)), Span::ZERO).loads(millis(500));
    let stages = [reads(400, Span::ZERO, Span(20)), joins(actors, CALL, millis(1))];
    let bound = millis(500) + CALL + millis(400 / 2);
    run(name, &world(&stages, 3), bound, 1.9)
}

/// 100 rows of thousands of columns: each call makes a table and a file of them, whatever their number.
pub(crate) fn wide_rows(name: &'static str) -> Result<Outcome, Violation> {
    let (call, row) = (millis(140), Span(3_200));
    let bound = call + row.times(100 / 2);
    run(name, &world(&[reads(100, call, row)], 2), bound, 1.71)
}

/// 100 rows that take 0.3 s each: a row is not made to wait for others, and no CPU for the other.
pub(crate) fn slow_row(name: &'static str) -> Result<Outcome, Violation> {
    run(name, &world(&[reads(100, Span::ZERO, CALL)], 2), CALL.times(100 / 2), 1.02)
}

/// 24 rows of 1 s for a pool of one or two actors on two CPUs, and a reader that takes 13 ms in all: it
/// is soon through, and the second actor gets its CPU.
pub(crate) fn pool_and_reader(name: &'static str) -> Result<Outcome, Violation> {
    let actors = pool([1, 2], Resources::cpu(Slots::whole(1)), seconds_of(1)).loads(millis(500));
    let stages = [reads(24, Span::ZERO, Span(540)), joins(actors, Span::ZERO, seconds_of(1))];
    run(name, &world(&stages, 2), millis(500) + seconds_of(24 / 2), 1.01)
}

/// A source of units of one row of eight bytes, of which a task makes one block.
fn reads(units: usize, call: Span, item: Span) -> Stage {
    joins(source(units, 1, item).emits(ROW_BYTES), call, item)
}

/// Tasks that join all their rows into one block.
fn joins(mut stage: Stage, task: Span, item: Span) -> Stage {
    stage.model = OpModel {
        pace: Pace::Even { task, item },
        block_rows: u64::MAX,
        emission: Emission::AtEnd,
        row_bytes: ROW_BYTES,
        ..stage.model
    };
    stage
}

fn world(stages: &[Stage], cpus: u64) -> Scenario {
    let scenario = scenario(stages, nodes(1, cpus, 0, GB), Faults::default());
    let mut config = *scenario.plan.config();
    config.block_bytes_target = Bytes(GB / 32);
    config.preserve_order = true;
    let plan = Plan::new(scenario.plan.ops().to_vec(), config);
    Scenario { plan: plan.expect("because the same stages were a plan before"), ..scenario }
}

fn run(
    name: &'static str,
    scenario: &Scenario,
    bound: Span,
    ratio_most: f64,
) -> Result<Outcome, Violation> {
    let report = completed(scenario)?;
    let ratio = seconds(report.makespan) / seconds(bound);
    Ok(outcome(name, scenario, &report, bound, vec![Goal::at_most("ratio", ratio, ratio_most)]))
}

const CALL: Span = millis(300);
const ROW_BYTES: u64 = 8;
