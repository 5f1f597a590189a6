"""What a user may set of the top-hat detector; sizes are shares of the retinal disc's diameter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from napari_fundus.detector import DetectorOptions

__all__ = ["TopHatOptions"]


class TopHatOptions(DetectorOptions):
    """Options of the top-hat detector.

    Sizes are in units of the diameter of the illuminated disc, so that they hold for every camera
    and resolution.
    """

    working_diameter: Annotated[int, Field(ge=200, le=4000)] = Field(
        1400,
        title="Working size",
        description="The disc is resized to this diameter for the search; larger is finer and slower.",
        json_schema_extra={"unit": "px"},
    )
    microaneurysm_size: Annotated[float, Field(ge=0.002, le=0.05)] = Field(
        0.015,
        title="Largest microaneurysm",
        description="Diameter in units of the disc's diameter; longer dark structures are vessels.",
    )
    haemorrhage_size: Annotated[float, Field(ge=0.01, le=0.3)] = Field(
        0.06,
        title="Largest haemorrhage",
        description="Diameter in units of the disc's diameter; longer dark structures are vessels.",
    )
    exudate_size: Annotated[float, Field(ge=0.01, le=0.3)] = Field(
        0.06,
        title="Largest exudate",
        description="Diameter in units of the disc's diameter; larger bright areas are background.",
    )
