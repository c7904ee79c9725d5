//! The arbiter of several runs as a Python class.
//!
//! Owns the conversion of demands and shares, both told as nodes. Decides nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use millstream_core as core;
use millstream_core::{Bytes, NodeId, Resources, RunId};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::plan::Node;

/// What a run holds, goes by and wants.
#[pyclass(frozen, eq, from_py_object, module = "millstream._core")]
#[derive(Clone, PartialEq)]
pub(crate) struct Demand(pub(crate) core::Demand);

#[pymethods]
impl Demand {
    #[new]
    #[pyo3(signature = (*, held, shares, wanted))]
    fn new(held: Vec<Node>, shares: Vec<Node>, wanted: Node) -> Self {
        Self(core::Demand {
            held: by_node(held),
            shares: by_node(shares),
            slots_wanted: wanted.resources,
            store_wanted: wanted.store,
        })
    }

    #[getter]
    fn held(&self) -> Vec<Node> {
        nodes(&self.0.held)
    }

    #[getter]
    fn shares(&self) -> Vec<Node> {
        nodes(&self.0.shares)
    }

    #[getter]
    fn wanted(&self) -> Node {
        let (resources, store) = (self.0.slots_wanted.clone(), self.0.store_wanted);
        Node { id: NodeId(0), resources, store }
    }
}

/// Divides the nodes of a cluster between runs, by weight and without idle slots.
#[pyclass(frozen, module = "millstream._core")]
pub(crate) struct Arbiter(Mutex<core::Arbiter>);

#[pymethods]
impl Arbiter {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(core::Arbiter::default()))
    }

    /// A node can be used, or has more than was known.
    fn join(&self, node: Node) -> PyResult<()> {
        self.inner()?.join(node.id, node.resources, node.store);
        Ok(())
    }

    /// A node is gone.
    fn lose(&self, node: u32) -> PyResult<()> {
        self.inner()?.lose(NodeId(node));
        Ok(())
    }

    /// A run begins. Unless it is the only one, it must go by a share of nothing until told.
    fn begin(&self, run: u32, weight: u32) -> PyResult<()> {
        self.inner()?.begin(RunId(run), weight);
        Ok(())
    }

    /// A run has ended; what it held is free.
    fn end(&self, run: u32) -> PyResult<()> {
        self.inner()?.end(RunId(run));
        Ok(())
    }

    /// Notes what a run holds, goes by and wants now.
    fn report(&self, run: u32, demand: Demand) -> PyResult<()> {
        self.inner()?.report(RunId(run), demand.0);
        Ok(())
    }

    /// Divides anew: the runs to be told, each with its new share of a node.
    fn divide(&self) -> PyResult<Vec<(u32, Node)>> {
        let changes = self.inner()?.divide().into_iter().map(|(run, event)| match event {
            core::Event::ShareChanged { node, resources, store } => {
                (run.0, Node { id: node, resources, store })
            }
            _ => unreachable!("because an arbiter tells shares and nothing else"),
        });
        Ok(changes.collect())
    }
}

impl Arbiter {
    fn inner(&self) -> PyResult<MutexGuard<'_, core::Arbiter>> {
        self.0
            .lock()
            .map_err(|_| PyRuntimeError::new_err("the arbiter stopped at a broken invariant"))
    }
}

fn by_node(nodes: Vec<Node>) -> BTreeMap<NodeId, (Resources, Bytes)> {
    nodes.into_iter().map(|node| (node.id, (node.resources, node.store))).collect()
}

fn nodes(amounts: &BTreeMap<NodeId, (Resources, Bytes)>) -> Vec<Node> {
    let node = |(id, (resources, store)): (&NodeId, &(Resources, Bytes))| Node {
        id: *id,
        resources: resources.clone(),
        store: *store,
    };
    amounts.iter().map(node).collect()
}
