"""A real window: layers are added one a turn of its event loop, with the results of a script."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

import napari_fundus as nf
from napari_fundus.gui import open_demo
from napari_fundus.gui.browser import BrowserWidget
from napari_fundus.gui.detect import DetectWidget
from napari_fundus.results.layer_metadata import METADATA_KEY

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    return viewer


def open_sample(viewer):
    viewer.open_sample("napari-fundus", "idrid")
    for _ in range(5):
        QApplication.processEvents()
    return viewer.layers["IDRiD_13"]


def test_the_main_job_on_the_real_sample_adds_one_layer_a_turn(viewer, qtbot, layer_turns):
    layer = open_sample(viewer)
    viewer.layers.selection.active = layer
    _, widget = viewer.window.add_plugin_dock_widget("napari-fundus", "Detect lesions")
    assert isinstance(widget, DetectWidget)
    found: list = []
    shown: list = []
    widget.shown.connect(shown.append)
    widget.run()
    turns = layer_turns(viewer)
    widget.run_bar.job.returned.connect(found.append)
    qtbot.waitUntil(lambda: bool(shown), timeout=600_000)
    assert [count for count, _ in turns.added] == [1] * len(shown[0])
    assert turns.removed == 0
    ((live, *_),), (shown,) = found, shown
    result = live.original
    labels = [x for x in shown if x.metadata[METADATA_KEY].kind == "labels"]
    assert {x.metadata[METADATA_KEY].lesion for x in labels} == set(result.lesions)

    # As in the command line and in scripts: the same numbers.
    again = nf.detect(nf.sample_image_path(), widget._detector.name, device="cpu")
    for code in result.lesions:
        np.testing.assert_array_equal(result.probability[code], again.probability[code])
    assert result.provenance.image_sha256 == again.provenance.image_sha256

    qtbot.waitUntil(lambda: not widget.results.busy, timeout=300_000)
    widget.results.show_table()
    assert viewer.layers.selection.active in labels


def test_a_widget_closed_mid_run_cancels_and_leaves_nothing(viewer, qtbot, discovery, fake, retina):
    viewer.add_image(retina.pixels, rgb=True)
    widget = DetectWidget(viewer, discovery=discovery)
    dock = viewer.window.add_dock_widget(widget, name="Detect")
    fake.go.clear()
    widget.run()
    job = widget.run_bar.job
    qtbot.waitUntil(lambda: bool(fake.threads), timeout=300_000)
    viewer.window.remove_dock_widget(dock)
    assert job.monitor.cancelled
    fake.go.set()
    qtbot.waitUntil(lambda: not job._worker.is_running, timeout=300_000)
    assert len(viewer.layers) == 1


def test_a_data_set_s_folder_opens_the_browser(viewer, qtbot):
    viewer.open(nf.samples.sample_folder(), plugin="napari-fundus")
    (browser,) = viewer.window._qt_window.findChildren(BrowserWidget)
    qtbot.waitUntil(lambda: len(viewer.layers) == 6, timeout=300_000)
    assert browser.dataset.samples[0].id == "IDRiD_13"


def test_the_demo_s_window_shows_image_truth_and_result(
    qtbot, retina, make_napari_viewer, monkeypatch
):
    monkeypatch.setattr("napari.Viewer", lambda **_: make_napari_viewer())
    image = nf.FundusImage.from_array(retina.pixels, name="demo")
    found = nf.detect(image, "tophat")
    viewer = open_demo(image, found, retina.masks, run=False)
    qtbot.waitUntil(lambda: len(viewer.layers) == 1 + 3 + 2 * len(found.lesions), timeout=300_000)
    assert viewer.layers[0].name == "demo"
