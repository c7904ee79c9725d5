"""The formats of files, one file or folder each.

Owns what is inside files. Paths, listing, staging and commit are in `millstream.io`.
"""
