"""Correcting a result lesion by lesion: queue, verdicts, strokes, saving; no window in it."""
