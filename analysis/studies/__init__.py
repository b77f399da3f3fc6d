"""What the papers leave open: a script for each figure that is not theirs, and the sweep over a grid of one's own.

They import whatever lies below, and no script of another folder.
"""
