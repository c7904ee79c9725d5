"""The plan in words, before anything runs.

Owns the text of `Dataset.explain`. Knows plans, and nothing of how they run.
"""

from __future__ import annotations

from itertools import starmap

from millstream.compute import ACTORS_UNBOUNDED
from millstream.observe.text import amount_text, plural
from millstream.plan.logical import LogicalPlan, Map, Read
from millstream.plan.physical import PhysicalOp, PhysicalPlan


def explain(logical: LogicalPlan, physical: PhysicalPlan) -> str:
    """The logical plan, the physical one as a flow, and what each operator holds."""
    lines = ["Logical plan", f"  {logical.flow()}"]
    lines += ["Physical plan", f"  {flow_text(physical)}", "Operators"]
    lines += [f"  {op.title}: {_details(op)}" for op in physical.ops]
    return "\n".join(lines)


def flow_text(plan: PhysicalPlan) -> str:
    """The operators as a flow: `"Input -> TaskPoolMap[ReadRange] -> ActorPoolMap[...]"`.

    Where inputs come together they are in parentheses: `"(Input -> …, Input -> …) -> …"`.
    """
    flows: list[str] = []
    for number, op in enumerate(plan.ops):
        inputs = [flows[position] for position in op.inputs_at(number)] or ["Input"]
        before = inputs[0] if len(inputs) == 1 else f"({', '.join(inputs)})"
        flows.append(f"{before} -> {op.title}")
    return flows[-1]


def resources_text(operator: PhysicalOp | Read | Map) -> str:
    """What one worker of it holds: `"1 CPU, 1 GPU"`."""
    held = operator if isinstance(operator, PhysicalOp) else operator.shape
    return ", ".join(starmap(amount_text, held.resources.amounts().items())) or "no resources"


def _details(op: PhysicalOp) -> str:
    worker = "actor" if op.kind == "actors" else "task"
    if op.kind == "union":
        return "no tasks"
    parts = [f"{resources_text(op)} per {worker}"]
    if op.kind == "actors":
        parts.append(_pool_text(op))
    elif op.concurrency_max:
        parts.append(f"at most {plural(op.concurrency_max, 'task')} at a time")
    if op.limit_rows is not None:
        parts.append(plural(op.limit_rows, "row"))
    if op.kind == "source":
        so_far = " listed so far" if op.is_listing else ""
        parts.append(plural(len(op.units), "unit") + so_far)
    elif op.bundle_rows_min:
        parts.append(f"at least {plural(op.bundle_rows_min, 'row')} per task")
    return "; ".join(parts)


def _pool_text(op: PhysicalOp) -> str:
    if op.actors_min == op.actors_max:
        return plural(op.actors_min, "actor")
    most = "" if op.actors_max >= ACTORS_UNBOUNDED else f" to {op.actors_max}"
    return f"{op.actors_min}{most or ' or more'} actors"
