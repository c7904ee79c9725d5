"""Parquet: `source` plans a read and `scan` does it; `sink` plans a write and `writer` does it."""
