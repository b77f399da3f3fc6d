"""Breathing: clips of chest excursion and nasal airflow, simulated or recorded, and the spectra to be predicted.

The networks, what is trained, and what its table says.  Imports `training`, and nothing of `hierarchy`.
"""
