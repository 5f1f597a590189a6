"""What every process that reads needs: imported once, in the process that all are forked from."""

from __future__ import annotations

import napari_fundus.batch.records
import napari_fundus.checkpoints
import napari_fundus.datasets.summary
import napari_fundus.evaluation.dataset_curves
import napari_fundus.export
import napari_fundus.training.jobs.config  # noqa: F401
