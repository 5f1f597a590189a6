"""Two kinds of training on patches: a fixed share with lesions, or centred on class by class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, cast

from napari_fundus.errors import OptionsError, TrainingError
from napari_fundus.training.loop.settings import TrainingSettings
from napari_fundus.training.patches.data import TrainingSplit
from napari_fundus.training.patches.samplers import BalancedSampler, LesionCentredSampler
from napari_fundus.training.patches.store import PatchStore
from napari_fundus.training.patches.task import PatchTask

_LONGEST_EPOCH = 1000
"""Steps, as in the papers."""


class _Centres(Protocol):
    @property
    def class_shares(self) -> Mapping[str, float]: ...
    @property
    def area_power(self) -> float: ...


class BalancedSamplingTask(PatchTask):
    """A share of the patches holds a lesion; the others may come from healthy images alone.

    Options may have ``positive_share`` (.5 without it) and ``negatives`` (``"all"`` without it).
    """

    @property
    def stride(self) -> int:
        """Pixels between neighbouring places of patches."""
        return 4

    def make_sampler(self, store: PatchStore, parts: TrainingSplit) -> BalancedSampler:
        """Return the sampler: a fixed share of the patches holds a lesion."""
        healthy_alone = getattr(self.options, "negatives", "all") == "healthy"
        return BalancedSampler(
            store,
            self.patch,
            stride=self.stride,
            positive_share=self.positive_share,
            negative_image_indices=healthy_indices(parts) if healthy_alone else None,
        )

    @property
    def positive_share(self) -> float:
        """Share of the patches that hold a lesion, 0 to 1."""
        share: float = getattr(self.options, "positive_share", 0.5)
        return share

    def steps_per_epoch(self, settings: TrainingSettings) -> int:
        """Return how many batches hold as many lesion patches as there are, but 1000 at most."""
        positive = cast("BalancedSampler", self.sampler).positive
        wanted = max(settings.batch_size * self.positive_share, 1)
        return max(min(int(len(positive) / wanted), _LONGEST_EPOCH), 1)


class LesionCentredTask(PatchTask):
    """A share of the patches lies near each class, and tiles with a lesion are drawn too.

    Options have ``class_shares`` and ``area_power``.
    """

    @property
    def lesion_tile_limit(self) -> int:
        """How many validation tiles with a lesion are drawn; 0 for all."""
        return 4 * self.options.validation_tiles

    def make_sampler(self, store: PatchStore, parts: TrainingSplit) -> LesionCentredSampler:
        """Return the sampler: a share of the patches lies near a pixel of each class."""
        chosen = cast("_Centres", self.options)
        shares = {c: s for c, s in chosen.class_shares.items() if c in self.lesions}
        return LesionCentredSampler(
            store, self.patch, class_shares=shares, area_power=chosen.area_power
        )


def healthy_indices(parts: TrainingSplit) -> range:
    """Return the indices, in the store of a training, of the images without any disease.

    Raises
    ------
    TrainingError
        There is none.
    """
    if not parts.healthy:
        raise TrainingError(
            "Patches without a lesion were to come from healthy images, but there is none: give a "
            "folder of them, or let them come from all images (--set negatives=all)."
        )
    return range(len(parts.train), len(parts.train) + len(parts.healthy))


def check_patch_size(patch: int, multiple: int) -> None:
    """Refuse patches that a network does not take.

    Raises
    ------
    OptionsError
        The side is no multiple of `multiple`.
    """
    if patch % multiple:
        raise OptionsError(
            f"Setting 'patch' = {patch}: this network needs a multiple of {multiple}."
        )
