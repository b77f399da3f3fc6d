"""What the losses are computed on: pairs of histograms, and trees from files.

Imports emdref alone.
"""
