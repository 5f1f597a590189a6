"""The figures of one result on one image: a row a class, a row a lesion; printed as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.errors import OptionsError
from napari_fundus.metrics.lesion_matching import ClassMatch, TrueLesions, match_detections
from napari_fundus.metrics.precision_recall import PixelHistogram
from napari_fundus.results.detections import Detections
from napari_fundus.results.instances import empty_instances

FIGURES: tuple[str, ...] = (
    "lesion", "lesions", "found", "missed", "detections", "false_positives",
    "sensitivity", "precision", "f1",
    "pixel_sensitivity", "pixel_precision", "dice", "iou", "aupr",
)  # fmt: skip
"""Columns of `Assessment.metrics`: counts and ratios of lesions, then ratios of pixels."""


@dataclass(frozen=True, eq=False)
class Assessment:
    """A result on one image, judged by what experts drew.

    Attributes
    ----------
    title
        Which result, in words.
    thresholds
        Class code to the threshold that was applied; empty where the result has no maps.
    min_area
        Least area of a lesion that was applied, px.
    figures
        One row a class with the columns `FIGURES`. Undefined ratios are NaN.
    lesions
        One row a true lesion: ``lesion`` (class), ``id``, ``found``, ``area_px``, ``covered_px``,
        ``peak``, centroid and box.
    false_positives
        One row a detection that touches no true lesion, as `Detections.instances` has it.
    """

    title: str
    thresholds: Mapping[str, float]
    min_area: int
    metrics: pd.DataFrame
    lesions: pd.DataFrame
    false_positives: pd.DataFrame

    @classmethod
    def of(
        cls,
        judgements: Sequence[ClassMatch],
        *,
        title: str,
        thresholds: Mapping[str, float],
        min_area: int,
        aupr: Mapping[str, float],
    ) -> Assessment:
        """Collect the judgements of all classes.

        Parameters
        ----------
        judgements
            One a class.
        title, thresholds, min_area
            As the attributes.
        aupr
            Class code to the area below the precision-recall curve of the image's pixels.
        """
        rows = [_row(j, aupr.get(j.lesion, float("nan"))) for j in judgements]
        true = [j.true.assign(lesion=j.lesion) for j in judgements if len(j.true)]
        false = [j.false for j in judgements if len(j.false)]
        nothing = TrueLesions.of("", np.zeros((1, 1), np.bool_)).table
        nothing = nothing.assign(found=np.zeros(0, np.bool_), covered_px=0, lesion="")
        lesions = pd.concat(true, ignore_index=True) if true else nothing
        return cls(
            title,
            {j.lesion: thresholds[j.lesion] for j in judgements if j.lesion in thresholds},
            min_area,
            pd.DataFrame(rows, columns=list(FIGURES)),
            lesions[["lesion", *(name for name in lesions if name != "lesion")]],
            pd.concat(false, ignore_index=True) if false else empty_instances(),
        )

    def row(self, lesion: str) -> dict[str, Any]:
        """Return the figures of one class by name.

        Raises
        ------
        OptionsError
            The class was not evaluated.
        """
        mine = self.metrics[self.metrics["lesion"] == lesion]
        if mine.empty:
            known = ", ".join(self.metrics["lesion"])
            raise OptionsError(f"{lesion} was not evaluated; there are {known}.")
        return {str(name): value for name, value in mine.to_dict("records")[0].items()}

    def __repr__(self) -> str:
        return f"Assessment of {self.title}\n{self._shown().to_string(index=False)}"

    def _repr_html_(self) -> str:
        table = self._shown().to_html(index=False, border=0)
        return f"<b>{escape(self.title)}</b>{table}{self._note()}"

    def _note(self) -> str:
        shown = ", ".join(f"{code} ≥ {value:.3g}" for code, value in self.thresholds.items())
        return f"<small>{shown}; at least {self.min_area} px a lesion.</small>" if shown else ""

    def _shown(self) -> pd.DataFrame:
        ratios = {
            name: self.metrics[name].map(lambda value: "–" if pd.isna(value) else f"{value:.3f}")
            for name in FIGURES
            if self.metrics[name].dtype.kind == "f"
        }
        return self.metrics.assign(**ratios).rename(columns=lambda name: name.replace("_", " "))


def assess(detections: Detections, masks: Mapping[str, npt.NDArray[Any]]) -> Assessment:
    """Compare a result, at its own thresholds and minimum area, with what experts drew.

    Parameters
    ----------
    detections
        The result.
    masks
        Class code to mask: bool or labels, shape (H, W). Only classes that were annotated: an
        empty mask means that experts looked and found none. Classes that the result has no map of
        are left out.

    Raises
    ------
    OptionsError
        No class stands in both.
    """
    codes = [code for code in detections.lesions if code in masks]
    if not codes:
        raise OptionsError(
            f"The result has {', '.join(detections.lesions) or 'no map'}; the truth has "
            f"{', '.join(sorted(map(str, masks))) or 'nothing'}: no class stands in both."
        )
    judgements, areas = [], {}
    for code in codes:
        probability = detections.probability[code]
        truth = TrueLesions.of(code, masks[code], probability=probability)
        judgements.append(match_detections(detections, truth))
        areas[code] = image_aupr(probability, truth)
    ran = detections.provenance
    return Assessment.of(
        judgements,
        title=f"{ran.detector} on {ran.image_name}",
        thresholds=detections.thresholds,
        min_area=detections.min_area,
        aupr=areas,
    )


def image_aupr(probability: npt.NDArray[np.float32], truth: TrueLesions) -> float:
    """Return the area below the precision-recall curve of one image's pixels, 33 thresholds."""
    return PixelHistogram((33,)).add(probability, truth.labels > 0)


def _row(judgement: ClassMatch, aupr: float) -> dict[str, Any]:
    lesions, pixels = judgement.lesions, judgement.pixels
    return {
        "lesion": judgement.lesion,
        "lesions": lesions.lesions,
        "found": lesions.found,
        "missed": lesions.missed,
        "detections": lesions.detections,
        "false_positives": lesions.false_positives,
        "sensitivity": lesions.sensitivity,
        "precision": lesions.precision,
        "f1": lesions.f1,
        "pixel_sensitivity": pixels.recall,
        "pixel_precision": pixels.precision,
        "dice": pixels.dice,
        "iou": pixels.iou,
        "aupr": aupr,
    }
