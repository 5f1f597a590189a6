"""What a user may set of the multi-scale detector; scales and networks come with the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_fundus.detector import DetectorOptions, checkpoint_field
from napari_fundus.inference.fuse_maps import FusionMean

DEFAULT_CHECKPOINT = "multiscale-idrid"
"""Name of the weights that ship with the package."""


class MultiscaleOptions(DetectorOptions):
    """Options of the two hypothesis networks, their fusion and the refinement."""

    checkpoint: str = checkpoint_field(DEFAULT_CHECKPOINT, detector="multiscale")
    result: Literal["refined", "fused", "fine", "coarse"] = Field(
        "refined",
        title="Result",
        description=(
            "refined: both scales, judged anew by the patch classifier; fused: the mean of both "
            "scales; fine, coarse: one scale alone."
        ),
    )
    fusion: FusionMean = Field(
        "geometric",
        title="Fusion",
        description="How the maps of both scales become one: their arithmetic or geometric mean.",
    )
    refiner: Literal["triplet", "cls"] = Field(
        "triplet",
        title="Refiner",
        description=(
            "triplet: the classifier trained with the triplet loss; cls: the one trained with "
            "cross-entropy alone, where the weights have it."
        ),
    )
    suspect: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        title="Suspect from",
        description="The classifier looks where a scale's map is above this.",
    )
    stride: Annotated[int, Field(ge=1, le=32)] = Field(
        8,
        title="Stride",
        description="Of the classifier, in pixels at the fine scale; 1 looks at each pixel.",
        json_schema_extra={"unit": "px"},
    )
    trust: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3,
        title="Trust in the refiner",
        description=(
            "Weight of the classifier's log odds against those of the hypothesis; 1 puts its "
            "answer in the hypothesis's place, as in the paper."
        ),
    )
    stages: bool = Field(
        default=True,
        title="Show all stages",
        description="Also give the maps of both scales, and what they were fused to.",
    )
    tile: Annotated[int, Field(ge=256, le=8192)] = Field(
        1024,
        title="Tile",
        description="Side of the tiles; larger ones need more memory. No seam remains.",
        json_schema_extra={"unit": "px"},
    )
    batch: Annotated[int, Field(ge=1, le=4096)] = Field(
        64, title="Batch", description="Patches that the classifier sees at once."
    )
