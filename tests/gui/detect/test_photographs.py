"""Several photographs open at once: what is seen, and what the panel tells, is of one alone."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_fundus.gui import add_detections
from napari_fundus.gui.browser import BrowserWidget
from napari_fundus.gui.controls.photographs import layers_of, photograph_of, show_photograph
from napari_fundus.gui.detect import DetectWidget
from napari_fundus.gui.layers.build import add_layers, detection_layers, image_layer, truth_layers
from napari_fundus.image import FundusImage
from napari_fundus.results.layer_metadata import layer_metadata

pytestmark = pytest.mark.gui


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def make_widget(viewer, discovery, qtbot):
    widgets = []

    def make():
        widget = DetectWidget(viewer, discovery=discovery)
        qtbot.addWidget(widget)
        widgets.append(widget)
        return widget

    yield make
    for widget in widgets:
        widget.shutdown()


@pytest.fixture
def eyes(viewer, draw):
    """Layers of two photographs, and the experts' masks of each."""
    found = []
    for seed, name in enumerate(("left", "right")):
        retina = draw(seed=seed)
        pixels = retina.pixels if seed else retina.pixels[:, ::-1]
        image = FundusImage.from_array(np.ascontiguousarray(pixels), name=name)
        (photograph,) = add_layers(viewer, [image_layer(image)])
        add_layers(
            viewer, truth_layers({"MA": retina.masks["MA"]}, name=name, identity=image.identity)
        )
        found.append(photograph)
    return found


def detect(widget, wait, layer):
    shown: list = []
    widget.shown.connect(shown.append)
    widget.layer_choice.choose(layer)
    widget.run()
    wait(lambda: shown)
    widget.shown.disconnect(shown.append)
    return shown[0]


def seen(viewer):
    return {x.name.split()[0].rstrip(":") for x in viewer.layers if x.visible}


def test_after_a_run_the_photograph_and_its_results_are_seen_and_no_other(
    viewer, make_widget, wait, eyes
):
    widget = make_widget()
    for photograph in eyes:
        results = detect(widget, wait, photograph)
        assert seen(viewer) == {photograph.name}
        assert photograph.visible
        assert any(x.visible for x in results)
        assert widget.results.headline.text().count(photograph.name) == 1


def test_a_run_that_ends_after_another_photograph_was_chosen_shows_its_own(
    viewer, make_widget, wait, eyes, fake
):
    widget = make_widget()
    shown: list = []
    widget.shown.connect(shown.append)
    widget.layer_choice.choose(eyes[0])
    fake.go.clear()
    widget.run()
    wait(lambda: fake.threads)
    viewer.layers.selection.active = eyes[1]
    fake.go.set()
    wait(lambda: shown)
    assert seen(viewer) == {"left"}
    assert "left" in widget.results.headline.text()


def test_the_switcher_shows_one_photograph_with_what_was_seen_of_it(
    viewer, make_widget, wait, eyes
):
    widget = make_widget()
    left = detect(widget, wait, eyes[0])
    hidden_by_hand = next(x for x in left if layer_metadata(x).kind == "labels")
    hidden_by_hand.visible = False
    before = [x.visible for x in viewer.layers]
    right = detect(widget, wait, eyes[1])
    switcher = widget.switcher
    assert switcher.previous_button.isEnabled()
    assert not switcher.next_button.isEnabled()
    switcher.previous_button.click()
    assert seen(viewer) == {"left"}
    assert [x.visible for x in viewer.layers if x not in right][:2] == before[:2]
    assert not hidden_by_hand.visible
    assert "left" in widget.results.headline.text()
    switcher.next_button.click()
    assert seen(viewer) == {"right"}
    assert "right" in widget.results.headline.text()
    switcher.choice.choose(eyes[0])
    switcher.choice.native.activated.emit(switcher.choice.native.currentIndex())
    assert seen(viewer) == {"left"}


def test_steps_are_offered_where_there_are_several_photographs(viewer, make_widget, eyes):
    widget = make_widget()
    viewer.layers.remove(eyes[1])
    assert widget.switcher.next_button.isHidden()
    assert widget.switcher.previous_button.isHidden()


