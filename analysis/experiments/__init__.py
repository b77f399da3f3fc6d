"""The papers' experiments that train networks: breathing, and classes on a tree.

Both train by `training`, and know nothing of each other.  They import `timing` and what lies below it.
"""
