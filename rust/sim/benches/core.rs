//! What an event costs the scheduler, by the size of the cluster and the memory that it has.
//!
//! `make bench-core` runs it.
#![allow(missing_docs)] // made by the macros

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use millstream_sim::cost::{self, Size};

fn events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("events");
    group.sample_size(10).measurement_time(Duration::from_secs(5));
    for nodes in [10, 100, 1_000] {
        let size = Size { blocks: BLOCKS, ..Size::LARGE.on_nodes(nodes) };
        for (memory, store_blocks) in [("ample", size.store_blocks), ("tight", TIGHT_BLOCKS)] {
            let size = Size { store_blocks, ..size };
            group.throughput(Throughput::Elements(cost::run(&size).events));
            let id = BenchmarkId::new(memory, format!("{} workers", nodes * size.workers_per_node));
            group.bench_with_input(id, &size, |bencher, size| {
                bencher.iter_custom(|count| (0..count).map(|_| scheduler_time(size)).sum());
            });
        }
    }
    group.finish();
}

fn scheduler_time(size: &Size) -> Duration {
    Duration::from_secs_f64(cost::run(size).busy_s)
}

/// Enough for each of 10,000 workers to work some ten times.
const BLOCKS: u64 = 120_000;
/// So little that tasks are paused all the time.
const TIGHT_BLOCKS: u64 = 40;
criterion_group!(benches, events);
criterion_main!(benches);
