"""Clusters of several raylets on this machine: slow to start, so `make test-cluster` runs them."""

from __future__ import annotations

import warnings

import pytest

from millstream.context import DataContext


@pytest.fixture(autouse=True)
def quiet_context(monkeypatch):
    """Datasets run on Ray, and print no progress."""
    made = DataContext(backend="ray", enable_progress_bars=False)
    monkeypatch.setattr(DataContext, "_current", made)


@pytest.fixture
def raylets():
    """Starts a cluster of nodes, each given by what Ray is told of it; it is gone afterwards."""
    with warnings.catch_warnings():
        # What Ray itself warns of is not ours.
        warnings.simplefilter("ignore")
        import ray
        from ray.cluster_utils import Cluster

        clusters = []

        def start(head, *others):
            cluster = Cluster(initialize_head=True, head_node_args=head)
            clusters.append(cluster)
            for node in others:
                cluster.add_node(**node)
            ray.init(address=cluster.address, logging_level="error", log_to_driver=False)
            return cluster

        yield start
        ray.shutdown()
        for cluster in clusters:
            cluster.shutdown()
