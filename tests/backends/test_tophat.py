"""The top-hat detector: what it finds, and what holds whatever it finds."""

from __future__ import annotations

import numpy as np
import pytest

from napari_fundus.image import FundusImage
from napari_fundus.plugins import get_detector


def test_is_installed_and_gives_maps_in_original_pixels(retina) -> None:
    image = FundusImage.from_array(retina.pixels)
    result = get_detector("tophat").detect(image)
    assert result.lesions == ("MA", "HE", "EX")
    for array in result.probability.values():
        assert array.dtype == np.float32
        assert array.shape == image.shape
        assert array.max() > 0


@pytest.mark.parametrize("lesion", ["EX"])
def test_finds_drawn_lesions(retina, lesion) -> None:
    result = get_detector("tophat").detect(FundusImage.from_array(retina.pixels))
    assert (result.labels[lesion][retina.masks[lesion]] > 0).mean() > 0.3
