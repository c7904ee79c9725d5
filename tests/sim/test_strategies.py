"""Worlds that Hypothesis draws: all rows come out of each."""

import subprocess
import sys

from hypothesis import HealthCheck, given, settings

from millstream import sim
from millstream.sim import strategies


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.pipelines(), strategies.clusters(), strategies.consumers(), strategies.faults())
def test_all_rows_come_out_whatever_goes_wrong(pipeline, cluster, consumer, faults):
    run = sim.simulate(
        pipeline.plan, cluster=cluster, models=pipeline.models, consumer=consumer, faults=faults
    )
    assert run.ending == "completed"
    assert run.rows_out == pipeline.rows_out


def test_without_hypothesis_the_extra_is_named():
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "try:\n    import millstream.sim.strategies\n"
        "except ImportError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'millstream[sim]'" in said.stdout, said.stderr
