"""Simulating a dataset or a plan on a cluster that need not exist.

Owns how plan, cluster, models and faults become one world. Knows nothing of how it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from millstream import _core
from millstream.errors import ArgumentError, ResourcesError
from millstream.io.source import split_rows
from millstream.sim.result import Simulation, from_json
from millstream.sim.world import Cluster, Consumer, Faults, Model, Node, us

if TYPE_CHECKING:
    from millstream.dataset import Dataset

Models = Model | Sequence[Model] | Mapping[str, Model]


def simulate(
    plan: Dataset | _core.Plan,
    *,
    cluster: Cluster | Sequence[Node],
    models: Models | None = None,
    consumer: Consumer | None = None,
    faults: Faults | None = None,
    seed: int = 0,
) -> Simulation:
    """Runs a plan on a virtual clock, under the oracles. No data is read and no function called.

    Args:
        plan: A dataset, or a plan in the scheduler's own terms.
        cluster: The machines, alone or with what the network and running something cost.
        models: How the tasks of each operator behave: one model for all, one for each in the
            order of the plan, or by name. A part of a name that fits one operator is enough; what
            is not named is `Model()`.
        consumer: Who takes the output; without one, each block is taken at once.
        faults: What goes wrong.
        seed: Decides everything that is drawn.

    Returns:
        How the run went. Equal arguments give equal answers.

    Raises:
        ArgumentError: Something is negative, unknown, or does not fit the plan.
        ResourcesError: No node can ever run the plan.
        millstream._core.OracleError: The scheduler violates an invariant.

    Example:
        >>> nodes = [ms.sim.Node(cpu=8, gpu=2)] * 4
        >>> ms.sim.simulate(ms.range(1000).map(f), cluster=nodes, models=ms.sim.Model(item_s=0.1))
    """
    cluster = cluster if isinstance(cluster, Cluster) else Cluster(nodes=cluster)
    nodes = cluster.to_core()
    core_plan, rows = _planned(plan, nodes)
    chosen = _models(models, [op.name for op in core_plan.ops])
    target = core_plan.config.block_bytes_target
    scenario = {
        "seed": seed,
        "plan": json.loads(_core.describe_plan(core_plan)),
        "nodes": node_specs(nodes),
        "unit_rows": _unit_rows(core_plan, chosen, rows),
        "models": [model.to_json(target) for model in chosen],
        "consumer": (consumer or Consumer()).to_json(),
        "faults": faults_json(faults or Faults(), cluster),
        **cluster.to_json(),
    }
    return run(scenario)


def run(scenario: dict[str, Any]) -> Simulation:
    """Simulates a described world.

    Raises:
        ArgumentError: It is malformed.
        ResourcesError: No node can ever run its plan.
        millstream._core.OracleError: The scheduler violates an invariant.
    """
    try:
        report, trace = _core.simulate(json.dumps(scenario))
    except ValueError as error:
        raise ArgumentError(str(error)) from None
    answer = json.loads(report)
    match answer["ending"]:
        case {"Refused": words}:
            raise ResourcesError(words)
    return from_json(answer, [op["name"] for op in scenario["plan"]["ops"]], trace)


def node_specs(nodes: Sequence[_core.Node]) -> list[dict[str, Any]]:
    """The machines as Rust reads them."""
    specs: list[dict[str, Any]] = json.loads(_core.describe_nodes(nodes))
    return specs


def faults_json(faults: Faults, cluster: Cluster) -> dict[str, Any]:
    """What goes wrong on a cluster, as Rust reads it.

    Raises:
        ArgumentError: A machine is named that is not there, or a chance is none.
    """
    numbered = list(enumerate([*cluster.nodes, *(node for _, node in faults.joins)]))
    for name, leaving in (("drains", faults.drains), ("losses", faults.losses)):
        for _, number in leaving:
            if not 0 <= number < len(numbered):
                raise ArgumentError(f"{name} names node {number}, but there are {len(numbered)}")
    joining = [node.to_core(number) for number, node in numbered[len(cluster.nodes) :]]
    times_us = [us("joins", at_s) for at_s, _ in faults.joins]
    return {
        **faults.to_json(),
        "joins": list(zip(times_us, node_specs(joining), strict=True)),
        "slowdowns": [
            {"node": number, "from": 0, "until": _ALWAYS, "factor": round(node.slowness * 1000)}
            for number, node in numbered
            if node.slowness != 1.0
        ],
    }


def _planned(
    plan: Dataset | _core.Plan, nodes: Sequence[_core.Node]
) -> tuple[_core.Plan, list[int | None]]:
    """The plan in numbers, and the rows of its sources where they are known."""
    if isinstance(plan, _core.Plan):
        return plan, [None] * len(plan.ops)
    from millstream.execution.execution import plan_run

    physical, core_plan = plan_run(plan._plan, plan._context, nodes)
    return core_plan, [op.rows_out for op in physical.ops]


def _models(models: Models | None, names: list[str]) -> list[Model]:
    match models:
        case None:
            return [Model()] * len(names)
        case Model():
            return [models] * len(names)
        case Mapping():
            return _models_by_name(models, names)
    if len(models) != len(names):
        raise ArgumentError(
            f"{len(models)} models for {len(names)} operators: {', '.join(map(repr, names))}"
        )
    return list(models)


def _models_by_name(models: Mapping[str, Model], names: list[str]) -> list[Model]:
    chosen = [Model()] * len(names)
    for key, model in models.items():
        fitting = [number for number, name in enumerate(names) if name == key]
        fitting = fitting or [number for number, name in enumerate(names) if key in name]
        if len(fitting) != 1:
            raise ArgumentError(
                f"the model {key!r} fits {len(fitting)} operators; there are "
                f"{', '.join(map(repr, names))}"
            )
        chosen[fitting[0]] = model
    return chosen


def _unit_rows(
    plan: _core.Plan, models: list[Model], rows_known: list[int | None]
) -> list[list[int]]:
    counts: list[list[int]] = []
    for op, model, rows in zip(plan.ops, models, rows_known, strict=True):
        units = len(op.kind.unit_bytes) if isinstance(op.kind, _core.Kind.Source) else 0
        match model.unit_rows:
            case None if rows is not None and units:
                parts = [stop - start for start, stop in split_rows(rows, units)]
                counts.append(parts + [0] * (units - len(parts)))
            case None:
                counts.append([1] * units)
            case int(each):
                counts.append([each] * units)
            case given if len(given) == units:
                counts.append(list(given))
            case given:
                raise ArgumentError(
                    f"unit_rows of {op.name!r} has {len(given)} numbers for {units} units"
                )
    return counts


#: Later than any run ends.
_ALWAYS = 2**63
