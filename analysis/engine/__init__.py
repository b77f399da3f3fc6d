"""How a script is run: cells of work, their store and workers, tables compared with the committed ones, pictures saved.

Nothing here knows what is computed.  Imports `analysis.catalogue`, to find scripts by name, and emdref.
"""
