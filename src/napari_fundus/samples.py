"""The two pictures that ship with the package: one with lesions and their masks, one normal."""

from __future__ import annotations

from pathlib import Path

_DATA = Path(__file__).parent / "data"

SAMPLE_CREDIT = (
    "IDRiD_13, Indian Diabetic Retinopathy Image Dataset (Porwal et al. 2018, "
    "doi:10.3390/data3030025), CC-BY 4.0"
)
"""Attribution of the sample image, as its licence asks."""

NORMAL_CREDIT = "Normal fundus photograph from scikit-image's data, CC0"
"""Origin of the normal image."""


def sample_folder() -> Path:
    """Return the folder of the IDRiD sample: an image and its masks, named by suffix."""
    return _DATA / "idrid"


def sample_image_path() -> Path:
    """Return the path of a photograph with lesions of all four classes (4288×2848 px)."""
    return sample_folder() / "IDRiD_13.jpg"


def normal_image_path() -> Path:
    """Return the path of a photograph of a healthy retina (1411×1411 px)."""
    return _DATA / "normal" / "retina.jpg"
