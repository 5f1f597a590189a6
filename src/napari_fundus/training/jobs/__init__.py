"""A training as a file, run in a process of its own."""
