"""A stranger's function, decorated with magicgui, works in the dock beside our widgets."""

import numpy as np
import pytest
from magicgui import magicgui
from magicgui.widgets import FunctionGui
from napari.layers import Image, Labels
from napari.types import LayerDataTuple

from napari_fundus.gui.detect import DetectWidget
from napari_fundus.gui.layers.placement import image_source

pytestmark = pytest.mark.gui


@pytest.fixture
def functions(qapp) -> list[FunctionGui]:
    """What a stranger's file holds: no word of ours in the signatures."""

    @magicgui(call_button="Find")
    def bright_spots(image: Image, level: float = 0.5, share: bool = True) -> list[LayerDataTuple]:
        green = image_source(image).load().rgb8[..., 1] / 255
        metadata = {"metadata": {"share": float((green > level).mean())}} if share else {}
        place = {"scale": image.scale, "translate": image.translate}
        labels = (
            (green > level).astype(np.uint8),
            {"name": "spots", **place, **metadata},
            "labels",
        )
        return [labels, (green, {"name": "green", **place}, "image")]

    @magicgui
    def inverted(truth: Labels) -> Labels:
        return Labels(1 - truth.data, name="inverted", scale=truth.scale)

    return [bright_spots, inverted]


def test_layers_of_docked_functions_arrive_beside_the_detect_widget(
    functions, make_napari_viewer, qtbot, retina, discovery, wait
) -> None:
    bright_spots, inverted = functions
    viewer = make_napari_viewer(show=True)
    detect = DetectWidget(viewer, discovery=discovery)
    viewer.window.add_dock_widget(detect, name="Detect lesions")
    for function in functions:
        viewer.window.add_dock_widget(function, name=function.name)
    assert bright_spots.image.choices == ()
    eye = viewer.add_image(retina.pixels, rgb=True, name="eye", scale=(2, 2), translate=(5, 7))
    assert bright_spots.image.choices == (eye,)
    assert detect.layer_choice.layer() is eye

    bright_spots.level.value = 0.25
    bright_spots.call_button.native.click()
    wait(lambda: len(viewer.layers) == 3)
    spots = viewer.layers["spots"]
    np.testing.assert_array_equal(spots.data, retina.pixels[..., 1] / 255 > 0.25)
    assert tuple(spots.translate) == (5, 7)
    assert spots.metadata["share"] == spots.data.mean()

    # Ours goes on with the photograph, and so does the stranger's with what ours gives.
    viewer.layers.selection.active = eye
    shown: list = []
    detect.shown.connect(shown.append)
    detect.run()
    qtbot.waitUntil(lambda: bool(shown), timeout=300_000)
    assert spots in viewer.layers
    ours = [layer for layer in shown[0] if isinstance(layer, Labels)]
    assert set(ours) < set(inverted.truth.choices)
    inverted.truth.value = spots
    inverted.call_button.native.click()
    wait(lambda: "inverted" in viewer.layers)
    np.testing.assert_array_equal(viewer.layers["inverted"].data, 1 - spots.data)
