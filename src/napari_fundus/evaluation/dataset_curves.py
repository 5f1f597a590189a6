"""The curves of a whole set: out of a report that was just made, or of one in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_fundus.errors import DatasetError, OptionsError
from napari_fundus.evaluation.protocols.base import EvaluationProtocol
from napari_fundus.evaluation.protocols.discovery import get_protocol
from napari_fundus.evaluation.results import Report
from napari_fundus.metrics.curves import Curve, CurveKind
from napari_fundus.runtime.files import read_json

_KINDS = {"aupr": "pr"}
"""Kind of the curves of a protocol, where it is not the protocol's name."""


def curve_protocol(kind: CurveKind) -> type[EvaluationProtocol]:
    """Return the protocol whose curves are of a kind; the base class where it is not installed."""
    name = next((name for name, other in _KINDS.items() if other == kind), kind)
    try:
        return get_protocol(name)
    except OptionsError:
        return EvaluationProtocol


@dataclass(frozen=True, eq=False)
class DatasetCurves:
    """What a report holds on a data set, to be drawn.

    Attributes
    ----------
    title
        Which images.
    images
        How many.
    curves
        Label of a detector to (kind, class) to curve.
    warnings
        What forbids to take the figures at face value.
    """

    title: str
    images: int
    curves: Mapping[str, Mapping[tuple[CurveKind, str], Curve]]
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: Report) -> DatasetCurves:
        """Take the curves of a report that was just made."""
        return cls(
            _named(report.source.title or report.source.name, report.source.split),
            report.images,
            {
                trial.candidate.label: {
                    (curve.kind, code): curve
                    for counter in trial.counters
                    for code, curve in counter.curves().items()
                }
                for trial in report.trials
            },
            tuple(report.warnings),
        )

    def of_class(self, lesion: str) -> dict[CurveKind, dict[str, Curve]]:
        """Return all curves of a class: kind to label of a detector to curve."""
        found: dict[CurveKind, dict[str, Curve]] = {}
        for label, curves in self.curves.items():
            for (kind, code), curve in curves.items():
                if code == lesion:
                    found.setdefault(kind, {})[label] = curve
        return found


def read_curves(path: str | Path) -> DatasetCurves:
    """Read the curves of a report.

    Reports of before curves were kept give the points of their FROC table, without thresholds.

    Parameters
    ----------
    path
        The report's folder, or its ``report.json``.

    Raises
    ------
    DatasetError
        There is no report, or it is none of ours.
    """
    file = Path(path).expanduser()
    if file.is_dir():
        file = file / "report.json"
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{file} cannot be read as a report: {error}. Choose the folder that `napari-fundus "
            "evaluate` wrote, or its report.json."
        ) from error
    if not isinstance(content, dict) or content.get("schema") != "napari-fundus evaluation":
        raise DatasetError(f"{file} is no report of napari-fundus.")
    try:
        return _of_report(content, file.parent.name)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DatasetError(
            f"{file} is a damaged report ({type(error).__name__}: {error}). Write it again with "
            "`napari-fundus evaluate`."
        ) from error


def _of_report(content: Mapping[str, Any], folder: str) -> DatasetCurves:
    data = content["data"]
    return DatasetCurves(
        _named(data["title"] or data["name"], data["split"]) or folder,
        int(data["images"]),
        {str(trial["label"]): _of_trial(trial) for trial in content["detectors"]},
        tuple(map(str, content["warnings"])),
    )


def _named(title: str, split: str) -> str:
    return ", ".join(part for part in (title, split) if part)


def _of_trial(trial: Mapping[str, Any]) -> dict[tuple[CurveKind, str], Curve]:
    found: dict[tuple[CurveKind, str], Curve] = {}
    for protocol, by_class in trial.get("curves", {}).items():
        kind = _KINDS.get(protocol, protocol)
        for code, content in by_class.items():
            found[kind, code] = Curve.from_json(kind, code, content)
    for code, metrics in trial["figures"].get("froc", {}).items():
        if ("froc", code) not in found and (curve := _of_table(code, metrics)) is not None:
            found["froc", code] = curve
    return found


def _of_table(code: str, metrics: Mapping[str, Any]) -> Curve | None:
    points = []
    for name, value in metrics.items():
        if not (name.startswith("at ") and name.endswith(" FPI")):
            continue
        above, _, below = name.removeprefix("at ").removesuffix(" FPI").partition("/")
        estimate = value["estimate"] if isinstance(value, Mapping) else value
        if estimate is not None:
            points.append((float(above) / (float(below or 1) or 1.0), float(estimate)))
    if not points:
        return None
    fpi, sensitivity = np.array(sorted(points)).T
    mean = metrics.get("CPM") or metrics.get("mean sensitivity") or {}
    return Curve(
        "froc",
        code,
        fpi,
        sensitivity,
        np.full(len(fpi), np.nan),
        int(metrics["images"]),
        int(metrics["lesions"]),
        float(mean.get("estimate") or np.nan) if isinstance(mean, Mapping) else float(mean),
    )
