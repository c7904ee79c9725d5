"""What all tests share: one Ray cluster for the session, started when a test first needs it."""

from __future__ import annotations

import warnings

import pipelines
import pytest
from hypothesis import settings

# The same examples each time: what fails, fails again.
settings.register_profile("tests", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("tests")

#: Small, so that what does not fit shows. The cores are logical.
CPUS = 4
GPUS = 2
LICENCES = 3
STORE_BYTES = 200 << 20


@pytest.fixture(scope="session")
def ray_cluster():
    """A cluster of one node; the tests that need it are marked `ray`."""
    with warnings.catch_warnings():
        # What Ray itself warns of is not ours.
        warnings.simplefilter("ignore")
        import ray

        # Workers do not have the folder of the tests on their path.
        ray.cloudpickle.register_pickle_by_value(pipelines)
        ray.init(
            num_cpus=CPUS,
            num_gpus=GPUS,
            resources={"licence": LICENCES},
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            logging_level="error",
            log_to_driver=False,
        )
    yield ray
    ray.shutdown()
