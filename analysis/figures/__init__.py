"""The papers' figures and tables, a script each, named as the file it makes.

Scripts are run by ``python -m analysis``.  They import whatever lies below, and no script of another folder.
"""
