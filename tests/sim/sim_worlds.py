"""A published workload, as a plan with its models and its node."""

from millstream import _core, sim


def plan(units=160, blocks=5):
    block = 100_000_000
    ops = [
        _core.OpSpec(name="Read", kind=_core.Kind.Source([0] * units), cpu=1),
        _core.OpSpec(name="Decode", kind=_core.Kind.Tasks(), inputs=[0], cpu=1),
        _core.OpSpec(name="Infer", kind=_core.Kind.Actors(4, 4), inputs=[1], gpu=1),
    ]
    models = {
        "Read": sim.Model(item_s=5, unit_rows=blocks, row_bytes=block, emits_at_end=True),
        "Decode": sim.Model(item_s=0.5, row_bytes=block),
        "Infer": sim.Model(item_s=0.5, row_bytes=0),
    }
    return _core.Plan(ops, _core.Config(block_bytes_target=block)), models


NODE = sim.Node(cpu=8, gpu=4, store_bytes=16_000_000_000)
