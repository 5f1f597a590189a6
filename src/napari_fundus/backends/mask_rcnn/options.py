"""What a user may set of the Mask R-CNN; enhancement and working size come with the weights."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from napari_fundus.detector import DetectorOptions, checkpoint_field

DEFAULT_CHECKPOINT = "mask-rcnn-idrid"
"""Name of the weights that ship with the package."""


class MaskRCNNOptions(DetectorOptions):
    """Options of the Mask R-CNN."""

    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        0.35,
        title="Threshold",
        description="Lesions of at least this score are shown; 0.35 in the paper.",
    )
    checkpoint: str = checkpoint_field(DEFAULT_CHECKPOINT, detector="mask_rcnn")
    working_size: Literal["trained", "native"] = Field(
        "trained",
        title="Working size",
        description=(
            "trained: the size of the picture that the weights know; native: all pixels of the "
            "photograph, in more tiles, for lesions too small to be seen otherwise."
        ),
    )
    tile: Annotated[int, Field(ge=128, le=8192)] = Field(
        1024,
        title="Tile",
        description=(
            "Longest side of what the network sees at once; pictures up to it are seen at one "
            "piece. Larger tiles need more memory."
        ),
        json_schema_extra={"unit": "px"},
    )
    overlap: Annotated[int, Field(ge=0, le=2048)] = Field(
        128,
        title="Overlap",
        description=(
            "What neighbouring tiles share. Smaller lesions are seen whole by one of them, larger "
            "ones are put together."
        ),
        json_schema_extra={"unit": "px"},
    )
    max_detections: Annotated[int, Field(ge=1, le=2000)] = Field(
        256,
        title="Most lesions a tile",
        description="The surest ones of a tile; 256 in the paper.",
    )
    nms: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        title="Box overlap",
        description=(
            "Of two lesions of one class whose boxes overlap by more (intersection over union), "
            "the less sure one is dropped."
        ),
    )
    keep_from: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05,
        title="Keep from score",
        description=(
            "Less sure lesions are not kept: the threshold's slider finds nothing further down."
        ),
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 2 * self.overlap > self.tile:
            raise ValueError(
                f"the overlap ({self.overlap} px) is at most half of the tile ({self.tile} px)"
            )
        return self
