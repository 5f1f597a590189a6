"""What a user may set of the classifier; network and preprocessing come with the weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from napari_fundus.detector import DetectorOptions, checkpoint_field

DEFAULT_CHECKPOINT = "cam-idrid"
"""Name of the weights that ship with the package."""

Method = Literal["auto", "cam", "gradcam", "gradcam++", "layercam", "scorecam"]


class CamOptions(DetectorOptions):
    """Options of the classifier that shows where it looked."""

    threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        title="Threshold",
        description=(
            "Regions are where the scores reach it. Scaled by probability, a picture has a region "
            "exactly if its probability reaches it too."
        ),
    )
    checkpoint: str = checkpoint_field(DEFAULT_CHECKPOINT, detector="cam")
    method: Method = Field(
        "auto",
        title="Heat map",
        description=(
            "cam: plain class activation map, in the same pass (o_O network only); gradcam and "
            "the others work with any network. auto: cam where it can be had, else gradcam."
        ),
    )
    multi_resolution: bool = Field(
        default=False,
        title="Two resolutions",
        description=(
            "Average the maps at the trained side and at twice of it, which shows smaller lesions "
            "and takes five times as long. The o_O network only."
        ),
    )
    scale: Literal["probability", "image"] = Field(
        "probability",
        title="Scale of regions",
        description=(
            "probability: the map, from 0 to 1, times the probability of disease, so that healthy "
            "pictures stay empty; image: the map alone, as published (with a threshold of 0.65), "
            "so that every picture has a region of score 1."
        ),
    )
    layer: str | None = Field(
        None,
        title="Layer",
        description="Whose activations gradcam and the others show. Left out: the last with maps.",
    )
