//! Which nodes an operator stays away from for a time, since its workers keep failing there.
//!
//! Owns the record of failures in a row by node, and how long a node is left alone for them. What a
//! failure is, and whether another node is left, the scheduler says.

use alloc::collections::BTreeMap;

use crate::units::{NodeId, Span, Time};

/// The nodes on which workers of an operator failed since one last ended a task well there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quarantine {
    records: BTreeMap<NodeId, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    /// How often it was in quarantine for them.
    times: u32,
    until: Option<Time>,
}

impl Quarantine {
    /// Notes a failure. True: there were so many in a row that the node should be left alone.
    pub(crate) fn note_failure(&mut self, node: NodeId) -> bool {
        let new = Record { failures: 0, times: 0, until: None };
        let record = self.records.entry(node).or_insert(new);
        record.failures = record.failures.saturating_add(1);
        record.until.is_none() && record.failures >= NODE_FAILURES_MAX
    }

    /// Leaves a node alone, each time for twice as long.
    pub(crate) fn begin(&mut self, node: NodeId, now: Time) {
        if let Some(record) = self.records.get_mut(&node) {
            let doubled = 1 << record.times.min(DOUBLINGS_MAX);
            record.until = Some(now.after(FIRST.times(doubled)));
            record.times += 1;
        }
    }

    /// A task ended well there, so the node is as good as any; or it is gone.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.records.remove(&node);
    }

    /// Ends what is over. The failures stay noted: with the next one the node is left alone again.
    pub(crate) fn end_over(&mut self, now: Time) {
        for record in self.records.values_mut() {
            record.until = record.until.filter(|until| *until > now);
        }
    }

    /// Ends all. False: there was none.
    pub(crate) fn end_all(&mut self) -> bool {
        let was_any = self.next_end().is_some();
        self.records.values_mut().for_each(|record| record.until = None);
        was_any
    }

    /// When the first one ends.
    pub(crate) fn next_end(&self) -> Option<Time> {
        self.records.values().filter_map(|record| record.until).min()
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.records.get(&node).is_some_and(|record| record.until.is_some())
    }

    /// The nodes that are left alone now.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let held = self.records.iter().filter(|(_, record)| record.until.is_some());
        held.map(|(node, _)| *node)
    }
}

/// Failures in a row after which a node is left alone: one less than the attempts that a task has by
/// default, so that what fails there only still has one elsewhere.
const NODE_FAILURES_MAX: u32 = 3;
/// How long the first time: a few starts of an actor.
const FIRST: Span = Span(30_000_000);
/// After so many doublings it gets no longer: about half an hour.
const DOUBLINGS_MAX: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(7);

    #[test]
    fn a_node_is_left_alone_after_failures_in_a_row_and_longer_each_time() {
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.note_failure(NODE) && !quarantine.note_failure(NODE));
        assert!(quarantine.note_failure(NODE) && !quarantine.has(NODE));
        quarantine.begin(NODE, Time(0));
        assert!(quarantine.has(NODE));
        quarantine.end_over(Time(FIRST.0));
        assert!(!quarantine.has(NODE));
        assert!(quarantine.note_failure(NODE), "on probation one more is enough");
        quarantine.begin(NODE, Time(0));
        assert_eq!(quarantine.next_end(), Some(Time(2 * FIRST.0)));
    }

    #[test]
    fn what_ends_well_counts_for_all_before() {
        let mut quarantine = Quarantine::default();
        assert!(!quarantine.note_failure(NODE) && !quarantine.note_failure(NODE));
        quarantine.forget(NODE);
        assert!(!quarantine.note_failure(NODE));
        assert!(!quarantine.end_all());
    }
}
