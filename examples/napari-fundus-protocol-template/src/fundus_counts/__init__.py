"""A protocol for napari-fundus: how far the number of detections is from the number of lesions."""

from collections import defaultdict

import numpy as np

from napari_fundus.evaluation import EvaluationProtocol
from napari_fundus.metrics import Curve, bootstrap_interval
from napari_fundus.plugin_hooks import hookimpl


class CountError(EvaluationProtocol):
    """How far the number of detections is off."""

    name = "count_error"
    title = "Number of lesions"
    method = (
        "In each annotated image, the number of detections at the detector's threshold minus the "
        "number of true lesions, without its sign. The curve: in which share of the images it is "
        "at most x."
    )
    axis_names = ("difference in number, at most", "share of the images")

    def __init__(self, settings):
        super().__init__(settings)
        self._errors = defaultdict(list)
        self._groups = defaultdict(list)

    def add(self, detections, case):
        """Count one image."""
        for code in case.annotated:
            if code in detections.probability:
                counts = case.match(detections, code).lesions
                self._errors[code].append(abs(counts.detections - counts.lesions))
                self._groups[code].append(case.sample.group)

    def metrics(self):
        """Return the mean error of each class."""
        return {code: self._row(code) for code in self.settings.lesions if code in self._errors}

    def _row(self, code):
        errors = np.array(self._errors[code])

        def mean(weights):
            return float(np.average(errors, weights=weights))

        interval = bootstrap_interval(
            mean, len(errors), resamples=self.settings.resamples, groups=self._groups[code]
        )
        return {"images": len(errors), "mean error": interval}

    def curves(self):
        """Return the share of images by the largest error allowed."""
        return {code: self._curve(code) for code in self.settings.lesions if code in self._errors}

    def _curve(self, code):
        errors = np.sort(self._errors[code]).astype(float)
        return Curve(
            kind=self.name,
            lesion=code,
            x=errors,
            y=np.arange(1, len(errors) + 1) / len(errors),
            thresholds=np.full(len(errors), np.nan),
            images=len(errors),
            positives=0,
            summary=float(errors.mean()),
        )


@hookimpl
def napari_fundus_protocols():
    """Return the protocols of this plugin."""
    return [CountError]
