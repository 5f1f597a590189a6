"""Recipes: what is done to a photograph before a method sees it, as values that can be saved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from napari_fundus.errors import GeometryError, OptionsError
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing.enhance import enhance
from napari_fundus.preprocessing.field_of_view import find_field_of_view
from napari_fundus.preprocessing.fov_circle import FovCircle, fit_aspect, fit_fov_circle
from napari_fundus.preprocessing.geometry import Geometry, bounding_box
from napari_fundus.runtime.progress import Monitor

MAX_WORKING_PIXELS = 100_000_000
"""Most pixels that a photograph is enlarged to; the largest cameras take a third of it."""


class Recipe(BaseModel):
    """The steps from a photograph to what a method sees, in the order of the fields.

    Each field carries title, description and bounds: they make the form in napari and the ``--set``
    fields of the command line.

    Examples
    --------
    >>> recipe = Recipe.preset("mask_rcnn")
    >>> recipe.sigma, recipe.side
    (20.0, 1024)
    >>> Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop: Literal["none", "disc", "circle"] = Field(
        "none",
        title="Crop",
        description=(
            "none keeps the frame; disc crops to the field of view; circle completes a disc that "
            "the frame cuts, or that is stretched, to a full circle on a square."
        ),
    )
    square: bool = Field(
        default=False,
        title="Pad to a square",
        description="Pads the shorter side evenly with black.",
    )
    resize: Literal["none", "side", "disc"] = Field(
        "none",
        title="Resize",
        description=(
            "side brings the longer side to 'Side'; disc brings the disc's diameter to 'Disc "
            "diameter', so that lesions have one size whatever the camera."
        ),
    )
    side: Annotated[int, Field(ge=64, le=8192)] = Field(
        1024,
        title="Side",
        description="Longer side after resizing.",
        json_schema_extra={"unit": "px"},
    )
    disc_diameter: Annotated[float, Field(ge=64, le=8192)] = Field(
        1400.0,
        title="Disc diameter",
        description="Diameter of the field of view's circle after resizing: the working scale.",
        json_schema_extra={"unit": "px"},
    )
    clahe: bool = Field(
        default=False,
        title="Equalize (CLAHE)",
        description="Contrast-limited adaptive histogram equalization of the lightness.",
    )
    clahe_clip: Annotated[float, Field(ge=0.1, le=40)] = Field(
        2.0, title="CLAHE clip limit", description="Higher gives more contrast and more noise."
    )
    enhance: bool = Field(
        default=False,
        title="Enhance",
        description="alpha · image + beta · blurred image + gamma, blurred inside the disc only.",
    )
    alpha: Annotated[float, Field(ge=-20, le=20)] = Field(
        4.0, title="Alpha", description="Weight of the image."
    )
    beta: Annotated[float, Field(ge=-20, le=20)] = Field(
        -4.0, title="Beta", description="Weight of the blurred image."
    )
    gamma: Annotated[float, Field(ge=-255, le=255)] = Field(
        128.0, title="Gamma", description="Added grey level (of 255)."
    )
    sigma: Annotated[float, Field(ge=0.5, le=500)] = Field(
        30.0,
        title="Sigma",
        description="Standard deviation of the Gaussian blur, after resizing.",
        json_schema_extra={"unit": "px"},
    )
    channel: Literal["rgb", "green"] = Field(
        "rgb",
        title="Channels",
        description="All three planes, or the green one, in which red lesions stand out best.",
    )
    standardize: bool = Field(
        default=False,
        title="Standardize",
        description="Subtract the mean and divide by the deviation of the disc, plane by plane.",
    )

    @classmethod
    def preset(cls, name: str) -> Recipe:
        """Return a named recipe.

        Raises
        ------
        OptionsError
            There is none of that name; the message lists them.
        """
        if name not in _PRESETS:
            raise OptionsError(f"No recipe is called {name!r}; there are {', '.join(_PRESETS)}.")
        return _PRESETS[name][0]

    def apply(self, image: FundusImage, monitor: Monitor | None = None) -> PreprocessedImage:
        """Prepare `image`.

        Raises
        ------
        NoFieldOfViewError
            The image shows no disc.
        GeometryError
            The result would have no pixel, or more than `MAX_WORKING_PIXELS`.
        """
        monitor = monitor or Monitor()
        original = find_field_of_view(image)
        monitor.step(0.2, "field of view")
        disc = fit_fov_circle(original)
        geometry = self._geometry(original, disc)
        inside = geometry.forward_mask(original)
        pixels = _zero_outside(geometry.forward_image(image.rgb8), inside)
        monitor.step(0.4, "geometry")
        if self.channel == "green":
            pixels = np.ascontiguousarray(pixels[..., 1])
        if self.clahe:
            pixels = _zero_outside(_equalize(pixels, self.clahe_clip), inside)
            monitor.step(0.6, "contrast")
        if self.enhance:
            pixels = enhance(
                pixels,
                field_of_view=inside,
                alpha=self.alpha,
                beta=self.beta,
                gamma=self.gamma,
                sigma=self.sigma,
            )
            monitor.step(0.9, "enhancement")
        if self.standardize:
            pixels = _standardize(pixels, inside)
        monitor.step(1.0, "prepared")
        return PreprocessedImage(pixels, inside, disc, geometry, original, self)

    def _geometry(self, field_of_view: npt.NDArray[np.bool_], disc: FovCircle) -> Geometry:
        geometry = Geometry.identity((field_of_view.shape[0], field_of_view.shape[1]))
        if self.crop == "disc":
            geometry = geometry.crop_to_mask(field_of_view)
        elif self.crop == "circle":
            aspect = fit_aspect(field_of_view)
            bounds = _bounding_disc(field_of_view) if aspect != 1 else disc
            geometry = geometry.complete(bounds, aspect=aspect)
        if self.square:
            geometry = geometry.square()
        if self.resize == "side":
            geometry = geometry.rescale(self.side / max(geometry.target_shape))
        elif self.resize == "disc":
            geometry = geometry.rescale(self.disc_diameter / disc.diameter)
        height, width = geometry.target_shape
        if height * width > max(MAX_WORKING_PIXELS, field_of_view.size):
            raise GeometryError(
                f"The photograph would be enlarged to {width}x{height} px: the retina found in it "
                f"has a diameter of {disc.diameter:.0f} px. Crop the photograph to its retina, or "
                "take a smaller working size."
            )
        return geometry


