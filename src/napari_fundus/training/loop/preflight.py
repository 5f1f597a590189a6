"""The report before the first step: what is trained on what, what leaks, and how long it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from napari_fundus.checkpoints import Split
from napari_fundus.errors import LeakageError, TrainingError
from napari_fundus.image_identity import ImageIdentity, KnownImages


@dataclass(frozen=True)
class SampleSummary:
    """What the report needs to know of an image.

    Attributes
    ----------
    id
        Of the sample.
    group
        Images of one group show the same eye; None where that is not known.
    lesions
        Class code to number of lesions, for every annotated class, with 0 where none was found.
    content
        Hash of the image and of what is annotated in it, by which a run that is resumed knows them.
    identity
        The photograph by its content, for the card; None where the method does not tell.
    """

    id: str
    group: str | None = None
    lesions: Mapping[str, int] = field(default_factory=dict)
    content: str = ""
    identity: ImageIdentity | None = None


@dataclass(frozen=True)
class SplitSummary:
    """One part of the data.

    Attributes
    ----------
    samples
        Its images.
    patches
        Kind to number of patches to draw from; empty for methods without patches.
    """

    samples: Sequence[SampleSummary] = ()
    patches: Mapping[str, int] = field(default_factory=dict)

    def identities(self) -> tuple[ImageIdentity, ...]:
        """Return the photographs by content, named as the samples."""
        return tuple(
            sample.identity.model_copy(update={"name": sample.id})
            for sample in self.samples
            if sample.identity is not None
        )

    def lesions(self) -> dict[str, int]:
        """Return the number of lesions by class, over all images where it was annotated."""
        total: Counter[str] = Counter()
        for sample in self.samples:
            total.update({str(code): count for code, count in sample.lesions.items()})
        return dict(total)


@dataclass(frozen=True)
class DataSummary:
    """Both parts, and the memory that they take.

    Attributes
    ----------
    train, validation
        The parts.
    memory_bytes
        Of the images held in memory.
    left_out
        Images that cannot be used, each with the reason.
    other_views
        Further photographs of the training's eyes, which are not trained on, for the card.
    """

    train: SplitSummary
    validation: SplitSummary
    memory_bytes: int = 0
    left_out: Sequence[str] = ()
    other_views: Sequence[ImageIdentity] = ()


class SplitReport(BaseModel):
    """Figures of one part."""

    model_config = ConfigDict(frozen=True)

    images: int
    lesions: dict[str, int]
    patches: dict[str, int]


class Preflight(BaseModel):
    """Report before the first step.

    Attributes
    ----------
    task, device, precision, scheme
        What is trained, where, in which arithmetic, which weights.
    train, validation
        Images, lesions by class, patches by kind.
    leaks
        Same eyes in both parts, allowed by the user.
    warnings
        What the user should know.
    parameters, trainable
        Number of weights, and of those that are trained.
    data_bytes, network_bytes, activation_bytes
        Memory: images; weights with gradients and optimizer; what a step keeps.
    steps_per_epoch, max_epochs
        Length of the run.
    seconds_per_step, estimated_seconds
        Measured in a few dry steps, and from it the longest time of the run; None if not measured.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    device: str
    precision: str
    scheme: str
    train: SplitReport
    validation: SplitReport
    leaks: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    parameters: int = 0
    trainable: int = 0
    data_bytes: int = 0
    network_bytes: int = 0
    activation_bytes: int = 0
    steps_per_epoch: int = 0
    max_epochs: int = 0
    seconds_per_step: float | None = None
    estimated_seconds: float | None = None

    def text(self) -> str:
        """Return the report for people, several lines."""
        share = self.trainable / max(self.parameters, 1)
        lines = [
            f"Training {self.task} on {self.device} in {self.precision}",
            *(_part_lines("training", self.train)),
            *(_part_lines("validation", self.validation)),
            f"  weights     {self.parameters:,}, trained {self.trainable:,} ({share:.2%}, "
            f"scheme {self.scheme})",
            f"  memory      images {_megabytes(self.data_bytes)}, network "
            f"{_megabytes(self.network_bytes)}, step {_megabytes(self.activation_bytes)}",
            f"  length      {self.steps_per_epoch:,} steps an epoch, at most {self.max_epochs:,} "
            "epochs",
        ]
        if self.seconds_per_step is not None and self.estimated_seconds is not None:
            lines.append(
                f"  time        {self.seconds_per_step:.3g} s a step, at most "
                f"{self.estimated_seconds / 60:,.0f} min"
            )
        lines += [f"  WARNING     {line}" for line in (*self.leaks, *self.warnings)]
        return "\n".join(lines)


