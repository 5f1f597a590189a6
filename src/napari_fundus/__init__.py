"""Diabetic-retinopathy lesions in fundus photographs: a headless library and a napari plugin.

Importing this package is quick: torch, napari and Qt are loaded only when something needs them.

Examples
--------
>>> import napari_fundus as nf
>>> image = nf.read_image(nf.sample_image_path())
>>> image.shape
(2848, 4288)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_fundus._version import __version__

if TYPE_CHECKING:
    from napari_fundus.api import compare as compare
    from napari_fundus.api import detect as detect
    from napari_fundus.api import evaluate as evaluate
    from napari_fundus.api import train as train
    from napari_fundus.datasets import open_dataset as open_dataset
    from napari_fundus.export import read_results as read_results
    from napari_fundus.image import FundusImage as FundusImage
    from napari_fundus.image import read_image as read_image
    from napari_fundus.plugins import find_detectors as find_detectors
    from napari_fundus.results.detections import Detections as Detections
    from napari_fundus.results.quantification import quantify as quantify
    from napari_fundus.samples import sample_image_path as sample_image_path

_HOME_OF = {
    "compare": "api",
    "Detections": "results.detections",
    "FundusImage": "image",
    "detect": "api",
    "evaluate": "api",
    "find_detectors": "plugins",
    "open_dataset": "datasets",
    "quantify": "results.quantification",
    "read_image": "image",
    "read_results": "export",
    "sample_image_path": "samples",
    "train": "api",
}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(f"napari_fundus.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
