"""The Ray backend: operators as Ray tasks and actors whose blocks stay in the object store.

The only package that imports ray.
"""

from millstream.run.ray.backend import RayBackend

__all__ = ["RayBackend"]
