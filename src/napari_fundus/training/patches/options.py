"""Options that all methods trained on patches share: scale, variation, validation."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from napari_fundus.preprocessing import Recipe

ADAMW_COSINE: dict[str, Any] = {
    "optimizer": "adamw",
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "warmup_steps": 50,
    "ema": 0.995,
    "clip_norm": 5.0,
    "early_stopping": 0,
}
"""Settings of the loop that serve light networks on patches better than the common defaults."""

# Fields that methods share are types, so that one of another default gives that alone:
# `contrast: Contrast = 0.2`.

DiscDiameter = Annotated[
    float,
    Field(
        ge=64,
        le=8192,
        title="Disc diameter",
        description="Working scale: every image is resized so that its disc has this diameter.",
        json_schema_extra={"unit": "px"},
    ),
]
Channel = Annotated[
    Literal["green", "rgb"],
    Field(title="Channels", description="The green plane alone, or all three."),
]
Contrast = Annotated[
    float,
    Field(ge=0, lt=1, title="Contrast", description="Training patches are multiplied by 1 ± this."),
]
Brightness = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        title="Brightness",
        description="Training patches are shifted by ± this (64 levels).",
    ),
]
Colour = Annotated[
    float,
    Field(ge=0, lt=1, title="Colour", description="Each plane is multiplied by its own 1 ± this."),
]
Zoom = Annotated[
    float,
    Field(ge=0, lt=1, title="Zoom", description="Training patches are enlarged by 1 ± this."),
]
DrawnTiles = Annotated[
    int,
    Field(
        ge=0,
        le=10_000_000,
        title="Validation tiles",
        description=(
            "Tiles without lesion to validate on, and four times as many with one; those drawn "
            "stand for the others in the figures. 0 takes all."
        ),
    ),
]
"""Validation tiles of a method that draws of those with a lesion too."""

ClassShares = Annotated[
    dict[str, Annotated[float, Field(ge=0, le=1)]],
    Field(
        title="Class shares",
        description="Share of patches near a pixel of each class; the rest lies anywhere.",
    ),
]
AreaPower = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        title="Area power",
        description=(
            "Lesions are drawn in proportion to their area to this power: 1 makes every pixel as "
            "likely, 0 every lesion."
        ),
    ),
]
LesionWeight = Annotated[
    float,
    Field(
        gt=0,
        le=1000,
        title="Lesion weight",
        description="Of lesion pixels in the cross-entropy.",
    ),
]


class PatchTrainingOptions(BaseModel):
    """Working scale, random variation of the patches, and the tiles to validate on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    disc_diameter: DiscDiameter = 1750.0
    channel: Channel = "rgb"
    contrast: Contrast = 0.0
    brightness: Brightness = 0.0
    colour: Colour = 0.0
    zoom: Zoom = 0.0
    rotation: Annotated[float, Field(ge=0, le=180)] = Field(
        0.0,
        title="Rotation",
        description="Training patches are rotated by ± this angle, beside quarter turns.",
        json_schema_extra={"unit": "°"},
    )
    validation_tiles: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        1500,
        title="Validation tiles",
        description=(
            "Tiles without lesion to validate on, beside those with one; those drawn stand for the "
            "others in the figures. 0 takes all."
        ),
    )

    @property
    def planes(self) -> int:
        """How many planes a network sees."""
        return 1 if self.channel == "green" else 3

    def recipe(self) -> Recipe:
        """Return the preprocessing: each plane less its local mean, at the working scale.

        The blur keeps its size in relation to the disc: σ is 30 px at a disc of 1,750 px.
        """
        return Recipe(
            crop="disc",
            resize="disc",
            disc_diameter=self.disc_diameter,
            enhance=True,
            alpha=4,
            beta=-4,
            gamma=128,
            sigma=30 * self.disc_diameter / 1750,
            channel=self.channel,
        )
