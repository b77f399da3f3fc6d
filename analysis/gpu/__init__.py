"""The report of a GPU: what is run there, in which order, within how much time, and what other tables read from it.

The script that asks for it is `analysis.benchmarks.gpu`.  Imports `timing` and what lies below it.
"""
