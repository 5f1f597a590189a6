"""A complete third-party detector: spots by difference of Gaussians, in under 60 lines."""

import cv2
import numpy as np
from pydantic import Field

from napari_fundus.detector import Detector, DetectorOptions, Prediction, hookimpl
from napari_fundus.preprocessing import find_field_of_view


class SpotOptions(DetectorOptions):
    """Each field becomes a row of the form in napari and a ``--set`` of the command line."""

    threshold: float = Field(0.5, ge=0, le=1, title="Threshold", description="Least probability.")
    diameter: float = Field(
        12.0, ge=2, le=200, title="Spot diameter", description="Typical size of a lesion in pixels."
    )
    contrast: float = Field(
        8.0, gt=0, le=255, title="Contrast", description="Grey levels that count as probability ½."
    )


class SpotDetector(Detector):
    """Dark spots as microaneurysms, bright ones as hard exudates."""

    name = "dog"
    title = "Difference of Gaussians"
    summary = "Dark and bright spots of one size; an example of a third-party detector."
    lesions = ("MA", "EX")
    reference = "Marr & Hildreth 1980, doi:10.1098/rspb.1980.0020"
    licence = "BSD-3-Clause"
    Options = SpotOptions

    def predict(self, image, options, *, device, monitor):
        """Return one map for dark and one for bright spots."""
        disc = find_field_of_view(image)
        monitor.step(0.2, "field of view")
        green = image.rgb8[..., 1].astype(np.float32)
        green[~disc] = np.median(green[disc])
        sigma = options.diameter / 4
        spots = cv2.GaussianBlur(green, (0, 0), sigma)
        monitor.step(0.5, "small scale")
        spots -= cv2.GaussianBlur(green, (0, 0), 2 * sigma)
        monitor.step(0.9, "large scale")
        dark = np.maximum(-spots, 0)
        bright = np.maximum(spots, 0)
        return Prediction(
            {
                "MA": dark / (dark + options.contrast),
                "EX": bright / (bright + options.contrast),
            },
            field_of_view=disc,
        )


@hookimpl
def napari_fundus_detectors():
    """Tell napari-fundus which detectors are here."""
    return [SpotDetector]