def test_layers_know_their_photograph_by_source_or_content(viewer, eyes):
    own = viewer.add_points([(3, 3)])
    for number, photograph in enumerate(eyes):
        truth = viewer.layers[2 * number + 1]
        assert photograph_of(viewer, truth) is photograph
        assert layers_of(viewer, photograph) == [photograph, truth]
    assert photograph_of(viewer, own) is None
    show_photograph(viewer, eyes[0])
    assert own.visible


def test_an_older_result_that_is_selected_brings_its_sliders_back(viewer, make_widget, wait, eyes):
    widget = make_widget()
    older = detect(widget, wait, eyes[0])
    live = widget.results.live
    live.set_threshold("EX", 0.75)
    wait(lambda: not widget.results.busy)
    detect(widget, wait, eyes[1])
    assert widget.results.live is not live
    viewer.layers.selection.active = older[0]
    assert widget.results.live is live
    wait(lambda: not widget.results.busy)
    assert widget.results.rows["EX"].spin.value() == 0.75
    live.set_threshold("EX", 0.6)
    wait(lambda: not widget.results.busy)
    labels = next(x for x in older if layer_metadata(x).kind == "labels" and x.name.endswith("EX"))
    expected = live.original.threshold({"EX": 0.6}).labels["EX"] > 0
    np.testing.assert_array_equal(labels.data > 0, expected)


def test_a_result_comes_back_when_the_dock_is_opened_again(viewer, make_widget, wait, eyes):
    first = make_widget()
    layers = detect(first, wait, eyes[0])
    live = first.results.live
    first.shutdown()
    viewer.layers.selection.active = layers[-1]
    assert make_widget().results.live is live
    viewer.layers.selection.active = eyes[0]
    assert make_widget().results.live is live
    viewer.layers.selection.active = eyes[1]
    assert make_widget().results is None


def test_a_result_from_a_file_or_a_script_brings_its_sliders(viewer, make_widget, wait, eyes, fake):
    widget = make_widget()
    image = FundusImage.from_array(eyes[0].data, name="left")
    stored = add_layers(viewer, detection_layers(fake.detect(image)))
    viewer.layers.selection.active = stored[-1]
    assert widget.results.live is layer_metadata(stored[-1]).live
    assert photograph_of(viewer, stored[-1]) is eyes[0]
    given = add_detections(viewer, fake.detect(image), eyes[0])
    viewer.layers.selection.active = given[-1]
    assert widget.results.live is layer_metadata(given[-1]).live


def test_no_counts_are_told_of_a_photograph_without_result_or_one_that_is_gone(
    viewer, make_widget, wait, eyes
):
    widget = make_widget()
    layers = detect(widget, wait, eyes[0])
    viewer.layers.selection.active = eyes[1]
    assert widget.results is None
    viewer.layers.selection.active = eyes[0]
    assert widget.results is not None
    viewer.layers.selection.active = layers[-1]
    viewer.layers.remove(eyes[0])
    assert widget.results is None


def test_no_counts_stay_when_the_browser_moves_on(viewer, make_widget, wait, tmp_path, draw):
    from PIL import Image

    from napari_fundus.datasets import open_dataset

    for seed in range(2):
        Image.fromarray(draw(seed=seed).pixels).save(tmp_path / f"eye{seed}.png")
    browser, widget = BrowserWidget(viewer), make_widget()
    shown: list = []
    browser.shown.connect(shown.append)
    browser.show_dataset(open_dataset(tmp_path))
    wait(lambda: len(shown) == 1)
    layers = detect(widget, wait, viewer.layers[0])
    assert "eye0" in widget.results.headline.text()
    browser.step(1)
    wait(lambda: len(shown) == 2)
    assert widget.results is None
    assert seen(viewer) == {"eye1"}
    browser.step(-1)
    wait(lambda: len(shown) == 3)
    assert "eye0" in widget.results.headline.text()
    assert seen(viewer) == {"eye0"}
    assert all(x in viewer.layers for x in layers)
    browser.shutdown()
