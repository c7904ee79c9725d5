"""Iterators that hand blocks to a consumer as batches or rows.

Knows nothing of how the blocks were made.
"""
