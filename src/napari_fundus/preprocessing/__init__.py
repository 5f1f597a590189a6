"""Preprocessing: field of view, enhancement, invertible geometry, and recipes made of them."""

from __future__ import annotations

from napari_fundus.preprocessing.enhance import enhance, enhance_exact
from napari_fundus.preprocessing.field_of_view import find_field_of_view
from napari_fundus.preprocessing.fov_circle import FovCircle, fit_fov_circle
from napari_fundus.preprocessing.geometry import Geometry
from napari_fundus.preprocessing.recipe import PreprocessedImage, Recipe, preset_descriptions
from napari_fundus.preprocessing.retina_check import check_retina

__all__ = [
    "FovCircle",
    "Geometry",
    "PreprocessedImage",
    "Recipe",
    "check_retina",
    "enhance",
    "enhance_exact",
    "find_field_of_view",
    "fit_fov_circle",
    "preset_descriptions",
]
