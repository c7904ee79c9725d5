"""What to do about a plan that asks for more than the nodes have.

Owns the ways out that the error tells. Must not know how the core finds that a plan cannot run.
"""

from __future__ import annotations

from collections.abc import Sequence

from millstream import _core
from millstream.context import DataContext
from millstream.errors import ResourcesError
from millstream.plan.physical import PhysicalOp


def refused(
    why: str,
    ops: Sequence[PhysicalOp],
    nodes: Sequence[_core.Node],
    context: DataContext,
    notes: Sequence[str] = (),
) -> ResourcesError:
    """The error of a plan that can never run on these nodes, with what may be done about it.

    Args:
        why: The arithmetic, as the core tells it.
        ops: The operators.
        nodes: What there is.
        context: The settings of the run.
        notes: What the backend has to say of the nodes.
    """
    ways = _ways_out(ops, nodes, is_local=context.backend == "local") if nodes else []
    return ResourcesError("; ".join([why, *notes, *ways]))


def _ways_out(
    ops: Sequence[PhysicalOp], nodes: Sequence[_core.Node], *, is_local: bool
) -> list[str]:
    ways = []
    cpu, gpu = max(node.cpu for node in nodes), max(node.gpu for node in nodes)
    custom = {name for node in nodes for name, amount in node.custom.items() if amount}
    if gpu == 0 and any(op.resources.gpu for op in ops):
        ways.append(_NO_GPU_LOCAL if is_local else _NO_GPU_RAY)
    elif any(op.resources.gpu > gpu for op in ops):
        ways.append("ask for fewer GPUs for each (num_gpus=)")
    if any(op.resources.cpu > cpu for op in ops):
        ways.append("ask for fewer CPUs for each (num_cpus=)")
    if lacking := sorted({name for op in ops for name in op.resources.custom} - custom):
        ways.append((_NO_CUSTOM_LOCAL if is_local else _NO_CUSTOM_RAY).format(name=lacking[0]))
    pools = [op for op in ops if op.kind == "actors"]
    if not ways and pools:
        ways.append(_pool_ways(pools))
    return ways


def _pool_ways(pools: Sequence[PhysicalOp]) -> str:
    """What makes room beside or between pools."""
    ways = []
    if any(op.actors_min > 1 for op in pools):
        most = max(op.actors_min for op in pools)
        ways.append(f"a pool that may be smaller, such as concurrency=(1, {most})")
    if any(op.resources.cpu > 0.5 for op in pools):
        ways.append("fewer CPUs for each actor, such as num_cpus=0.5")
    if any(op.resources.gpu > 0.5 for op in pools):
        ways.append("a part of a GPU for each actor, such as num_gpus=0.5")
    ways.append("fewer pools, or more nodes")
    return "ways out: " + ", ".join(ways[:-1]) + (" or " if ways[:-1] else "") + ways[-1]


_NO_GPU_LOCAL = (
    "no GPU was found here; where the function needs none, logical ones are declared by "
    "DataContext.get_current().execution_options.resource_limits = "
    "ExecutionResources(gpu=1) before the dataset is made"
)
_NO_GPU_RAY = (
    "no node has a GPU; where Ray finds none, they are declared by ray.init(num_gpus=…) or "
    "`ray start --num-gpus=…`"
)
_NO_CUSTOM_LOCAL = "the local backend has no custom resources: leave {name!r} out, or run on Ray"
_NO_CUSTOM_RAY = (
    "no node has {name!r}; it is declared by ray.init(resources={{{name!r}: …}}) or "
    "`ray start --resources=…`"
)
