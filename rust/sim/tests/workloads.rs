//! The published workloads run under the oracles, within their memory.

use millstream_core::{Bytes, Span};
use millstream_sim::clusters;
use millstream_sim::published::{Workload, workloads};
use millstream_sim::spread::{Spread, spread};

/// A pool takes from the other what it has too much, all actors start at once, what does not fit is
/// refused, and nothing is spilled.
#[test]
fn pools_on_clusters_reach_what_their_rows_ask_for() {
    for workload in clusters::workloads().iter().filter(|workload| workload.name != "spot") {
        let outcome = workload.run().unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        assert_eq!((outcome.peak_over_limit_bytes, outcome.spilled_bytes), (0, 0), "{outcome:?}");
        let missed: Vec<&str> =
            outcome.goals.iter().filter(|goal| !goal.is_reached).map(|goal| goal.what).collect();
        assert!(missed.is_empty(), "{missed:?}: {outcome:?}");
    }
}

#[test]
fn every_published_workload_takes_no_longer_than_the_best_known_within_its_memory() {
    for workload in workloads() {
        let outcome = workload.run().unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        assert_eq!(outcome.peak_over_limit_bytes, 0, "{outcome:?}");
        assert!(outcome.ratio >= 1.0, "no run beats the bound: {outcome:?}");
        let most = if workload.name == "variable_duration_extreme" { 1.08 } else { 1.04 };
        assert!(outcome.ratio <= most, "{outcome:?}");
        let best_known = outcome.best_known_s.expect("because these rows have one");
        assert!(outcome.makespan_s <= best_known, "{outcome:?}");
    }
}

#[test]
fn half_of_the_memory_is_enough_for_most_of_the_speed() {
    for workload in workloads() {
        let half = workload.with_memory(Bytes(workload.memory.0 / 2));
        let outcome = half.run().unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        assert_eq!(outcome.peak_over_limit_bytes, 0, "{outcome:?}");
        assert!(outcome.ratio <= 1.3, "{outcome:?}");
    }
}

/// Nodes that have the slots and the memory of one together are not much slower than that. On eight nodes
/// of a CPU each a task that waits for room keeps all CPUs of its node from what would make it.
#[test]
fn several_nodes_come_near_one_that_has_as_much() {
    let rows = spread(1).unwrap_or_else(|error| panic!("{error}"));
    let most = [
        ("4+2 4+2", [1.04, 1.08], [1.2, 1.25]),
        ("2+1 2+1 2+1 2+1", [1.12, 1.12], [1.4, 1.5]),
        ("6+0 2+4", [1.08, 1.08], [1.3, 1.4]),
        ("3+0 3+0 1+2 1+2", [1.12, 1.14], [1.5, 1.7]),
        ("1+0 1+1 1+0 1+1 1+0 1+1 1+0 1+1", [1.5, 1.7], [2.6, 3.8]),
    ];
    for ((nodes, means, worsts), in_order) in
        most.into_iter().flat_map(|most| [(most, false), (most, true)])
    {
        let is_meant = |row: &&Spread| row.nodes == nodes && row.in_order == in_order;
        let rows: Vec<&Spread> = rows.iter().filter(is_meant).collect();
        let ratios: Vec<f64> = rows.iter().map(|row| row.mean_over_one_node).collect();
        let (mean, worst) = (means[usize::from(in_order)], worsts[usize::from(in_order)]);
        assert!(ratios.iter().all(|ratio| *ratio <= worst), "{rows:#?}");
        let count = f64::from(u32::try_from(rows.len()).expect("because there are few rows"));
        assert!(ratios.iter().sum::<f64>() / count <= mean, "{nodes}, {in_order}: {ratios:?}");
        assert!(in_order || rows.iter().all(|row| row.peak_over_limit_bytes == 0), "{rows:#?}");
    }
}

/// Its output never has room, however long it waits: the operators below must not run dry meanwhile.
#[test]
fn a_unit_larger_than_the_memory_does_not_wait_until_nothing_else_is_left() {
    let spiky = workloads().into_iter().find(|workload| workload.name == "spiky");
    let spiky = spiky.expect("because the table has this row");
    let outcome = spiky.with_memory(Bytes(800_000_000)).run().unwrap_or_else(|e| panic!("{e}"));
    assert!(outcome.ratio < 1.5, "{outcome:?}");
}

/// The makespans that an independent simulator gives for these policies, in seconds, and by how much
/// this one may differ: where durations vary or sources stall, the longest task.
#[test]
fn the_baselines_agree_with_the_published_numbers() {
    let expected = [
        ("fig9", 40, 165.0, 156.5, 0.5),
        ("fig9", 60, 165.0, 154.5, 0.5),
        ("appendix_a", 16, 162.0, 150.0, 0.0),
        ("three_stage", 25, 203.0, 158.0, 0.0),
        ("three_stage", 30, 138.0, 157.0, 0.0),
        ("three_cpu_stage", 30, 204.0, 385.5, 0.0),
        ("four_stage", 30, 204.5, 206.5, 5.0),
        ("cpu_gpu_cpu", 30, 138.0, 157.0, 0.0),
        ("variable_duration", 30, 149.0, 117.5, 0.0),
        ("variable_duration_extreme", 30, 805.0, 532.5, 40.0),
        ("variable_3stage", 30, 235.0, 205.0, 0.0),
        ("spiky", 30, 122.5, 109.5, 5.0),
    ];
    let rows = workloads();
    for (name, blocks, split_s, published_s, slot_s) in expected {
        let is_row =
            |row: &&Workload| row.name == name && row.memory == Bytes(blocks * 100_000_000);
        let row = rows.iter().find(is_row).unwrap_or_else(|| panic!("{name} with {blocks} blocks"));
        let found = row.baselines();
        let near = |found: Option<Span>, expected_s: f64| {
            found.is_some_and(|span| (seconds(span) - expected_s).abs() <= slot_s)
        };
        let greedy_s = match (name, blocks) {
            ("three_stage", 25) => Some(398.0),
            ("four_stage", _) => Some(753.0),
            _ => None,
        };
        assert!(greedy_s.is_none_or(|expected_s| near(found.greedy, expected_s)), "{found:?}");
        assert!(near(found.split, split_s), "{name}: {found:?}");
        assert!(near(found.published, published_s), "{name}: {found:?}");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a run takes far less than 2^52 us")]
fn seconds(span: Span) -> f64 {
    span.0 as f64 / 1e6
}
