"""The base class of protocols: a counter that takes one image at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from napari_fundus.datasets import Sample
from napari_fundus.evaluation.protocols.case import Case
from napari_fundus.evaluation.protocols.values import (
    EvaluationSettings,
    ImageRows,
    MetricTable,
    MetricValue,
    PlotContext,
)
from napari_fundus.metrics.bootstrap import ImageWeights, Interval, bootstrap_intervals
from napari_fundus.metrics.curves import Curve
from napari_fundus.results.detections import Detections

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "EvaluationProtocol",
    "EvaluationSettings",
    "ImageRows",
    "MetricTable",
    "MetricValue",
    "PlotContext",
]


class EvaluationProtocol(ABC):
    """Counts one detector by one protocol over all images.

    A subclass is all that a further protocol needs: give it to `evaluate_dataset`, or let a plugin
    return it from its hook ``napari_fundus_protocols``, so that the command line and the window
    know its name.

    Attributes
    ----------
    name, title
        As on the command line, and as a heading.
    method
        How it counts, in a few sentences, for the report.
    headings
        Name of a metric to its heading; the name itself by default.
    axis_names
        What x and y of :meth:`curves` are.
    log_x
        Whether x of the curves is drawn on a logarithmic axis.
    summary_name
        What the ``summary`` of a curve is.
    plot_order
        Place of the plots in a report: the lowest first.

    Parameters
    ----------
    settings
        Of all protocols.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    method: ClassVar[str]
    headings: ClassVar[Mapping[str, str]] = {}
    axis_names: ClassVar[tuple[str, str]] = ("x", "y")
    log_x: ClassVar[bool] = False
    summary_name: ClassVar[str] = ""
    plot_order: ClassVar[int] = 100

    def __init__(self, settings: EvaluationSettings) -> None:
        self.settings = settings
        self._rows: dict[tuple[str, str], dict[str, float | int]] = {}

    @classmethod
    def counts(cls, sample: Sample, lesions: Sequence[str]) -> bool:
        """Return, before the image is read, whether this protocol counts `sample`.

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
    def metrics(self) -> MetricTable:
        """Return all metrics of the images added; empty where none was counted."""

    def shows_interval(self, name: str) -> bool:
        """Return whether a metric is printed with its interval; JSON has all."""
        return True

    def parameters(self) -> Mapping[str, Any]:
        """Return what the metrics depend on, for the report: plain values only."""
        return {"resamples": self.settings.resamples, "seed": self.settings.seed}

    def remarks(self) -> Sequence[str]:
        """Return remarks to print below the metrics."""
        return ()

    def image_rows(self) -> ImageRows:
        """Return metrics of single images, for ``images.csv``: what `add` put into ``_rows``."""
        return self._rows

    def bootstrap(
        self,
        statistics: Callable[[ImageWeights], Mapping[str, float]],
        images: int,
        groups: Sequence[Hashable] | None = None,
    ) -> dict[str, Interval]:
        """Return metrics of all images with their intervals, by the settings of the report.

        Parameters
        ----------
        statistics
            Takes how often each image counts, and returns all metrics by name.
        images
            How many images were counted.
        groups
            One an image; those of one group, such as one eye, are drawn together.
        """
        settings = self.settings
        return bootstrap_intervals(
            statistics, images, resamples=settings.resamples, seed=settings.seed, groups=groups
        )

    def curves(self) -> Mapping[str, Curve]:
        """Return a curve a class, for ``report.json`` and the default plot."""
        return {}

    def lesion_counts(self) -> Mapping[str, int]:
        """Return the true lesions of each class, for the titles of all plots, if it counts them."""
        return {}

    def own_plots(self) -> Mapping[str, Callable[[], Figure]]:
        """Return plots of this detector alone: name of the file, without suffix, to its drawing."""
        return {}

    @classmethod
    def plots(
        cls, counters: Mapping[str, Self], context: PlotContext
    ) -> Mapping[str, Callable[[], Figure]]:
        """Return the plots of a report: name of the file, without suffix, to its drawing.

        By default one of all :meth:`curves`, named after the protocol, and :meth:`own_plots` of
        each detector, with its number where there are several.

        Parameters
        ----------
        counters
            Label of a detector to its counter, in the order of the report.
        context
            Images, metrics and settings.
        """
        plots = {
            name if len(counters) == 1 else f"{name}_{number}": draw
            for number, counter in enumerate(counters.values(), start=1)
            for name, draw in counter.own_plots().items()
        }
        curves = {label: counter.curves() for label, counter in counters.items()}
        if not any(curves.values()):
            return plots
        from napari_fundus.evaluation.protocols.curve_plots import plot_curves

        draw = partial(
            plot_curves,
            curves,
            context,
            title=cls.title,
            axis_names=cls.axis_names,
            log_x=cls.log_x,
        )
        return {cls.name: draw, **plots}
