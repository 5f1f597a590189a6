"""Take the pictures of the documentation from a real napari window: ``make screenshots``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import napari
import numpy as np
from napari.layers import Labels
from PIL import Image
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

from napari_fundus.datasets import open_dataset
from napari_fundus.gui.browser import BrowserWidget
from napari_fundus.gui.compare import CompareWidget
from napari_fundus.gui.detect import DetectWidget
from napari_fundus.gui.evaluate import EvaluateWidget
from napari_fundus.gui.layers.build import add_layers, truth_layers
from napari_fundus.gui.preprocess import PreprocessWidget
from napari_fundus.gui.review.widget import ReviewWidget
from napari_fundus.gui.train import TrainWidget
from napari_fundus.lesions import DR_LESIONS
from napari_fundus.results.layer_metadata import layer_metadata
from napari_fundus.samples import sample_folder, sample_image_path

SIZE = (1440, 900)
DISC_AT = (1424, 2050)
"""Centre (row, column) of the disc in IDRiD's pictures of 4288×2848 px."""
LESIONS_AT = ((1180, 1560), 0.45)
"""Centre (row, column) and zoom of the hero picture: exudates and haemorrhages of the sample."""


def process_events(milliseconds: int = 400) -> None:
    """Let the window draw."""
    QTest.qWait(milliseconds)
    QApplication.processEvents()


