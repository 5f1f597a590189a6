"""What a user may set of the voting detector; scale and enhancement come with the weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from napari_fundus.detector import DetectorOptions, checkpoint_field

DEFAULT_CHECKPOINT = "voting-idrid"
"""Name of the weights that ship with the package."""


class VotingOptions(DetectorOptions):
    """Options of the voting detector."""

    checkpoint: str = checkpoint_field(DEFAULT_CHECKPOINT, detector="voting")
    stride: Annotated[int, Field(ge=1, le=512)] | None = Field(
        None,
        title="Stride",
        description=(
            "Distance of neighbouring patches at the working scale. 1 lets every patch position "
            "vote, as in the paper; twice as far takes a quarter of the time. Left out: a quarter "
            "of the patch's side, 16 votes a pixel."
        ),
        json_schema_extra={"unit": "px"},
    )
    batch: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None,
        title="Patches at once",
        description="Left out: as many as the memory suggests. It does not change the result.",
    )
