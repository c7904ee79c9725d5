//! What the scheduler itself costs: events a second, the longest step, bytes for each live block.
//!
//! Owns the measurement. Its times are those of the thread's processor, so that other programs on the
//! machine do not count; only the longest turn is told by the wall clock too. The world that it measures in is a [`Farm`], which
//! is cheap and judges nothing; whether decisions are right is shown elsewhere.

mod farm;
mod files;
mod memory;

use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use millstream_core::{Action, Event, Scheduler, Snapshot, Time};
use serde::Serialize;

pub use farm::{Farm, Size};
pub use files::{FilesCost, many_files};
pub use memory::{LiveBlocks, live_blocks};

use crate::trace::step;

/// What a run cost. Times are the scheduler's own, without those of the farm.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Events of the whole run.
    pub events: u64,
    /// Turns in which they came.
    pub turns: u64,
    /// Actions that answered them.
    pub actions: u64,
    /// Blocks that were made.
    pub blocks: u64,
    /// The scheduler's time for all of it.
    pub busy_s: f64,
    /// Events over that time.
    pub events_per_s: f64,
    /// Half of the turns took no longer.
    pub step_p50_us: f64,
    /// 99 of 100 turns took no longer.
    pub step_p99_us: f64,
    /// The longest turn.
    pub step_max_us: f64,
    /// The longest turn by the wall clock.
    pub step_max_wall_us: f64,
    /// Time per event in the last tenth of the turns over that in the second: what is finished must
    /// not make it slower.
    pub late_over_early: f64,
    /// How long the run took on its virtual clock.
    pub makespan_s: f64,
}

/// Runs a farm of `size` to its end.
///
/// # Panics
/// If the run fails, which nothing in it gives a reason to.
#[must_use]
pub fn run(size: &Size) -> Cost {
    let mut farm = Farm::new(size);
    let mut scheduler = farm.submit();
    let mut turns: Vec<(usize, Duration)> = Vec::new();
    let mut wall_max = Duration::ZERO;
    let (mut actions, mut events) = (0, Vec::new());
    loop {
        let (now, count) = (farm.now(), events.len());
        let begun = (Instant::now(), ThreadTime::now());
        let orders = counted_step(&mut scheduler, now, events);
        turns.push((count, begun.1.elapsed()));
        wall_max = wall_max.max(begun.0.elapsed());
        actions += orders.len() as u64;
        farm.perform(&orders);
        if scheduler.is_done() {
            let cost = cost(&turns, actions, &scheduler, &farm);
            return Cost { step_max_wall_us: micros(wall_max), ..cost };
        }
        events = farm.wait(scheduler.next_wakeup()).expect("because a run that is not done moves");
    }
}

/// A function of its own, so that `make count-core` can count its instructions and no others.
#[inline(never)]
fn counted_step(scheduler: &mut Scheduler, now: Time, events: Vec<Event>) -> Vec<Action> {
    step(scheduler, now, events)
}

fn cost(turns: &[(usize, Duration)], actions: u64, scheduler: &Scheduler, farm: &Farm) -> Cost {
    let busy: Duration = turns.iter().map(|(_, span)| *span).sum();
    let events: usize = turns.iter().map(|(count, _)| *count).sum();
    let mut spans: Vec<Duration> = turns.iter().map(|(_, span)| *span).collect();
    spans.sort_unstable();
    let quantile = |per_mille: usize| micros(spans[(spans.len() - 1) * per_mille / 1000]);
    let tenth = turns.len() / 10;
    let early = per_event(&turns[tenth..2 * tenth]);
    Cost {
        events: events as u64,
        turns: turns.len() as u64,
        actions,
        blocks: blocks_made(&scheduler.snapshot()),
        busy_s: busy.as_secs_f64(),
        events_per_s: ratio(events, busy.as_secs_f64()),
        step_p50_us: quantile(500),
        step_p99_us: quantile(990),
        step_max_us: quantile(1000),
        step_max_wall_us: 0.0,
        late_over_early: per_event(&turns[9 * tenth..]) / early,
        makespan_s: Duration::from_micros(farm.now().0).as_secs_f64(),
    }
}

fn per_event(turns: &[(usize, Duration)]) -> f64 {
    let span: Duration = turns.iter().map(|(_, span)| *span).sum();
    let events: usize = turns.iter().map(|(count, _)| *count).sum();
    1.0 / ratio(events, span.as_secs_f64())
}

fn blocks_made(snapshot: &Snapshot) -> u64 {
    snapshot.ops.iter().map(|op| op.blocks_out).sum()
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a measurement has fewer than 52 bits")]
fn ratio(count: usize, each: f64) -> f64 {
    count as f64 / each
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farm_makes_all_its_blocks_whatever_its_memory() {
        for store_blocks in [160, 40] {
            let size = Size { blocks: 4_000, store_blocks, ..Size::LARGE.on_nodes(2) };
            let cost = run(&size);
            assert_eq!(cost.blocks, size.blocks, "with room for {store_blocks} blocks on a node");
            assert!(cost.events >= 2 * size.blocks);
        }
    }

    #[test]
    fn a_live_block_costs_few_bytes() {
        let Some(live) = live_blocks(50_000) else { return };
        assert!(live.bytes_per_block <= BYTES_PER_BLOCK_MAX, "{live:?}");
    }

    const BYTES_PER_BLOCK_MAX: u64 = 512;
}
