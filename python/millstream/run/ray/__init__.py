"""The Ray backend: operators as Ray tasks and actors whose blocks stay in the object store.

The only package that imports ray. It loads nothing by itself: workers need `remote` alone.
"""
