"""Expressions over columns: what users write, its Arrow form, and its values over a block.

`nodes` owns what an expression is, `bind` what Arrow computes for it, `program` its values. Must
not know plans, files or scheduling.
"""
