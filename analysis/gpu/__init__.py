"""The report of a device: what is run there, in which order, within how much time."""
