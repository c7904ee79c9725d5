//! The tasks of an operator that run, by the number of their work.
//!
//! Owns both orders, over all nodes and at each node. Knows nothing of what they do.

use alloc::vec::Vec;

use crate::table::Table;
use crate::units::{NodeId, TaskId};

/// Live tasks. Their work's numbers follow the order of the input, so the first one is the oldest.
#[derive(Clone, Debug)]
pub(crate) struct LiveTasks {
    all: Table<u64, TaskId>,
    /// Oldest first; a node where none runs any more keeps its place.
    by_node: Table<NodeId, Vec<(u64, TaskId)>>,
}

impl LiveTasks {
    pub(crate) const fn new() -> Self {
        Self { all: Table::new(), by_node: Table::new() }
    }

    pub(crate) fn insert(&mut self, number: u64, node: NodeId, id: TaskId) {
        self.all.insert(number, id);
        if let Some(there) = self.by_node.get_mut(&node) {
            let place = there.partition_point(|(other, _)| *other < number);
            there.insert(place, (number, id));
        } else {
            self.by_node.insert(node, alloc::vec![(number, id)]);
        }
    }

    pub(crate) fn remove(&mut self, number: u64, node: NodeId) {
        self.all.remove(&number);
        if let Some(there) = self.by_node.get_mut(&node) {
            there.retain(|(other, _)| *other != number);
        }
    }

    pub(crate) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, number: u64) -> Option<TaskId> {
        self.all.get(&number).copied()
    }

    /// The oldest one.
    pub(crate) fn first(&self) -> Option<(u64, TaskId)> {
        self.all.first().map(|(number, id)| (number, *id))
    }

    /// The newest one.
    pub(crate) fn last(&self) -> Option<(u64, TaskId)> {
        self.all.last().map(|(number, id)| (number, *id))
    }

    /// All of them, oldest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.all.values().copied()
    }

    /// Those at a node, oldest first.
    pub(crate) fn at(&self, node: NodeId) -> impl ExactSizeIterator<Item = (u64, TaskId)> {
        self.by_node.get(&node).map_or(&[][..], Vec::as_slice).iter().copied()
    }

    /// Asserts that each task is where it runs, in order.
    pub(crate) fn assert_recounted(&self, node_of: impl Fn(TaskId) -> NodeId) {
        for (node, there) in self.by_node.iter() {
            assert!(there.is_sorted(), "the tasks at {node} are in the order of their work");
            for (number, id) in there {
                assert_eq!((self.get(*number), node_of(*id)), (Some(*id), node), "where {id} runs");
            }
        }
        let placed: usize = self.by_node.values().map(Vec::len).sum();
        assert_eq!(placed, self.len(), "each live task runs somewhere");
    }
}
