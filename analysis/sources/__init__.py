"""Scripts that build the packaged data tables from their public sources, and the reference data."""
