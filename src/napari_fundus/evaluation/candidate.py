"""A detector to be measured: its options, its weights, and what these have seen in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_fundus.checkpoints import ModelCard, load_checkpoint
from napari_fundus.datasets import Sample
from napari_fundus.detector import Detector, DetectorOptions, coerce_options
from napari_fundus.errors import OptionsError


@dataclass(frozen=True, eq=False)
class Candidate:
    """One column of the comparison.

    Attributes
    ----------
    detector, options
        What is measured.
    label
        How the report calls it.
    card
        Of its weights, where it has such.
    weights_sha256
        Of the file of weights.
    """

    detector: Detector
    options: DetectorOptions
    label: str
    card: ModelCard | None = None
    weights_sha256: str | None = None

    @classmethod
    def of(
        cls, detector: Detector, options: DetectorOptions | Mapping[str, Any] | None = None
    ) -> Candidate:
        """Return a candidate, after checking its options and weights.

        Raises
        ------
        OptionsError
            An option is unknown or out of bounds.
        CheckpointError
            The weights are missing or not sound.
        """
        chosen = coerce_options(detector.Options, options)
        reference = getattr(chosen, "checkpoint", None)
        if not isinstance(reference, str):
            return cls(detector, chosen, detector.name)
        checkpoint = load_checkpoint(reference, detector=detector.name)
        return cls(detector, chosen, detector.name, checkpoint.card, checkpoint.sha256)

    def trained_on(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return those of the samples that the weights were trained on, or that show such an eye.

        Ids are those of the card. Where a data set was opened at a part of it, so that no id of the
        card occurs, the last parts of the names are compared.
        """
        if self.card is None:
            return []
        given = list(samples)
        seen = _named(self.card.split.train, given, self.card)
        eyes = {s.group for s in given if s.id in seen} - {None}
        return [s for s in given if s.id in seen or s.group in eyes]

    def held_back(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return those of the samples that the card names as held back in training."""
        if self.card is None:
            return []
        given = list(samples)
        known = _named(self.card.split.validation, given, self.card)
        return [s for s in given if s.id in known]


def _named(names: Sequence[str], samples: Sequence[Sample], card: ModelCard) -> set[str]:
    """Return the ids of samples that are named."""
    ids = {s.id for s in samples}
    if ids & {*card.split.train, *card.split.validation}:
        return ids & set(names)
    last = {name.rpartition("/")[2] for name in names if not name.startswith("healthy/")}
    last = {name for name in last if not name.isdigit()}
    return {s.id for s in samples if s.id.rpartition("/")[2] in last}


def with_unique_labels(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates with labels that differ: the weights' name, then a number.

    Raises
    ------
    OptionsError
        There is none.
    """
    if not candidates:
        raise OptionsError("Name at least one detector to evaluate.")
    labels = [c.label for c in candidates]
    result = [
        replace(c, label=f"{c.label} ({c.card.name})")
        if labels.count(c.label) > 1 and c.card is not None
        else c
        for c in candidates
    ]
    labels = [c.label for c in result]
    return [
        replace(c, label=f"{c.label} #{labels[: index + 1].count(c.label)}")
        if labels.count(c.label) > 1
        else c
        for index, c in enumerate(result)
    ]
