"""Figures that papers give for the same protocols, each with what it was measured on."""

from __future__ import annotations

from dataclasses import dataclass

from napari_fundus.metrics.classification import PUBLISHED_SENSITIVITY, PUBLISHED_SPECIFICITY
from napari_fundus.metrics.localization import PUBLISHED_LOCALIZATION


@dataclass(frozen=True)
class PublishedMetric:
    """A figure of a paper.

    Attributes
    ----------
    protocol, lesion, figure
        Where it belongs in the report.
    value
        The figure.
    by
        The method.
    measured_on
        Data set, part and number of images.
    """

    protocol: str
    lesion: str
    figure: str
    value: float
    by: str
    measured_on: str


@dataclass(frozen=True)
class PublishedPoint:
    """A point of a free-response curve in a paper."""

    lesion: str
    fpi: float
    sensitivity: float
    label: str


_IDRID = "IDRiD's testing part, 27 images"
_AREA = "AUPR, 33 thresholds"
_WEAK = "heat map (Gondal et al. 2017)"
_DIARETDB1 = "DIARETDB1"


def _areas(by: str, **areas: float) -> list[PublishedMetric]:
    return [
        PublishedMetric("aupr", code, _AREA, value, by, _IDRID) for code, value in areas.items()
    ]


PUBLISHED: tuple[PublishedMetric, ...] = (
    *_areas(
        "winners of the IDRiD challenge, a team a class", MA=0.5017, HE=0.6804, EX=0.8850, SE=0.6995
    ),
    *_areas("best found later", MA=0.5341, HE=0.7153, EX=0.8890, SE=0.8128),
    *_areas("one scale (Sarhan et al. 2019)", MA=0.3374),
    *_areas("two scales, refined with triplet loss (Sarhan et al. 2019)", MA=0.4196),
    PublishedMetric(
        "froc", "MA", "CPM", 0.431, "patch voting (Chudzik et al. 2018)", "e-ophtha MA"
    ),
    PublishedMetric(
        "froc",
        "MA",
        "CPM",
        0.221,
        "patch voting, interleaved freezing (Chudzik et al. 2018)",
        "ROC; its points are 1, 2, 4, 8, 12, 16, 20 FPI",
    ),
    PublishedMetric(
        "froc",
        "MA",
        "CPM",
        0.233,
        "patch voting, freeze 11 (Chudzik et al. 2018)",
        "ROC; its points are 1, 2, 4, 8, 12, 16, 20 FPI",
    ),
    PublishedMetric("overlap", "all", "dice", 0.670, "U-Net", "67 images of its own"),
    PublishedMetric("overlap", "all", "iou", 0.475, "U-Net", "67 images of its own"),
    *(
        PublishedMetric(
            "instances", "all, dilated", name, value, "Mask R-CNN", "e-ophtha, MA and EX"
        )
        for name, value in (("mAP35", 0.456), ("mAP50", 0.437), ("mAP75", 0.207))
    ),
    PublishedMetric("classification", "referable DR", "AUC", 0.954, _WEAK, _DIARETDB1),
    PublishedMetric(
        "classification", "referable DR", "sensitivity", PUBLISHED_SENSITIVITY, _WEAK, _DIARETDB1
    ),
    PublishedMetric(
        "classification", "referable DR", "specificity", PUBLISHED_SPECIFICITY, _WEAK, _DIARETDB1
    ),
    *(
        PublishedMetric("localization", code, name, value, _WEAK, _DIARETDB1)
        for code, point in PUBLISHED_LOCALIZATION.items()
        for name, value in (("lesions, strict", point.sensitivity), ("FPI", point.fpi))
    ),
)
"""In the order of the report."""

_POINTS = tuple(
    PublishedPoint(
        code,
        point.fpi,
        point.sensitivity,
        "heat map, half of a lesion covered, DIARETDB1 (Gondal et al. 2017)",
    )
    for code, point in PUBLISHED_LOCALIZATION.items()
)


def published_for(protocol: str) -> tuple[PublishedMetric, ...]:
    """Return the published figures of a protocol."""
    return tuple(item for item in PUBLISHED if item.protocol == protocol)


def published_points(lesion: str) -> tuple[PublishedPoint, ...]:
    """Return the published points of free-response curves of a class."""
    return tuple(point for point in _POINTS if point.lesion == lesion)
