"""Landmarks are points that can be moved; areas and what is near the fovea follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_fundus.gui import add_detections
from napari_fundus.gui.detect.results import ResultsPanel
from napari_fundus.gui.layers.build import detection_layers, image_layer
from napari_fundus.gui.layers.landmarks import read_landmarks, stored_landmarks
from napari_fundus.image import FundusImage
from napari_fundus.landmarks import Fovea, Landmarks, OpticDisc
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY, layer_metadata
from napari_fundus.results.quantification import format_percent

pytestmark = pytest.mark.gui

SHAPE = (200, 260)


def circle(row, col, diameter):
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return (rows - row) ** 2 + (cols - col) ** 2 <= (diameter / 2) ** 2


def result(*, disc=True, given=None) -> Detections:
    exudates = np.where(circle(100, 80, 10) | circle(30, 200, 10), np.float32(0.8), np.float32(0))
    maps = {"EX": exudates, "HE": np.zeros(SHAPE, np.float32)}
    if disc:
        maps["OD"] = np.where(circle(100, 190, 40), np.float32(0.9), np.float32(0))
    provenance = Provenance(
        detector="unet",
        detector_version="1",
        package_version="0",
        image_name="eye",
        image_shape=SHAPE,
    )
    return Detections(
        provenance,
        maps,
        dict.fromkeys(maps, 0.5),
        field_of_view=np.ones(SHAPE, np.bool_),
        given_landmarks=given or Landmarks(),
    )


@pytest.fixture
def make(qtbot, wait):
    panels = []

    def build(detections):
        viewer = ViewerModel()
        layers = add_detections(viewer, detections)
        panel = ResultsPanel(viewer, layer_metadata(layers[0]).live, layers)
        qtbot.addWidget(panel)
        panels.append(panel)
        wait(lambda: not panel.busy)
        return viewer, panel

    yield build
    for panel in panels:
        panel.shutdown()


def landmark_layers(viewer):
    return [x for x in viewer.layers if x.metadata[METADATA_KEY].kind == "landmarks"]


FOVEA = Fovea(row=100, col=85)


def test_rows_tell_count_and_share_and_the_disc_is_no_lesion(make) -> None:
    _, panel = make(result())
    share = 100 * (circle(100, 80, 10).sum() + circle(30, 200, 10).sum()) / np.prod(SHAPE)
    assert panel.rows["EX"].count.text() == f"<b>2</b> · {share:.2g} % of field"
    assert panel.rows["HE"].count.text() == "<b>0</b> · 0 % of field"
    assert panel.rows["OD"].count.text() == "found"
    assert panel.headline.text().startswith("<b>2 lesions</b>")


def test_the_share_follows_the_slider(make, wait) -> None:
    _, panel = make(result())
    panel.live.set_threshold("EX", 0.9)
    wait(lambda: not panel.busy)
    assert panel.rows["EX"].count.text() == "<b>0</b> · 0 % of field"


def test_the_disc_is_a_ring_of_its_size(make) -> None:
    viewer, panel = make(result())
    (layer,) = landmark_layers(viewer)
    np.testing.assert_allclose(layer.data, [[100, 190]], atol=1)
    np.testing.assert_allclose(layer.size, [40], atol=2)
    assert list(layer.features["structure"]) == ["optic disc"]
    assert "Optic disc detected, 4" in panel.fovea_row.text.text()
    assert "fovea not known" in panel.fovea_row.text.text()


def test_nothing_known_makes_no_layer(make) -> None:
    viewer, panel = make(result(disc=False))
    assert not landmark_layers(viewer)
    assert panel.fovea_row.text.text() == "Optic disc and fovea are not known."


def test_what_is_near_the_fovea_is_told(make) -> None:
    _, panel = make(result(given=Landmarks(fovea=FOVEA)))
    assert "fovea annotated" in panel.fovea_row.text.text()
    text = panel.fovea_row.near.text()
    assert "Within 1 disc diameter of the fovea" in text
    assert f">{format_percent(100 * circle(100, 80, 10).sum() / np.prod(SHAPE))}<" in text


def test_a_click_marks_the_fovea_and_the_photograph_remembers(make, wait) -> None:
    viewer, panel = make(result())
    (layer,) = landmark_layers(viewer)
    photograph = viewer.add_image(np.zeros(SHAPE))
    layer.metadata[METADATA_KEY] = replace(layer_metadata(layer), source=photograph)
    panel.fovea_row.mark_fovea()
    assert (viewer.layers.selection.active, layer.mode) == (layer, "add")
    layer.add([100.0, 85.0])
    wait(lambda: "hard exudate" in panel.fovea_row.near.text())
    assert str(layer.mode) == "pan_zoom"
    assert panel.live.detections().landmarks.fovea == FOVEA
    assert panel.live.detections().landmarks.disc.source == "detected"
    assert stored_landmarks(photograph) == Landmarks(fovea=FOVEA)
    layer.add([30.0, 200.0])
    wait(lambda: panel.live.detections().landmarks.fovea == Fovea(row=30, col=200))
    wait(lambda: not panel.fovea_row.busy)
    assert list(layer.features["structure"]) == ["optic disc", "fovea"]


def test_the_fovea_can_be_marked_where_nothing_is_known(make, wait) -> None:
    viewer, panel = make(result(disc=False))
    panel.fovea_row.mark_fovea()
    (layer,) = landmark_layers(viewer)
    layer.add([100.0, 85.0])
    wait(lambda: "fovea annotated" in panel.fovea_row.text.text())
    assert panel.live.detections().landmarks == Landmarks(fovea=FOVEA)


def test_a_disc_that_is_moved_counts_as_annotated_and_keeps_its_size(make, wait) -> None:
    viewer, panel = make(result())
    (layer,) = landmark_layers(viewer)
    before = panel.live.detections().landmarks.disc
    layer.data = np.array([[90.0, 180.0]])
    wait(lambda: "annotated" in panel.fovea_row.text.text())
    after = panel.live.detections().landmarks.disc
    assert after == OpticDisc(row=90, col=180, diameter=before.diameter)


def test_the_ring_goes_with_the_disc_when_its_threshold_is_raised(make, wait) -> None:
    viewer, panel = make(result())
    panel.live.set_threshold("OD", 0.95)
    wait(lambda: not panel.busy)
    (layer,) = landmark_layers(viewer)
    assert len(layer.data) == 0
    assert panel.rows["OD"].count.text() == "not found"


def test_a_landmark_layer_that_was_removed_stays_away_until_it_is_asked_for(make, wait) -> None:
    viewer, panel = make(result())
    viewer.layers.remove(landmark_layers(viewer)[0])
    panel.live.set_threshold("OD", 0.8)
    wait(lambda: not panel.busy)
    assert not landmark_layers(viewer)
    panel.fovea_row.mark_fovea()
    assert len(landmark_layers(viewer)) == 1


def test_a_layer_shows_what_it_was_given() -> None:
    known = Landmarks(disc=OpticDisc(row=5, col=6), fovea=Fovea(row=7, col=8, source="estimated"))
    viewer = ViewerModel()
    data, meta, _ = detection_layers(result(disc=False, given=known))[-1]
    layer = viewer.add_points(data, **meta)
    assert read_landmarks(layer, known) == known
    assert layer.name == "eye: landmarks"


def test_a_photograph_knows_the_landmarks_of_its_data_set() -> None:
    known = Landmarks(fovea=FOVEA)
    image = FundusImage(np.zeros((*SHAPE, 3), np.uint8), name="eye")
    viewer = ViewerModel()
    data, meta, _ = image_layer(image, known)
    assert stored_landmarks(viewer.add_image(data, **meta)) == known
    assert not stored_landmarks(viewer.add_image(np.zeros(SHAPE)))


def test_edits_by_hand_count_near_the_fovea(make, wait) -> None:
    viewer, panel = make(result(given=Landmarks(fovea=FOVEA)))
    (layer,) = [x for x in viewer.layers if x.name.endswith(": EX")]
    inside = tuple(np.argwhere(circle(100, 80, 10)).T)
    layer.data_setitem(inside, 0)
    panel.live.set_threshold("HE", 0.6)
    wait(lambda: not panel.busy)
    assert "no lesion" in panel.fovea_row.near.text()


def test_landmarks_survive_a_threshold(make) -> None:
    found = result(given=Landmarks(fovea=FOVEA))
    assert replace(found).threshold(0.7).landmarks.fovea == FOVEA
