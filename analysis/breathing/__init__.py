"""Breathing: clips of chest excursion and nasal airflow, simulated or recorded, and the spectra to be predicted."""
