"""Preprocessing: field of view, enhancement, invertible geometry, and recipes made of them."""

from __future__ import annotations

from napari_fundus.preprocessing.disc import Disc, fit_disc
from napari_fundus.preprocessing.field_of_view import find_field_of_view

__all__ = ["Disc", "find_field_of_view", "fit_disc"]