@dataclass(frozen=True, eq=False)
class PreprocessedImage:
    """A prepared photograph, and the way back.

    Attributes
    ----------
    pixels
        Shape (h, w, 3) or (h, w) for the green plane alone; uint8, or float32 if standardized; 0
        outside the field of view.
    field_of_view
        bool, shape (h, w).
    disc
        The circle of the field of view in the ORIGINAL image.
    geometry
        Maps original to prepared pixels and back.
    original_field_of_view
        bool, shape (H, W), of the original image.
    recipe
        What was done.
    """

    pixels: npt.NDArray[Any]
    field_of_view: npt.NDArray[np.bool_]
    disc: FovCircle
    geometry: Geometry
    original_field_of_view: npt.NDArray[np.bool_]
    recipe: Recipe

    def to_original(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Bring a map in prepared pixels back to the original ones.

        Parameters
        ----------
        values
            Any real dtype, shape (h, w).

        Returns
        -------
        numpy.ndarray
            float32, shape (H, W), 0 outside the field of view.
        """
        whole = self.geometry.inverse_image(np.asarray(values, np.float32))
        result: npt.NDArray[np.float32] = np.where(
            self.original_field_of_view, whole, np.float32(0)
        )
        return result


def _zero_outside(pixels: npt.NDArray[Any], inside: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return a copy that is 0 outside the field of view: burnt-in text is gone."""
    import cv2

    copy: npt.NDArray[Any] = cv2.copyTo(pixels, np.ascontiguousarray(inside).view(np.uint8))
    return copy


def _bounding_disc(mask: npt.NDArray[np.bool_]) -> FovCircle:
    """Return the circle around a stretched disc: its longer axis is the diameter."""
    rows, cols = bounding_box(mask) or np.s_[0 : mask.shape[0], 0 : mask.shape[1]]
    spans = rows.stop - rows.start, cols.stop - cols.start
    centre = (rows.start + rows.stop - 1) / 2, (cols.start + cols.stop - 1) / 2
    return FovCircle(*centre, max(spans) / 2)


def _equalize(pixels: npt.NDArray[Any], clip: float) -> npt.NDArray[np.uint8]:
    """Equalize the lightness (CIE Lab) of a picture, or the one plane that it has."""
    import cv2

    clahe = cv2.createCLAHE(clipLimit=clip, tileGridSize=(8, 8))
    if pixels.ndim == 2:
        return np.asarray(clahe.apply(pixels), np.uint8)
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    lab[..., 0] = clahe.apply(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _standardize(
    pixels: npt.NDArray[Any], inside: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Give each plane mean 0 and deviation 1 inside the field of view: float32, 0 outside."""
    values = pixels.astype(np.float32)
    disc = values[inside].astype(np.float64)
    spread = np.maximum(disc.std(axis=0), 1e-6)
    values = np.asarray((values - disc.mean(axis=0)) / spread, np.float32)
    values[~inside] = 0
    return values


_PRESETS: dict[str, tuple[Recipe, str]] = {
    "voting": (
        Recipe(enhance=True, alpha=4, beta=-10, gamma=128, sigma=10, channel="green"),
        "Chudzik et al. 2018 as printed. Its weight of -10 drives bright pixels to 0: an open "
        "point of the paper; see voting_soft.",
    ),
    "voting_soft": (
        Recipe(enhance=True, alpha=4, beta=-4, gamma=128, sigma=10, channel="green"),
        "As voting with the usual weight of -4, which keeps the mean grey.",
    ),
    "multiscale": (
        Recipe(enhance=True, alpha=4, beta=-4, gamma=128, sigma=1024 / 30),
        "Sarhan et al. 2019; the printed '+1024/30' is read as the blur's sigma (an open point).",
    ),
    "mask_rcnn": (
        Recipe(crop="circle", resize="side", side=1024, enhance=True, alpha=4, beta=-4, sigma=20),
        "Crop, full circle, 1024 px, enhancement with sigma 20.",
    ),
    "graham": (
        Recipe(resize="disc", disc_diameter=600, enhance=True, alpha=4, beta=-4, sigma=10),
        "Graham 2015: the disc's radius is brought to 300 px, and sigma is radius / 30.",
    ),
    "local_mean": (
        Recipe(resize="disc", disc_diameter=1750, enhance=True, alpha=4, beta=-4, sigma=30),
        "Each plane less its local mean, times 4, plus 128, at a disc of 1,750 px.",
    ),
    "clahe": (
        Recipe(clahe=True),
        "Contrast-limited adaptive histogram equalization: easy on the eye.",
    ),
    "none": (Recipe(), "Everything outside the field of view is set to 0, no more."),
}


def preset_descriptions() -> dict[str, str]:
    """Return the names of the presets, each with what it is."""
    return {name: text for name, (_, text) in _PRESETS.items()}
