//! The network between the nodes: blocks take time to get from one to another.

use std::collections::BTreeMap;

use millstream_core::{NodeId, Span, Time};

use crate::random::scaled;
use crate::workload::Network;

/// Until when each node's link is taken by transfers that were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    sending: BTreeMap<NodeId, Time>,
    receiving: BTreeMap<NodeId, Time>,
}

impl Links {
    /// Sends `bytes` between two nodes, after what both were asked for before. When they are there.
    pub(super) fn send(
        &mut self,
        network: &Network,
        now: Time,
        bytes: u64,
        [from, to]: [NodeId; 2],
    ) -> Time {
        if network.bytes_per_second == 0 {
            return now.after(network.latency);
        }
        let free = |links: &BTreeMap<NodeId, Time>, node| links.get(&node).copied().unwrap_or(now);
        let start = now.max(free(&self.sending, from)).max(free(&self.receiving, to));
        let end = start.after(Span(scaled(bytes, SECOND, network.bytes_per_second)));
        self.sending.insert(from, end);
        self.receiving.insert(to, end);
        end.after(network.latency)
    }
}

const SECOND: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const NETWORK: Network = Network { bytes_per_second: 1_000, latency: Span(5) };

    #[test]
    fn transfers_over_one_link_come_one_after_the_other() {
        let mut links = Links::default();
        let nodes = |from, to| [NodeId(from), NodeId(to)];
        let mut send = |from, to| links.send(&NETWORK, Time(0), 2, nodes(from, to));
        assert_eq!(send(0, 1), Time(2_005));
        assert_eq!(send(2, 1), Time(4_005), "node 1 receives one at a time");
        assert_eq!(send(0, 3), Time(4_005), "node 0 sends one at a time");
        assert_eq!(send(4, 5), Time(2_005), "others do not wait");
    }

    #[test]
    fn without_a_bandwidth_only_latency_counts() {
        let network = Network { bytes_per_second: 0, ..NETWORK };
        let mut links = Links::default();
        assert_eq!(links.send(&network, Time(1), 1 << 40, [NodeId(0), NodeId(1)]), Time(6));
    }
}
