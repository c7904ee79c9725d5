//! The published workloads run under the oracles, within their memory.

use millstream_sim::published::workloads;

#[test]
fn every_published_workload_completes_within_its_memory() {
    for workload in workloads() {
        let outcome = workload.run().unwrap_or_else(|error| panic!("{}: {error}", workload.name));
        assert_eq!(outcome.peak_over_limit_bytes, 0, "{outcome:?}");
        assert!(outcome.ratio >= 1.0, "no run beats the bound: {outcome:?}");
    }
}
