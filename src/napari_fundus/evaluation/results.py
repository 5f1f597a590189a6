"""What an evaluation returns: all figures, and all that is needed to repeat them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_fundus._version import __version__
from napari_fundus.evaluation.candidate import Candidate
from napari_fundus.evaluation.crops import CropCollector
from napari_fundus.evaluation.protocols.base import (
    EvaluationProtocol,
    EvaluationSettings,
    MetricTable,
    PlotContext,
)
from napari_fundus.evaluation.protocols.published import published_for
from napari_fundus.evaluation.protocols.values import metric_to_json

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA_VERSION = 1
"""Version of the layout of ``report.json``; it changes when a name in it changes its meaning."""


@dataclass(frozen=True)
class ReportSource:
    """Where the images come from, in words and paths, for the report.

    Attributes
    ----------
    name, title, licence, root
        Of the data set.
    split, note
        Which images were chosen.
    command
        What was typed.
    """

    name: str = ""
    title: str = ""
    licence: str = ""
    root: str = ""
    split: str = ""
    note: str = ""
    command: str = ""


@dataclass(frozen=True)
class ImageRecord:
    """One image as one detector saw it.

    Attributes
    ----------
    sample, path, split, healthy
        Which image.
    seconds
        The detector's own time, when it ran.
    device, precision
        Where and in which arithmetic.
    kept
        Whether the map was kept from an earlier run.
    seen
        Whether the weights were trained on this image, or on another of the same eye.
    """

    sample: str
    path: str
    split: str | None
    healthy: bool
    seconds: float
    device: str
    precision: str
    kept: bool
    seen: bool


@dataclass(eq=False)
class CandidateResult:
    """One detector with all its counters.

    Attributes
    ----------
    candidate
        What is measured.
    counters
        One a protocol.
    crops
        What is shown of it.
    seen
        Ids of samples that its weights were trained on, or that show such an eye.
    images
        One record an image.
    """

    candidate: Candidate
    counters: Sequence[EvaluationProtocol]
    crops: CropCollector
    seen: frozenset[str] = frozenset()
    images: list[ImageRecord] = field(default_factory=list)

    def counter(self, name: str) -> EvaluationProtocol | None:
        """Return the counter of a protocol."""
        return next((c for c in self.counters if c.name == name), None)

    @property
    def seconds(self) -> tuple[float, float]:
        """Median and largest time an image."""
        times = [image.seconds for image in self.images]
        return (float(np.median(times)), max(times)) if times else (math.nan, math.nan)


@dataclass(eq=False)
class Report:
    """Detectors side by side on the same images.

    Attributes
    ----------
    trials
        One a detector.
    settings
        What was asked of all protocols.
    source
        Where the images come from.
    problems
        Id of a sample that could not be evaluated by all, to the reason.
    created
        Date and time (ISO 8601, UTC).
    """

    trials: Sequence[CandidateResult]
    settings: EvaluationSettings
    source: ReportSource
    problems: Mapping[str, str]
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def __post_init__(self) -> None:
        self._metrics: dict[tuple[str, str], MetricTable] = {}

    @property
    def protocols(self) -> tuple[EvaluationProtocol, ...]:
        """The counters of the first detector, which stand for the protocols."""
        return tuple(self.trials[0].counters)

    @property
    def images(self) -> int:
        """Number of images evaluated."""
        return len(self.trials[0].images)

    @property
    def warnings(self) -> list[str]:
        """What forbids to take the figures at face value: shown first, and on the terminal."""
        found = []
        for trial in self.trials:
            seen = [image.sample for image in trial.images if image.seen]
            if seen:
                shown = ", ".join(seen[:8]) + (" …" if len(seen) > 8 else "")
                found.append(
                    f"{trial.candidate.label} was TRAINED on {len(seen)} of the {self.images} "
                    f"images (or on the same eyes): {shown}. Its figures tell how well it "
                    "remembers them, not how well it finds lesions in others."
                )
            if trial.candidate.names_only:
                found.append(
                    f"The weights of {trial.candidate.label} hold no hashes of the images they "
                    "were trained on: only names could be compared. A renamed training image would "
                    "not be noticed, and another of the same name counts as one."
                )
        if self.problems:
            found.append(
                f"{len(self.problems)} images could not be evaluated and are left out for all "
                "detectors; they are named below."
            )
        return found

    def metrics(self, label: str, protocol: str) -> MetricTable:
        """Return the figures of a detector by a protocol: class to name to figure.

        The bootstrap runs when they are first asked for.
        """
        key = (label, protocol)
        if key not in self._metrics:
            trial = next(t for t in self.trials if t.candidate.label == label)
            counter = trial.counter(protocol)
            self._metrics[key] = counter.metrics() if counter is not None else {}
        return self._metrics[key]

    def plots(self) -> dict[str, Callable[[], Figure]]:
        """Return the plots of all protocols: name of the file, without suffix, to its drawing."""
        source = self.source
        where = ", ".join(part for part in (source.title or source.name, source.split) if part)
        images = "1 image" if self.images == 1 else f"{self.images} images"
        lesions: dict[str, int] = {}
        for trial in reversed(self.trials):
            for counter in trial.counters:
                lesions |= counter.lesion_counts()
        plots: dict[str, Callable[[], Figure]] = {}
        for protocol in sorted(self.protocols, key=lambda counter: counter.plot_order):
            counters = {
                trial.candidate.label: own
                for trial in self.trials
                if (own := trial.counter(protocol.name)) is not None
            }
            metrics = {label: self.metrics(label, protocol.name) for label in counters}
            title = f"{images}{f' of {where}' if where else ''}"
            context = PlotContext(self.settings, title, metrics, lesions)
            plots |= type(protocol).plots(counters, context)
        return plots

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values for JSON; NaN, which it does not know, as None."""
        content = {
            "schema": "napari-fundus evaluation",
            "schema_version": SCHEMA_VERSION,
            "created": self.created,
            "package_version": __version__,
            "data": vars(self.source) | {"images": self.images},
            "warnings": self.warnings,
            "problems": dict(self.problems),
            "protocols": {
                c.name: {"title": c.title, "method": c.method, "parameters": dict(c.parameters())}
                for c in self.protocols
            },
            "detectors": [self._trial_as_json(trial) for trial in self.trials],
            "published": [vars(item) for c in self.protocols for item in published_for(c.name)],
        }
        plain: dict[str, Any] = _plain(content)
        return plain

    def _trial_as_json(self, trial: CandidateResult) -> dict[str, Any]:
        candidate = trial.candidate
        card = candidate.card
        return {
            "label": candidate.label,
            "detector": candidate.detector.name,
            "version": candidate.detector.version,
            "options": candidate.options.model_dump(mode="json"),
            "checkpoint": None
            if card is None
            else {
                "name": card.name,
                "sha256": candidate.weights_sha256,
                "data": card.data,
                "trained_on": len(card.split.train),
                "held_back": len(card.split.validation),
                "command": card.command,
            },
            "seconds_median": trial.seconds[0],
            "seconds_largest": trial.seconds[1],
            "images": [vars(image) for image in trial.images],
            "figures": {
                counter.name: {
                    row: {name: metric_to_json(value) for name, value in metrics.items()}
                    for row, metrics in self.metrics(candidate.label, counter.name).items()
                }
                for counter in trial.counters
            },
            "remarks": {counter.name: list(counter.remarks()) for counter in trial.counters},
            "curves": {
                counter.name: {code: curve.to_json() for code, curve in curves.items()}
                for counter in trial.counters
                if (curves := counter.curves())
            },
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
