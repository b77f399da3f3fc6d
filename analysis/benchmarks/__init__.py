"""Time and memory: a script for each figure of what emdref takes, beside other people's code.

What they measure with is `analysis.timing` and `analysis.gpu`.  They import whatever lies below, and no script of
another folder.
"""
