"""A layer is in the list a turn before it is seen."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_fundus.gui.layers.add_in_steps import LayerAddQueue, add_layer_in_steps


@pytest.fixture
def viewer() -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((4, 4)), name="photograph")
    viewer.layers.selection.active = viewer.layers[0]
    return viewer


@pytest.mark.parametrize("seen", [True, False])
def test_a_layer_comes_hidden_and_is_then_as_it_was_made(viewer, seen) -> None:
    layer = Labels(np.ones((4, 4), np.uint8), visible=seen)
    steps = add_layer_in_steps(viewer, layer)
    assert layer not in viewer.layers
    next(steps)
    assert viewer.layers[-1] is layer
    assert not layer.visible
    assert [None for _ in steps] == [None]
    assert layer.visible == seen


@pytest.mark.parametrize("active", ["photograph", None])
def test_what_is_active_stays_so(viewer, active) -> None:
    wanted = viewer.layers[active] if active else None
    viewer.layers.selection.active = wanted
    for _ in add_layer_in_steps(viewer, Image(np.zeros((4, 4)))):
        assert viewer.layers.selection.active is wanted
    assert viewer.add_points().name == viewer.layers.selection.active.name, "as napari does"


def test_what_is_interrupted_on_its_way_is_seen(viewer) -> None:
    layer = Labels(np.ones((4, 4), np.uint8))
    steps = add_layer_in_steps(viewer, layer)
    next(steps)
    steps.close()
    assert layer.visible


def test_a_tool_taken_meanwhile_stays_in_hand(viewer) -> None:
    layer = Labels(np.ones((4, 4), np.uint8))
    steps = add_layer_in_steps(viewer, layer)
    next(steps)
    layer.visible = True
    layer.mode = "paint"
    assert list(steps) == [None]
    assert layer.mode == "paint"


@pytest.fixture
def arrivals(viewer, qtbot) -> LayerAddQueue:
    return LayerAddQueue(viewer)


def layers(count: int) -> list[Labels]:
    return [Labels(np.full((4, 4), n, np.uint8), name=f"layer {n}") for n in range(count)]


def test_layers_arrive_one_after_the_other_beneath_the_active_one(viewer, qtbot, arrivals) -> None:
    new, counts = layers(3), []
    viewer.layers.events.inserted.connect(lambda event: counts.append(len(viewer.layers)))
    for layer in new:
        arrivals.add(layer)
        assert arrivals.has(layer)
    assert len(viewer.layers) == 1
    said = []
    arrivals.call_when_added(lambda: said.append(len(viewer.layers)))
    assert said == []
    qtbot.waitUntil(lambda: said == [4], timeout=300_000)
    assert counts == [2, 3, 4]
    assert list(viewer.layers)[1:] == new
    assert all(layer.visible for layer in new)
    assert viewer.layers.selection.active is viewer.layers["photograph"]
    arrivals.call_when_added(lambda: said.append("at once"))
    assert said == [4, "at once"]


def test_who_needs_them_now_has_them_now(viewer, arrivals) -> None:
    first, second = layers(2)
    arrivals.add(first)
    arrivals.add(second)
    arrivals.ensure_added(viewer.layers[0])
    assert len(viewer.layers) == 1, "it is there: nothing has to be hurried"
    arrivals.ensure_added(second)
    assert [layer.name for layer in viewer.layers[1:]] == ["layer 0", "layer 1"]
    assert all(layer.visible for layer in viewer.layers)


def test_a_layer_can_be_called_off_before_it_is_there_and_after(viewer, qtbot, arrivals) -> None:
    first, second = layers(2)
    arrivals.add(first)
    arrivals.add(second)
    arrivals.remove(second)
    arrivals.ensure_added(first)
    assert viewer.layers[-1] is first
    arrivals.remove(first)
    assert len(viewer.layers) == 1
    arrivals.add(second)
    arrivals.stop()
    qtbot.wait(80)
    assert len(viewer.layers) == 1
    assert not arrivals.has(second)
