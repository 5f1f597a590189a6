"""A detector to be measured: its options, its weights, and what these have seen in training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from napari_fundus.checkpoints import ModelCard, load_checkpoint
from napari_fundus.datasets import Sample
from napari_fundus.detector import Detector, DetectorOptions, coerce_options
from napari_fundus.errors import ImageReadError, OptionsError
from napari_fundus.image_identity import ImageIdentity, KnownImages


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

        Photographs are compared by content, whatever their names: renamed, resized and newly
        encoded copies are found, and others of the same name are not. Cards that hold no hashes
        (see `names_only`) are compared by ids; where a data set was opened at a part of it, so that
        no id of the card occurs, by the last parts of the names.
        """
        if self.card is None:
            return []
        given = list(samples)
        seen = self._among(given, self.card, "train")
        eyes = {s.group for s in given if s.id in seen} - {None}
        return [s for s in given if s.id in seen or s.group in eyes]

    def held_back(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return those of the samples that the card names as held back in training."""
        if self.card is None:
            return []
        given = list(samples)
        known = self._among(given, self.card, "validation")
        return [s for s in given if s.id in known]

    @property
    def names_only(self) -> bool:
        """Whether the card holds no hashes of the images that it names."""
        split = None if self.card is None else self.card.split
        return split is not None and bool(split.train) and not split.train_images

    def _among(
        self, samples: Sequence[Sample], card: ModelCard, part: Literal["train", "validation"]
    ) -> set[str]:
        """Return the ids of samples that stand in a part of the card."""
        split = card.split
        if not split.train_images and not split.validation_images:
            return _named(split.train if part == "train" else split.validation, samples, card)
        images = split.train_images if part == "train" else split.validation_images
        known = KnownImages(images)
        return {s.id for s in samples if known and known.find(_identity(s)) is not None}


def _identity(sample: Sample) -> ImageIdentity | None:
    """Return the photograph's identity; None for one that cannot be read, or evaluated."""
    try:
        return sample.identity()
    except (OSError, ImageReadError):
        return None


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
