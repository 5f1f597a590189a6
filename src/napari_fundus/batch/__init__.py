"""Folders of images: one detector over all, here or on a cluster; bad files stop nothing."""

from __future__ import annotations

from napari_fundus.batch.cluster import ClusterConfig, ClusterReport, run_on_cluster
from napari_fundus.batch.items import BatchItem, find_items
from napari_fundus.batch.records import BatchReport, ImageOutcome
from napari_fundus.batch.run import run_batch

__all__ = [
    "BatchItem",
    "BatchReport",
    "ClusterConfig",
    "ClusterReport",
    "ImageOutcome",
    "find_items",
    "run_batch",
    "run_on_cluster",
]
