"""What a user may set of the multi-scale detector's training, stage by stage."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from napari_fundus.backends.multiscale.stages import Stage
from napari_fundus.detector import TrainingSpec
from napari_fundus.preprocessing import Recipe
from napari_fundus.training.patches.options import (
    ADAMW_COSINE,
    Brightness,
    Colour,
    Contrast,
    LesionWeight,
    PatchTrainingOptions,
)

_HYPOTHESIS = {
    **ADAMW_COSINE,
    "batch_size": 24,
    "learning_rate": 1.5e-3,
    "max_epochs": 20,
    "steps_per_epoch": 300,
}
_REFINER = {
    **ADAMW_COSINE,
    "batch_size": 30,
    "learning_rate": 1e-3,
    "max_epochs": 30,
    "steps_per_epoch": 50,
}
TRAINING_DEFAULTS: dict[str, dict[str, Any]] = {
    "fine": _HYPOTHESIS,
    "coarse": _HYPOTHESIS,
    "refine": _REFINER,
    "classify": _REFINER,
}
"""Settings of the loop that serve each stage better than the common defaults."""


class MultiscaleTrainingOptions(PatchTrainingOptions):
    """Stage, networks, patches, losses, and which patches without a lesion are seen."""

    stage: Stage = Field(
        "fine",
        title="Stage",
        description=(
            "Which network to train: fine and coarse see the picture at 1× and 0.5×; refine judges "
            "patches anew; classify is refine without the triplet loss. Start each from the "
            "checkpoint of the one before, and its file holds them all."
        ),
    )
    disc_diameter: Annotated[float, Field(ge=64, le=8192)] = Field(
        3500.0,
        title="Disc diameter",
        description=(
            "Working scale of 1×: every image is resized so that its disc has this diameter; the "
            "coarse stage works at half of it."
        ),
        json_schema_extra={"unit": "px"},
    )
    width: Annotated[float, Field(gt=0, le=2)] = Field(
        1 / 3,
        title="Width",
        description="Share of FRRN-A's channels in the hypothesis networks; the paper's is 1.",
    )
    stem: Literal[1, 2, 4] = Field(
        2,
        title="Stem",
        description=(
            "The hypothesis networks work on blocks of so many pixels squared; the paper's is 1."
        ),
    )
    backbone: Literal["resnet50", "resnet18", "light"] = Field(
        "light",
        title="Backbone",
        description="Of the refiner: resnet50 is the paper's, light fits a CPU.",
    )
    patch: Annotated[int, Field(ge=32, le=2048, multiple_of=32)] = Field(
        128,
        title="Patch side",
        description="Of the hypothesis networks; the paper's is 256.",
        json_schema_extra={"unit": "px"},
    )
    refiner_patch: Annotated[int, Field(ge=17, le=513)] = Field(
        129,
        title="Refiner's patch",
        description="Side of the refiner's patches, odd, at 1×.",
        json_schema_extra={"unit": "px"},
    )
    positive_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.65,
        title="Lesion patches",
        description="Share of the hypothesis networks' patches that hold a lesion.",
    )
    negatives: Literal["healthy", "all"] = Field(
        "healthy",
        title="Patches without lesion",
        description=(
            "healthy: from images without any sign of disease only, as in the paper; all: also "
            "from the others, wherever no lesion is drawn."
        ),
    )
    lesion_weight: LesionWeight = 3.0
    bce_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        8.0, title="Entropy weight", description="Of the hypothesis networks' cross-entropy."
    )
    dice_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        1.0, title="Dice weight", description="Of the hypothesis networks' soft Dice loss."
    )
    triplet_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        1.0, title="Triplet weight", description="Of the refiner's triplet loss."
    )
    margin: Annotated[float, Field(gt=0, le=2)] = Field(
        0.5, title="Margin", description="Of the triplet loss, in angular cosine distance."
    )
    pool: Annotated[int, Field(ge=16, le=10_000_000)] = Field(
        4000,
        title="Pool",
        description=(
            "Patches without lesion that are scored anew each time; those that the refiner finds "
            "hard are drawn more often."
        ),
    )
    refresh: Annotated[int, Field(ge=1, le=10_000)] = Field(
        10,
        title="Refresh",
        description="Epochs after which the pool is drawn and scored anew.",
        json_schema_extra={"unit": "epochs"},
    )
    mining: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        title="Mined share",
        description=(
            "Share of the pool from where the coarse hypothesis finds something: what the refiner "
            "will be asked about. 0 as in the paper."
        ),
    )
    mined_images: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        16,
        title="Mined images",
        description=(
            "In how many images, evenly chosen, the coarse hypothesis is asked; each takes seconds "
            "on a CPU. 0 takes all."
        ),
    )
    contrast: Contrast = 0.2
    brightness: Brightness = 0.2
    colour: Colour = 0.05
    validation_tiles: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        100,
        title="Validation tiles",
        description=(
            "Tiles without lesion to validate on, and four times as many with one; those drawn "
            "stand for the others in the figures. 0 takes all. Of the refiner: ten times so many "
            "patches of either kind."
        ),
    )

    def recipe(self) -> Recipe:
        """Return the preprocessing of the stage to be trained."""
        scale = 0.5 if self.stage == "coarse" else 1.0
        at_scale = PatchTrainingOptions(
            disc_diameter=self.disc_diameter * scale, channel=self.channel
        )
        return at_scale.recipe()


SPEC = TrainingSpec(
    options=MultiscaleTrainingOptions,
    defaults=TRAINING_DEFAULTS["fine"],
    schemes_unsupported_reason="These networks do not tell their convolutions in order.",
)
"""What forms and the command line show of the training."""
