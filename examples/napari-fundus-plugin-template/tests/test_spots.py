"""The detector finds a drawn spot, and napari-fundus finds the detector."""

import numpy as np
from fundus_dog import SpotDetector

from napari_fundus import FundusImage
from napari_fundus.plugins import find_detectors


def test_a_dark_spot_is_found_where_it_is():
    rows, cols = np.mgrid[:200, :200]
    pixels = np.zeros((200, 200), np.uint8)
    pixels[np.hypot(rows - 100, cols - 100) < 90] = 150
    pixels[np.hypot(rows - 80, cols - 120) < 5] = 60
    found = SpotDetector().detect(FundusImage.from_array(pixels)).instances
    dark = found[found["lesion"] == "MA"].nlargest(1, "score").iloc[0]
    assert abs(dark["centroid_row"] - 80) < 2
    assert abs(dark["centroid_col"] - 120) < 2


def test_napari_fundus_lists_it():
    assert "dog" in find_detectors().detectors
