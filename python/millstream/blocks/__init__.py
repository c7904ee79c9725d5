"""Arrow blocks, the batches and rows that user code sees, and the transforms between blocks.

Knows nothing of scheduling, files or Ray.
"""
