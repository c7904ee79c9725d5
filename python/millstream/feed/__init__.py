"""Iterators that hand blocks to a consumer as batches or rows.

Knows nothing of how the blocks were made.
"""

from millstream.feed.batches import iter_batches
from millstream.feed.rows import iter_rows

__all__ = ["iter_batches", "iter_rows"]
