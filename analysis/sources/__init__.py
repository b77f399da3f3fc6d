"""Programs that make the committed files that are not figures: ``python -m analysis.sources.NAME``.

Tables from public sources (`wordnet`, `real_labels`), the reference cases, and the pages and tables of the
documentation.  No script imports them; they import whatever lies below.
"""
