"""What a user may set of the U-Net; scale and enhancement come with the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_fundus.detector import DetectorOptions, checkpoint_field

DEFAULT_CHECKPOINT = "unet-idrid"
"""Name of the weights that ship with the package."""


class UNetOptions(DetectorOptions):
    """Options of the U-Net."""

    checkpoint: str = checkpoint_field(DEFAULT_CHECKPOINT, detector="unet")
    flips: Literal["none", "mirror", "all"] = Field(
        "none",
        title="Test-time flips",
        description=(
            "Average the maps of the picture and of its mirror images: one of them (mirror: twice "
            "the time) or three (all: four times)."
        ),
    )
    scale: Annotated[float, Field(ge=0.25, le=4)] = Field(
        1.0,
        title="Scale",
        description=(
            "Of the picture that the network sees, in relation to the one it was trained on; 2 "
            "sees twice as fine."
        ),
    )
    tile: Annotated[int, Field(ge=128, le=8192)] = Field(
        2048,
        title="Tile",
        description="Side of the tiles; larger ones need more memory. No seam remains.",
        json_schema_extra={"unit": "px"},
    )
    optic_disc: bool = Field(
        default=True,
        title="Optic disc",
        description="Also give the optic disc: the circle that fits the helper class's map best.",
    )
    exclude_disc: bool = Field(
        default=True,
        title="No exudates in the disc",
        description="Do not believe exudates inside the optic disc, which is as bright as they.",
    )
