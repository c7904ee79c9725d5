//! The memory of nodes beside their stores: who uses how much of it, and who is killed where it runs
//! out. Nodes that do not say what they have never run out.

use std::collections::BTreeMap;

use millstream_core::{ActorId, NodeId, TaskFailure, TaskId};

use crate::cluster::Cluster;

/// The processes of a node.
#[derive(Clone, Debug)]
pub(super) struct Heap {
    pub(super) bytes_max: u64,
    used: BTreeMap<Process, u64>,
}

/// A process that uses memory: the worker of a task, or an actor. An actor never gives any back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Process {
    Task(TaskId),
    Actor(ActorId),
}

impl Heap {
    pub(super) const fn new(bytes_max: u64) -> Self {
        Self { bytes_max, used: BTreeMap::new() }
    }

    /// The process with the most, and of those the youngest, if all together have too much.
    fn victim(&self) -> Option<Process> {
        let used: u64 = self.used.values().sum();
        let largest = self.used.iter().max_by_key(|(process, bytes)| (**bytes, **process));
        largest.filter(|_| used > self.bytes_max).map(|(process, _)| *process)
    }
}

impl Cluster<'_> {
    /// A process grows to `bytes`, if it is smaller, and others or itself may be killed for it.
    pub(super) fn grow(&mut self, node: NodeId, process: Process, bytes: u64) {
        let Some(heap) = self.heaps.get_mut(&node).filter(|heap| heap.bytes_max > 0) else {
            return;
        };
        let used = heap.used.entry(process).or_default();
        *used = bytes.max(*used);
        while let Some(victim) = self.heaps[&node].victim() {
            self.exit(node, victim);
            match victim {
                Process::Task(task) => self.fail(task, TaskFailure::OutOfMemory),
                Process::Actor(actor) => self.lose_actor(actor, TaskFailure::OutOfMemory),
            }
        }
    }

    pub(super) fn exit(&mut self, node: NodeId, process: Process) {
        if let Some(heap) = self.heaps.get_mut(&node) {
            heap.used.remove(&process);
        }
    }

    /// What a process uses; none where nobody knows.
    pub(super) fn heap_used(&self, node: NodeId, process: Process) -> Option<u64> {
        self.heaps.get(&node)?.used.get(&process).copied()
    }
}
