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
    #[pyo3(signature = (
        *, held, shares, wanted, seats=Vec::new(), tasks=Vec::new(), task_wanted=None,
        nodes_wanted=Vec::new(), is_at_rest=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "each is a keyword in Python")]
    fn new(
        held: Vec<Node>,
        shares: Vec<Node>,
        wanted: Node,
        seats: Vec<(Node, Option<u32>)>,
        tasks: Vec<Node>,
        task_wanted: Option<Node>,
        nodes_wanted: Vec<u32>,
        is_at_rest: bool,
    ) -> Self {
        let seat = |(request, node): (Node, Option<u32>)| core::Seat {
            request: request.resources,
            node: node.map(NodeId),
        };
        Self(core::Demand {
            held: by_node(held),
            shares: by_node(shares),
            slots_wanted: wanted.resources,
            store_wanted: wanted.store,
            seats: seats.into_iter().map(seat).collect(),
            tasks: tasks.into_iter().map(|task| task.resources).collect(),
            task_wanted: task_wanted.map(|task| task.resources),
            nodes_wanted: nodes_wanted.into_iter().map(NodeId).collect(),
            is_at_rest,
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

    #[getter]
    fn seats(&self) -> Vec<(Node, Option<u32>)> {
        let seat = |seat: &core::Seat| (amount(&seat.request), seat.node.map(|node| node.0));
        self.0.seats.iter().map(seat).collect()
    }

    #[getter]
    fn tasks(&self) -> Vec<Node> {
        self.0.tasks.iter().map(amount).collect()
    }

    #[getter]
    fn task_wanted(&self) -> Option<Node> {
        self.0.task_wanted.as_ref().map(amount)
    }

    #[getter]
    fn nodes_wanted(&self) -> Vec<u32> {
        self.0.nodes_wanted.iter().map(|node| node.0).collect()
    }

    #[getter]
    fn is_at_rest(&self) -> bool {
        self.0.is_at_rest
    }
}

/// How a run stands among the others.
#[pyclass(frozen, module = "millstream._core")]
pub(crate) struct Standing(core::Standing);

#[pymethods]
impl Standing {
    #[getter]
    fn is_admitted(&self) -> bool {
        self.0.is_admitted
    }

    #[getter]
    fn is_stuck(&self) -> bool {
        self.0.is_stuck
    }

    #[getter]
    fn holders(&self) -> Vec<(u32, Node)> {
        self.0.holders.iter().map(|(run, held)| (run.0, amount(held))).collect()
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

    /// How a run stands since the last division.
    fn standing(&self, run: u32) -> PyResult<Standing> {
        Ok(Standing(self.inner()?.standing(RunId(run))))
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

/// Slots as a node, whose number means nothing.
fn amount(resources: &Resources) -> Node {
    Node { id: NodeId(0), resources: resources.clone(), store: Bytes::ZERO }
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
