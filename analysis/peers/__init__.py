"""Other people's implementations of the same distances, one pair of histograms at a time and in batches.

Imports emdref alone, and the others' packages when they are asked for.
"""
