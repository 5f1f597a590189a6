"""Results kept in a folder, so that no detector looks twice at an image."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_fundus.detector import Detector, DetectorOptions
from napari_fundus.errors import FundusError
from napari_fundus.export.tiff import read_probability_tiff, write_probability_tiff
from napari_fundus.image import FundusImage
from napari_fundus.metrics.map_levels import dequantize_map, quantize_map
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.progress import Monitor

_AFTERWARDS = frozenset({"threshold", "min_area"})
"""Options that are applied to kept maps, and need no run of their own."""


def quantize_detections(detections: Detections) -> Detections:
    """Return a result whose maps and scores are rounded down to multiples of 1/64000.

    Every result is evaluated so, fresh or kept: the figures are the same, and the files a third as
    large. No pixel changes its side of a threshold that is a multiple of 1/32 or 1/1000.
    """
    return replace(
        detections,
        probability=_rounded(detections.probability),
        heatmap=_rounded(detections.heatmap),
        stages={},
        objects=tuple(
            replace(found, score=float(dequantize_map(quantize_map(np.array(found.score)))))
            for found in detections.objects
        ),
    )


def _rounded(maps: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    return {str(code): dequantize_map(quantize_map(array)) for code, array in maps.items()}


@dataclass(frozen=True, eq=False)
class MapCache:
    """Runs one detector with one set of options, and keeps its maps.

    Attributes
    ----------
    detector, options, device
        What is run, and where.
    folder
        Where maps are kept: a TIFF an image, each about 1 to 2 bytes a pixel and class; None keeps
        none. Files are written whole or not at all. Those of other options, weights, versions or
        pixels are never taken.
    weights
        SHA-256 of the weights, or None.
    """

    detector: Detector
    options: DetectorOptions
    device: str
    folder: Path | None
    weights: str | None = None

    def get(self, image: FundusImage, monitor: Monitor | None = None) -> tuple[Detections, bool]:
        """Return the result for `image`, and whether it was kept from an earlier run."""
        path = None if self.folder is None else self.folder / self._name(image)
        kept = self._read(path, image) if path is not None else None
        if kept is not None:
            return kept, True
        found = quantize_detections(
            self.detector.detect(image, self.options, device=self.device, monitor=monitor)
        )
        if path is not None:
            write_probability_tiff(found, path, overwrite=True)
        return found, False

    def _key(self, image: FundusImage) -> dict[str, Any]:
        """Return all that the maps depend on."""
        disc = image.given_field_of_view
        return {
            "detector": self.detector.name,
            "version": self.detector.version,
            "options": self._run_options(self.options.model_dump(mode="json")),
            "weights": self.weights,
            "image": image.sha256,
            "field_of_view": (
                None if disc is None else hashlib.sha256(np.packbits(disc).tobytes()).hexdigest()
            ),
        }

    def _run_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        # The hash of the weights identifies them, their name does not.
        left_out = _AFTERWARDS | ({"checkpoint"} if self.weights else set())
        return {name: value for name, value in options.items() if name not in left_out}

    def _name(self, image: FundusImage) -> str:
        key = json.dumps(self._key(image), sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()
        return f"{self.detector.name}/{image.name}-{digest[:24]}.tif"

    def _read(self, path: Path, image: FundusImage) -> Detections | None:
        """Return what is kept, at the present threshold and area; None where it is of no use."""
        try:
            kept = read_probability_tiff(path)
        except (FundusError, OSError):
            return None
        provenance = kept.provenance
        same = (
            provenance.image_sha256 == image.sha256
            and provenance.detector == self.detector.name
            and provenance.detector_version == self.detector.version
            and self._run_options(provenance.options)
            == self._run_options(self.options.model_dump(mode="json"))
        )
        if not same:
            return None
        # Thresholds that the detector itself gave for a class stay, as when it is run.
        before = provenance.options["threshold"]
        thresholds = {
            code: self.options.threshold if value == before else value
            for code, value in kept.thresholds.items()
        }
        now = provenance.model_copy(update={"options": self.options.model_dump(mode="json")})
        return replace(kept, provenance=now, thresholds=thresholds, min_area=self.options.min_area)
