"""What a user may set of a voting training, beside the settings that all methods share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_fundus.detector import TrainingSpec
from napari_fundus.training.patches.options import (
    Channel,
    DiscDiameter,
    LesionWeight,
    PatchTrainingOptions,
)


class VotingTrainingOptions(PatchTrainingOptions):
    """Network, working scale, patches and loss; the defaults are those of the paper.

    The paper's pictures have discs of about 1,400 px. Its enhancement's β of −10 drives bright
    pixels to 0; −4 keeps the local mean grey.
    """

    disc_diameter: DiscDiameter = 1400.0
    channel: Channel = "green"
    width: Annotated[int, Field(ge=1, le=256)] = Field(
        16, title="Width", description="Channels of the first convolutions; the deepest have four."
    )
    decoder: Literal["paper", "slim"] = Field(
        "paper",
        title="Decoder",
        description=(
            "paper: all convolutions from the 7th on have four times the width; slim: the last two "
            "have two times and once the width, which halves the work."
        ),
    )
    patch: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = Field(
        32,
        title="Patch side",
        description="At the working scale.",
        json_schema_extra={"unit": "px"},
    )
    stride: Annotated[int, Field(ge=1, le=64)] = Field(
        2,
        title="Sampling stride",
        description="Step of the grid that patches are drawn from.",
        json_schema_extra={"unit": "px"},
    )
    positive_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8, title="Lesion share", description="Share of patches with at least one lesion pixel."
    )
    negatives: Literal["all", "healthy"] = Field(
        "all",
        title="Other patches",
        description="Patches without a lesion come from all images, or from healthy ones only.",
    )
    loss: Literal["dice", "bce_dice"] = Field(
        "dice",
        title="Loss",
        description="dice, as in the paper; bce_dice adds the weighted binary cross-entropy.",
    )
    bce_weight: Annotated[float, Field(ge=0, le=100)] = Field(
        4.0, title="Entropy weight", description="Of the cross-entropy in bce_dice."
    )
    lesion_weight: LesionWeight = 3.0

    def widths(self) -> tuple[int, ...]:
        """Return the channels of the 14 convolutions."""
        first = (self.width,) * 3 + (2 * self.width,) * 3
        if self.decoder == "paper":
            return first + (4 * self.width,) * 8
        return (*first, *(4 * self.width,) * 6, 2 * self.width, self.width)


SPEC = TrainingSpec(
    options=VotingTrainingOptions,
    fixed_by_checkpoint=frozenset({"width", "decoder", "patch", "disc_diameter", "channel"}),
)
"""What forms and the command line show of the training."""
