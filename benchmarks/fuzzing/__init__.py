"""Fuzzing of every file reader: damaged inputs, processes that read them, and what came of it."""
