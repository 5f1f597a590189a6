"""Folders of images: one detector over all of them, resumable, and bad files stop nothing."""

from __future__ import annotations

from napari_fundus.batch.records import BatchReport, Outcome
from napari_fundus.batch.run import run_batch
from napari_fundus.batch.sources import BatchItem, find_items

__all__ = ["BatchItem", "BatchReport", "Outcome", "find_items", "run_batch"]