def find_leaks(facts: DataSummary) -> tuple[str, ...]:
    """Return one line for every image or eye that is in both parts."""
    seen: dict[str, str] = {}
    for sample in facts.train.samples:
        seen[f"id {sample.id}"] = sample.id
        if sample.group is not None:
            seen.setdefault(f"group {sample.group}", sample.id)
        if sample.identity is not None:
            seen.setdefault(f"content {sample.identity.sha256}", sample.id)
    lines = []
    for sample in facts.validation.samples:
        if f"id {sample.id}" in seen:
            lines.append(f"{sample.id} is in training and validation.")
        elif sample.group is not None and f"group {sample.group}" in seen:
            other = seen[f"group {sample.group}"]
            lines.append(f"{sample.id} (validation) shows the same eye as {other} (training).")
        elif sample.identity is not None and f"content {sample.identity.sha256}" in seen:
            other = seen[f"content {sample.identity.sha256}"]
            lines.append(f"{sample.id} (validation) is the same photograph as {other} (training).")
    return tuple(lines)


def _lookalikes(facts: DataSummary) -> list[str]:
    """Return one line for every photograph whose resized or newly encoded copy is trained on."""
    known = KnownImages(facts.train.identities())
    exact = {image.sha256 for image in facts.train.identities()}
    return [
        f"{image.name} (validation) looks like a copy of {other.name} (training)."
        for image in facts.validation.identities()
        if image.sha256 not in exact and (other := known.find(image)) is not None
    ]


def _seen(samples: Sequence[SampleSummary], split: Split | None) -> list[str]:
    """Return the ids of samples that weights were trained on: by content where that is known."""
    if split is None:
        return []
    known, names = KnownImages(split.train_images), set(split.train)
    return [
        sample.id
        for sample in samples
        if (
            known.find(sample.identity) is not None
            if known and sample.identity is not None
            else sample.id in names
        )
    ]


def check_data(
    facts: DataSummary, *, allow_leakage: bool, seen_before: Split | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return leaks and warnings, or raise.

    Parameters
    ----------
    facts
        The data.
    allow_leakage
        Whether leaks are reported only.
    seen_before
        What the checkpoint to start from was trained on.

    Raises
    ------
    TrainingError
        A part has no image.
    LeakageError
        The same eye is in both parts, or the starting weights have seen a validation image.
    """
    if not facts.train.samples:
        raise TrainingError("There is no image to train on.")
    if not facts.validation.samples:
        raise TrainingError("There is no image to validate on: raise the validation share.")
    leaks = (
        *find_leaks(facts),
        *(
            f"{name} (validation) was seen in the training of the starting weights."
            for name in _seen(facts.validation.samples, seen_before)
        ),
    )
    if leaks and not allow_leakage:
        shown = " ".join(leaks[:5]) + (f" And {len(leaks) - 5} more." if len(leaks) > 5 else "")
        raise LeakageError(
            f"Training and validation are not independent: {shown} Split by group, or set "
            "allow_leakage if the figures need not be honest."
        )
    warnings = [*(f"Left out: {reason}" for reason in facts.left_out), *_lookalikes(facts)]
    for name, part in (("training", facts.train), ("validation", facts.validation)):
        empty = [code for code, count in part.lesions().items() if not count]
        if empty:
            warnings.append(f"The {name} part holds no lesion of class {', '.join(sorted(empty))}.")
    both = (*facts.train.samples, *facts.validation.samples)
    if unknown := sum(sample.group is None for sample in both):
        warnings.append(
            f"Of {unknown} of {len(both)} images it is not known which show the same eye."
        )
    return leaks, tuple(warnings)


def split_report(part: SplitSummary) -> SplitReport:
    """Return the figures of a part."""
    return SplitReport(images=len(part.samples), lesions=part.lesions(), patches=dict(part.patches))


def _part_lines(name: str, part: SplitReport) -> list[str]:
    lesions = ", ".join(f"{code} {count:,}" for code, count in part.lesions.items()) or "none"
    lines = [f"  {name:<11} {part.images:,} images; lesions: {lesions}"]
    if part.patches:
        patches = ", ".join(f"{kind} {count:,}" for kind, count in part.patches.items())
        lines.append(f"  {'':<11} patches: {patches}")
    return lines


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MB"
