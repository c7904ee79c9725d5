"""A published workload, as a plan with its models and its node."""

from millstream import _core, sim


def plan(units=160, blocks=5):
    block = 100_000_000
    ops = [
        _core.OpSpec(name="Read", kind="source", inputs=[], cpu=1, unit_bytes=[0] * units),
        _core.OpSpec(name="Decode", kind="tasks", inputs=[0], cpu=1),
        _core.OpSpec(name="Infer", kind="actors", inputs=[1], gpu=1, actors_min=4, actors_max=4),
    ]
    models = {
        "Read": sim.Model(item_s=5, unit_rows=blocks, row_bytes=block, emits_at_end=True),
        "Decode": sim.Model(item_s=0.5, row_bytes=block),
        "Infer": sim.Model(item_s=0.5, row_bytes=0),
    }
    return _core.Plan(ops, _core.Config(block_bytes_target=block)), models


NODE = sim.Node(cpu=8, gpu=4, store_bytes=16_000_000_000)
