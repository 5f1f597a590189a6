"""Training, the same for every method."""
