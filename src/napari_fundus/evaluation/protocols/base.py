"""What a protocol of the report is: a counter that is fed one image at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from napari_fundus.datasets import Sample
from napari_fundus.evaluation.case import Case
from napari_fundus.metrics.bootstrap import Interval
from napari_fundus.metrics.froc_curve import CPM_POINTS
from napari_fundus.metrics.instance_objects import PAPER_WIDTH
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib import figure

__all__ = [
    "EvaluationProtocol",
    "EvaluationSettings",
    "ImageRows",
    "MetricTable",
    "MetricValue",
    "metric_to_json",
]

MetricValue = Interval | float | int | None
"""A figure with its interval, a number, or nothing to tell."""

MetricTable = Mapping[str, Mapping[str, MetricValue]]
"""Class (or any other row) to name of the figure to figure."""


ImageRows = Mapping[tuple[str, str], Mapping[str, float | int]]
"""Figures of single images: (sample id, class) to name to number."""


@dataclass(frozen=True)
class EvaluationSettings:
    """What is asked of all protocols.

    Attributes
    ----------
    lesions
        Classes to evaluate, in order.
    points
        False positives an image at which FROC reads sensitivity.
    steps
        Numbers of thresholds of AUPR; 0 stands for every threshold.
    resamples, seed
        Of the bootstrap.
    dilated_at
        Width of the field of view in px at which true lesions are dilated, for instances.
    """

    lesions: tuple[str, ...]
    points: tuple[float, ...] = CPM_POINTS
    steps: tuple[int, ...] = (33, 11, 0)
    resamples: int = 1000
    seed: int = 0
    dilated_at: int = PAPER_WIDTH


class EvaluationProtocol(ABC):
    """Counts one detector by one protocol over all images.

    A subclass is all that a further protocol needs: give it to `evaluate`, or list it in
    `napari_fundus.evaluation.PROTOCOLS` so that the command line knows its name.

    Attributes
    ----------
    name, title
        As on the command line, and as a heading.
    method
        How it counts, in a few sentences, for the report.
    headings
        Name of a figure to its heading; without one the name stands there.

    Parameters
    ----------
    settings
        What is asked of all protocols.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    method: ClassVar[str]
    headings: ClassVar[Mapping[str, str]] = {}

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings

    @classmethod
    def counts(cls, sample: Sample, lesions: Sequence[str]) -> bool:
        """Tell, before the image is read, whether this protocol counts `sample`.

        By default where one of the classes was annotated. A detector is run over the samples that
        any of the protocols counts.
        """
        return any(code in sample.annotated for code in lesions)

    @abstractmethod
    def add(self, detections: Detections, case: Case) -> None:
        """Count one image: what a detector found in it, and what is true of it.

        Keep numbers, not maps. Leave out classes that are neither in ``case.annotated`` nor, for
        protocols that count healthy images, in ``case.absent``.
        """

    @abstractmethod
    def figures(self) -> MetricTable:
        """Return all figures of the images added; empty where none was counted."""

    def shows_interval(self, name: str) -> bool:
        """Tell whether a figure is printed with its interval; JSON has all."""
        return True

    def parameters(self) -> Mapping[str, Any]:
        """Return what the figures depend on, for the report: plain values alone."""
        return {"resamples": self.settings.resamples, "seed": self.settings.seed}

    def remarks(self) -> Sequence[str]:
        """Return what must be said beside the figures."""
        return ()

    def image_rows(self) -> ImageRows:
        """Return figures of single images, for the table."""
        return {}

    def pictures(self) -> Mapping[str, Callable[[], figure.Figure]]:
        """Return pictures of this detector alone: name of the file, without end, to its drawing."""
        return {}


def metric_to_json(figure: MetricValue) -> Any:
    """Return a figure as plain values; an interval as a dictionary."""
    return asdict(figure) if isinstance(figure, Interval) else figure
