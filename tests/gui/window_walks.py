"""A program that lets layers come and go in a real window; what is wrong there would kill it."""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, QTimer
from qtpy.QtWidgets import QApplication

import napari_fundus as nf
from napari_fundus.gui import add_detections
from napari_fundus.gui.browser import BrowserWidget
from napari_fundus.gui.compare import CompareWidget
from napari_fundus.gui.detect import DetectWidget
from napari_fundus.gui.evaluate import EvaluateWidget
from napari_fundus.gui.layers.build import add_layers, image_layer, truth_layers
from napari_fundus.gui.review.widget import ReviewWidget
from napari_fundus.gui.train.preview_layers import ContactSheet, TrainingLayers
from napari_fundus.results.detections import Detections, Provenance

SHAPE = 96, 128
ROUNDS = 3


def turns(milliseconds: int = 60) -> None:
    """Let the window draw and work for a while."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()
    QApplication.processEvents()


def until(condition: Callable[[], Any]) -> None:
    """Let the window work until a condition holds; the test ends the process if it never does."""
    while not condition():
        turns(20)


def photograph(seed: int) -> nf.FundusImage:
    """Return a small photograph: noise within a disc."""
    pixels = np.random.default_rng(seed).integers(90, 160, (*SHAPE, 3), dtype=np.uint8)
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    pixels[np.hypot(rows - SHAPE[0] / 2, cols - SHAPE[1] / 2) > SHAPE[0] / 2 - 2] = 0
    return nf.FundusImage.from_array(pixels, name=f"eye{seed}")


def guess(image: nf.FundusImage, codes: str, *, seed: int, detector: str = "one") -> Detections:
    """Return a result with boxes that finds some spots of each class."""
    rng = np.random.default_rng(seed)
    maps = {code: np.zeros(SHAPE, np.float32) for code in codes.split()}
    for values in maps.values():
        for row, col in rng.integers(20, 70, (3, 2)):
            values[row : row + 4, col : col + 5] = rng.uniform(0.6, 1)
    ran = Provenance(
        detector=detector,
        detector_version="1",
        package_version="0",
        image_name=image.name,
        image_shape=SHAPE,
        image_sha256=image.sha256,
    )
    return Detections(ran, maps, dict.fromkeys(maps, 0.5), has_boxes=True)


def browser(viewer: napari.Viewer, *folders: str) -> Iterator[str]:
    """Step through thirty samples of each data set."""
    widget = BrowserWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Data set browser")
    shown: list[str] = []
    widget.shown.connect(lambda sample: shown.append(sample.id))
    for folder in folders:
        before = len(shown)
        widget.open(folder)
        until(lambda: len(shown) > before)  # noqa: B023  # called at once
        for number in range(1, 30):
            widget.go(number % widget.filter.rowCount())
            until(lambda: len(shown) > before + number)  # noqa: B023
            assert viewer.layers[0].name == Path(shown[-1]).name, (viewer.layers[0].name, shown[-1])
        yield f"{widget.dataset.name} {len(set(shown[before:]))}"


def rerun(viewer: napari.Viewer) -> Iterator[str]:
    """Show results of one method again and again, each with other classes and boxes."""
    image = photograph(0)
    (layer,) = add_layers(viewer, [image_layer(image)])
    widget = DetectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Detect lesions")
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    for number in range(ROUNDS):
        codes = ("MA HE EX SE", "SE", "MA EX")[number % 3]
        widget.show_detections(guess(image, codes, seed=number), layer)
        until(lambda: len(shown) > number)  # noqa: B023
        turns()
        yield codes


def evaluate(viewer: napari.Viewer) -> Iterator[str]:
    """Evaluate results, in one layer and in one a class, and remove what was evaluated."""
    image = photograph(0)
    (layer,) = add_layers(viewer, [image_layer(image)])
    masks = {code: guess(image, code, seed=9).labels[code] > 0 for code in ("MA", "EX", "HE")}
    add_layers(viewer, truth_layers(masks, name=image.name))
    detect, widget = DetectWidget(viewer), EvaluateWidget(viewer)
    viewer.window.add_dock_widget(detect, name="Detect lesions")
    viewer.window.add_dock_widget(widget, name="Evaluate")
    for number in range(ROUNDS):
        detect.show_detections(guess(image, "MA HE EX", seed=number), layer)
        until(lambda: widget.assessment is not None and not widget.busy)
        for index in (1, 0):
            widget.view.colours.setCurrentIndex(index)
            until(lambda: not widget.busy)
        turns()
        yield str(len(viewer.layers))
    while viewer.layers:
        del viewer.layers[0]
        turns()


def compare(viewer: napari.Viewer) -> Iterator[str]:
    """Show two results side by side and over each other, again and again."""
    image = photograph(0)
    (layer,) = add_layers(viewer, [image_layer(image)])
    for detector, codes in (("one", "MA HE EX"), ("two", "MA EX")):
        add_detections(viewer, guess(image, codes, seed=3, detector=detector), layer)
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Compare")
    until(lambda: widget.agreement is not None and not widget.busy)
    for number in range(ROUNDS):
        widget.side_button.toggle()
        until(lambda: not widget.busy)
        turns(200)
        yield str(number)


def review(viewer: napari.Viewer, folder: str) -> Iterator[str]:
    """Open and close a review, whose mark comes and goes, and remove the result from the bottom."""
    image = photograph(0)
    for number in range(ROUNDS):
        (layer,) = add_layers(viewer, [image_layer(image)])
        found = guess(image, "MA HE EX", seed=number)
        add_detections(viewer, replace(found), layer)
        widget = ReviewWidget(viewer, autosave_folder=Path(folder) / str(number))
        dock = viewer.window.add_dock_widget(widget, name="Review")
        until(lambda: widget.ready)  # noqa: B023
        turns(200)
        viewer.window.remove_dock_widget(dock)
        turns()
        while viewer.layers:
            viewer.layers.remove(viewer.layers[0])
            turns()
        yield str(number)


def training(viewer: napari.Viewer) -> Iterator[str]:
    """Show patches of a training with masks and without, again and again."""
    layers = TrainingLayers(viewer)
    DetectWidget(viewer)
    masks = np.ones((60, 60), np.uint8)
    for number in range(ROUNDS):
        pixels = np.full((60, 60, 3), 100 + number, np.uint8)
        layers.show_patches(ContactSheet(pixels, None if number % 2 else masks, ("MA",)))
        turns(200)
        yield str(len(viewer.layers))


def by_hand(viewer: napari.Viewer) -> Iterator[str]:
    """Remove visible layers in every order, as a person does while a dock is open."""
    viewer.window.add_dock_widget(DetectWidget(viewer), name="Detect lesions")
    for number in range(ROUNDS):
        for seed in range(2):
            viewer.add_image(photograph(seed).pixels, rgb=True)
            viewer.add_labels(np.ones(SHAPE, int))
        turns(200)
        if number % 2:
            del viewer.layers[:3]
            turns(200)
            viewer.reset_view()
        while viewer.layers:
            del viewer.layers[(0, -1, len(viewer.layers) // 2)[number % 3]]
            turns()
        yield str(number)


WALKS: dict[str, Callable[..., Iterator[str]]] = {
    walk.__name__: walk for walk in (browser, rerun, evaluate, compare, review, training, by_hand)
}


if __name__ == "__main__":
    faulthandler.enable()
    window = napari.Viewer(show=True)
    window.window.resize(500, 400)  # what is drawn is small, and so is the time for it
    for step in WALKS[sys.argv[1]](window, *sys.argv[2:]):
        print(step, flush=True)
    window.close()
    print("done", flush=True)
