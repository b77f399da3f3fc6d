"""``figures/report.html``: one page of all that a folder of results holds, made from its CSV and JSON alone.

`papers` lists what the papers hold, `page` puts the page together.  Imports `engine` and `catalogue`.
"""