def wait_for(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Let the window live until `condition` holds."""
    for _ in range(int(seconds * 20)):
        if condition():
            return
        process_events(50)
    raise TimeoutError("The window did not get there in time.")


def new_window() -> Any:
    """Open a window with the sample."""
    viewer = napari.Viewer(title="napari-fundus", show=True)
    viewer.window.resize(*SIZE)
    process_events()
    return viewer


def open_sample(viewer: Any) -> None:
    """Open the sample's photograph."""
    viewer.open(sample_image_path(), plugin="napari-fundus")
    process_events(800)


def fill_canvas(viewer: Any) -> None:
    """Let the retina fill the width of the canvas."""
    viewer.reset_view()
    process_events()
    camera = viewer.scene.camera
    camera.center, camera.zoom = DISC_AT, camera.zoom * 1.24


def save(viewer: Any, path: Path) -> None:
    """Write the window as it now looks."""
    process_events(800)
    pixels = np.asarray(viewer.window.screenshot(canvas_only=False, flash=False))[..., :3]
    picture = Image.fromarray(pixels)
    picture.save(path, quality=90, subsampling=0, optimize=True)
    print(f"{path}: {picture.width}x{picture.height}, {path.stat().st_size // 1000} kB")


def detect(folder: Path) -> None:
    """Take the pictures of the widget Detect lesions: whole retina, and zoomed on lesions."""
    viewer = new_window()
    open_sample(viewer)
    widget = DetectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Detect lesions", area="right")
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    widget.run()
    wait_for(lambda: bool(shown))
    fill_canvas(viewer)
    save(viewer, folder / "detect.jpg")
    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.contour = 4
            layer.opacity = 0.9
    if widget.results is not None:
        widget.results.show_table()
    process_events()
    camera = viewer.scene.camera
    camera.center, camera.zoom = LESIONS_AT
    save(viewer, folder / "hero.jpg")
    viewer.close()


def instances(folder: Path) -> None:
    """Take the picture of lesions as objects: outlines of each, boxes, and the scores' slider."""
    viewer = new_window()
    open_sample(viewer)
    widget = DetectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Detect lesions", area="right")
    labels = _detect_with(viewer, widget, "mask_rcnn")
    for layer in labels:
        layer.contour = 3
        layer.opacity = 0.9
    _zoom(viewer)
    save(viewer, folder / "instances.jpg")
    viewer.close()


def heatmap(folder: Path) -> None:
    """Take the picture of a classifier's heat map and regions, with the experts' lesions."""
    viewer = new_window()
    open_sample(viewer)
    widget = DetectWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Detect lesions", area="right")
    widget.choose("cam")
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    widget.run()
    wait_for(lambda: bool(shown))
    (sample,) = open_dataset(sample_folder())
    shape = sample.image().shape
    masks = {str(code): sample.mask(code, shape) for code in DR_LESIONS}
    truth = add_layers(viewer, truth_layers(masks, name=sample.image_path.stem))
    for layer in truth:
        layer.contour = 3
    fill_canvas(viewer)
    save(viewer, folder / "cam.jpg")
    viewer.close()


def workbench(folder: Path) -> None:
    """Take the pictures of the loop: detect, review, train, compare, evaluate, the whole set."""
    viewer = new_window()
    truth = _open_with_truth(viewer)
    photograph = viewer.layers[sample_image_path().stem]
    detector = DetectWidget(viewer)
    detector_dock = viewer.window.add_dock_widget(detector, name="Detect lesions", area="right")
    results = [_detect_with(viewer, detector, name) for name in ("tophat", "unet")]
    fill_canvas(viewer)
    save(viewer, folder / "workbench-1-detect.jpg")

    viewer.window.remove_dock_widget(detector_dock)
    review = ReviewWidget(viewer)
    dock = viewer.window.add_dock_widget(review, name="Review lesions", area="right")
    review.set_layers(results[1])
    wait_for(lambda: review.ready and not review.busy)
    # What is trained on afterwards finds microaneurysms: they are what has to be reviewed.
    review.list.only.setCurrentIndex(review.list.only.findData("MA"))
    process_events()
    for verdict in (review.accept, review.accept, review.reject, review.accept, review.reject):
        verdict()
        process_events()
    save(viewer, folder / "workbench-2-review.jpg")
    with TemporaryDirectory() as temporary:
        corrections = Path(temporary) / "corrections"
        saved: list[Any] = []
        review.saved.connect(saved.append)
        review.save(corrections)
        wait_for(lambda: bool(saved))
        viewer.window.remove_dock_widget(dock)
        _train_on(viewer, corrections, Path(temporary), folder / "workbench-3-train.jpg")

    compare = CompareWidget(viewer)
    dock = viewer.window.add_dock_widget(compare, name="Compare two results", area="right")
    told: list[bool] = []
    compare.updated.connect(lambda: told.append(True))
    compare.choose(results[0], results[1])
    wait_for(lambda: bool(told) and not compare.busy)
    _zoom(viewer)
    save(viewer, folder / "workbench-4-compare.jpg")
    viewer.window.remove_dock_widget(dock)

    evaluate = EvaluateWidget(viewer)
    viewer.window.add_dock_widget(evaluate, name="Evaluate against truth", area="right")
    evaluate.updated.connect(lambda: told.append(True))
    told.clear()
    evaluate.choose(results[1], truth)
    wait_for(lambda: bool(told) and not evaluate.busy)
    evaluate.select("EX")
    process_events(1500)
    _zoom(viewer)
    save(viewer, folder / "workbench-5-evaluate.jpg")
    evaluate.view.tabs.setCurrentIndex(2)
    process_events(1500)
    viewer.layers.selection.active = photograph
    save(viewer, folder / "workbench-6-curves.jpg")
    viewer.close()


def _open_with_truth(viewer: Any) -> list[Any]:
    """Open the sample with the experts' masks, which are hidden; return their layers."""
    viewer.open_sample("napari-fundus", "idrid")
    process_events(800)
    truth = [x for x in viewer.layers if layer_metadata(x).kind == "truth"]
    for layer in truth:
        layer.visible = False
    viewer.layers.selection.active = viewer.layers[sample_image_path().stem]
    return truth


def _detect_with(viewer: Any, widget: DetectWidget, name: str) -> list[Any]:
    """Run a detector, and return the labels layers of its result."""
    widget.choose(name)
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    viewer.layers.selection.active = viewer.layers[sample_image_path().stem]
    widget.run()
    wait_for(lambda: bool(shown))
    labels = [x for x in shown[0] if layer_metadata(x).kind == "labels"]
    for layer in viewer.layers:
        if isinstance(layer, Labels):
            layer.visible = layer in labels
    return labels


def _train_on(viewer: Any, corrections: Path, runs: Path, path: Path) -> None:
    """Fine-tune on the corrections for some short epochs, and take the picture at the end."""
    train = TrainWidget(viewer)
    dock = viewer.window.add_dock_widget(train, name="Train or fine-tune", area="right")
    train.choose("voting")
    train.set_data(corrections)
    train.job_form.checkpoint_choice.choose("voting-idrid")
    train.job_form.scheme_choice.set_scheme("interleaved")
    train.job_form.settings.set_settings(
        {
            "max_epochs": 6,
            "steps_per_epoch": 20,
            "batch_size": 32,
            "validation_tiles": 100,
            "dry_steps": 1,
            "allow_leakage": True,
            "report_every": 2,
        }
    )
    # The picture shows what a reader would see, not where a passing folder lay.
    os.environ["HOME"] = str(runs)
    train.job_form.run_folder.parent_folder.set_path("~/fundus-runs")
    train.job_form.run_folder.name.setText("corrected")
    ended: list[Any] = []
    train.finished.connect(ended.append)
    train.start()
    wait_for(lambda: bool(ended), 600)
    train.curves.setVisible(True)
    process_events(500)
    bar = train.findChild(QScrollArea).verticalScrollBar()
    bar.setValue(round(0.55 * bar.maximum()))
    save(viewer, path)
    viewer.window.remove_dock_widget(dock)


def _zoom(viewer: Any) -> None:
    camera = viewer.scene.camera
    camera.center, camera.zoom = LESIONS_AT
    process_events()


def preprocess(folder: Path) -> None:
    """Take the picture of the widget Preprocess."""
    viewer = new_window()
    open_sample(viewer)
    widget = PreprocessWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Preprocess", area="right")
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    widget.run()
    wait_for(lambda: bool(shown))
    fill_canvas(viewer)
    save(viewer, folder / "preprocess.jpg")
    viewer.close()


def browse(folder: Path, data: Path) -> None:
    """Take the picture of the data set browser."""
    viewer = new_window()
    widget = BrowserWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Data set browser", area="right")
    shown: list[Any] = []
    widget.shown.connect(shown.append)
    widget.open(data)
    wait_for(lambda: bool(shown))
    widget.lesion.setCurrentIndex(widget.lesion.findData("SE"))
    widget.go(0)
    wait_for(lambda: len(shown) > 1 or len(viewer.layers) > 3)
    fill_canvas(viewer)
    save(viewer, folder / "browser.jpg")
    viewer.close()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    parser.add_argument("--data", type=Path, default=sample_folder(), help="a data set to browse")
    parser.add_argument(
        "--only",
        choices=["detect", "instances", "explain", "preprocess", "browse", "workbench"],
    )
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    if chosen.only in (None, "preprocess"):
        preprocess(chosen.output)
    if chosen.only in (None, "detect"):
        detect(chosen.output)
    if chosen.only in (None, "instances"):
        instances(chosen.output)
    if chosen.only in (None, "explain"):
        heatmap(chosen.output)
    if chosen.only in (None, "workbench"):
        with TemporaryDirectory() as own:
            # What is trained and reviewed for a picture does not go among the user's own, nor do
            # reviews of the user's own come into a picture.
            os.environ["NAPARI_FUNDUS_MODELS"] = str(Path(own) / "models")
            os.environ["NAPARI_FUNDUS_REVIEWS"] = str(Path(own) / "reviews")
            workbench(chosen.output)
    if chosen.only in (None, "browse"):
        browse(chosen.output, chosen.data)


if __name__ == "__main__":
    main()
