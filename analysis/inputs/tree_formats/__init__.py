"""Trees out of tables, JSON and NumPy archives; a ValueError names the place in the file, the caller adds the file.

`analysis.inputs.trees` finds out which of them a file is.  Imports emdref alone.
"""
