"""Classes at the leaves of a tree: features made or given, the published losses, and how wrong a wrong answer is.

What is trained, and what its table says.  Imports `training`, and nothing of `breathing`.
"""
