"""Trees out of tables, JSON and NumPy archives; a ValueError names the place in the file, the caller adds the file."""
