"""What a user may set of the top-hat detector; sizes are shares of the retinal disc's diameter."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from napari_fundus.detector import DetectorOptions


class TopHatOptions(DetectorOptions):
    """Options of the top-hat detector.

    Sizes are in units of the diameter of the illuminated disc, so that they hold for every camera
    and resolution. The defaults gave the largest AUPR on the 54 training images of IDRiD.
    """

    working_diameter: Annotated[int, Field(ge=300, le=4000)] = Field(
        1400,
        title="Working size",
        description=(
            "The disc is resized to this diameter for the search; larger is finer and slower."
        ),
        json_schema_extra={"unit": "px"},
    )
    microaneurysm_size: Annotated[float, Field(ge=0.004, le=0.05)] = Field(
        0.011,
        title="Largest microaneurysm",
        description="In diameters of the disc. Whatever is dark and longer is no microaneurysm.",
    )
    haemorrhage_width: Annotated[float, Field(ge=0.002, le=0.05)] = Field(
        0.012,
        title="Least haemorrhage",
        description="In diameters of the disc. Whatever is dark and thinner is no haemorrhage.",
    )
    haemorrhage_size: Annotated[float, Field(ge=0.02, le=0.3)] = Field(
        0.07,
        title="Largest haemorrhage",
        description="In diameters of the disc. Whatever is dark and longer is a vessel.",
    )
    exudate_size: Annotated[float, Field(ge=0.01, le=0.3)] = Field(
        0.036,
        title="Largest exudate",
        description="In diameters of the disc. Whatever is bright and wider is background.",
    )
    optic_disc_size: Annotated[float, Field(ge=0.0, le=0.4)] = Field(
        0.18,
        title="Optic disc left out",
        description=(
            "Diameter, in diameters of the retinal disc, of the circle around the optic disc in "
            "which nothing is reported: its vessels and its rim look like lesions. 0 reports all."
        ),
    )
