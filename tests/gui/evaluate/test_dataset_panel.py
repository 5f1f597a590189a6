"""The whole set in the window: run over a folder, opened from a report, and clicked."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
import pytest
from napari.components import ViewerModel

import napari_fundus as nf
from napari_fundus.errors import DatasetError
from napari_fundus.evaluation import discover_protocols
from napari_fundus.evaluation.protocols import discovery
from napari_fundus.gui import add_detections
from napari_fundus.gui.controls import run_bar
from napari_fundus.gui.evaluate import EvaluateWidget
from napari_fundus.gui.evaluate import dataset_panel as dataset
from napari_fundus.gui.layers.build import add_layers, truth_layers

pytestmark = pytest.mark.gui

EXAMPLE = Path(__file__).parents[3] / "examples" / "napari-fundus-protocol-template" / "src"


@pytest.fixture
def folder(tmp_path, draw):
    """A data set of two small pictures with masks."""
    root = tmp_path / "set"
    root.mkdir()
    for seed in (1, 2):
        retina = draw(seed=seed)
        cv2.imwrite(str(root / f"eye{seed}.png"), retina.pixels[..., ::-1])
        for code, mask in retina.masks.items():
            cv2.imwrite(str(root / f"eye{seed}_{code}.png"), mask.astype(np.uint8) * 255)
    return root


@pytest.fixture
def widget(qtbot, retina, wait, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_FUNDUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset, "_RESAMPLES", 10)
    viewer = ViewerModel()
    add_layers(viewer, truth_layers(retina.masks, name="eye"))
    found = nf.detect(retina.pixels, "tophat", working_diameter=300)
    add_detections(viewer, found)
    widget = EvaluateWidget(viewer)
    qtbot.addWidget(widget)
    wait(lambda: widget.curves and not widget.busy)
    yield widget
    widget.shutdown()


def marked(widget, kind: str) -> tuple[float, float]:
    """Where the operating point is drawn."""
    (x,), (y,) = widget.view.plots[kind].operating_point.getData()
    return x, y


def tab_names(panel) -> list[str]:
    """The plots that the window shows."""
    tabs = panel.plots_window.tabs
    return [tabs.tabText(number) for number in range(tabs.count())]


def test_a_run_over_a_folder_draws_its_curves_and_keeps_its_maps(
    widget, folder, wait, tmp_path, qtbot
) -> None:
    panel = widget.view.dataset_panel
    panel.run()
    assert "data set first" in panel.run_bar.message.text()
    panel.folder.set_path(folder)
    panel.run()
    wait(lambda: widget.set_curves is not None and not panel.busy)
    assert widget.set_curves.images == 2
    assert len(list((tmp_path / "cache" / "maps" / "tophat").glob("*.tif"))) == 2
    widget.select("EX")
    curve = widget.set_curves.curves["tophat"]["pr", "EX"]
    threshold = widget.assessment.thresholds["EX"]
    assert marked(widget, "pr") == pytest.approx(curve.at(threshold))

    place = len(curve.x) // 2
    widget.view.plots["pr"].pick(curve.x[place], curve.y[place])
    wait(lambda: widget.assessment.thresholds["EX"] == curve.thresholds[place] and not widget.busy)
    assert marked(widget, "pr") == pytest.approx((curve.x[place], curve.y[place]))

    panel.save_report(tmp_path / "report")
    # Pictures are drawn, with text: seconds where nothing else runs.
    qtbot.waitUntil(lambda: not panel.busy, timeout=300_000)
    widget.set_curves = None
    panel.open_report(tmp_path / "report")
    wait(lambda: widget.set_curves is not None)
    again = widget.set_curves.curves["tophat"]["pr", "EX"]
    np.testing.assert_array_equal(again.x, curve.x)


def test_a_plugin_has_its_curve_and_its_plot_in_the_window(
    widget, folder, wait, tmp_path, monkeypatch
) -> None:
    monkeypatch.syspath_prepend(EXAMPLE)
    found = discover_protocols([metadata.EntryPoint("counts", "fundus_counts", "napari_fundus")])
    monkeypatch.setattr(discovery, "find_protocols", lambda: found)
    panel = widget.view.dataset_panel
    panel.folder.set_path(folder)
    panel.run()
    wait(lambda: widget.set_curves is not None and not panel.busy)
    widget.select("EX")
    plot = widget.view.plots["count_error"]
    assert not plot.isHidden()
    assert "Number of lesions" in plot.title.text()
    assert plot.plot.getAxis("bottom").labelText == "difference in number, at most"
    line = plot.plot.listDataItems()[-1]
    curve = widget.set_curves.curves["tophat"]["count_error", "EX"]
    np.testing.assert_array_equal(line.getData(), [curve.x, curve.y])
    (low, high), _ = plot.plot.viewRange()
    assert low <= curve.x.min() <= curve.x.max() <= high
    plot.pick(curve.x[0], curve.y[0])
    assert widget.assessment.thresholds["EX"] == widget.view.slider.spin.value()

    panel.show_plots()
    wait(lambda: panel.plots_window is not None)
    tabs, names = panel.plots_window.tabs, tab_names(panel)
    assert names[:2] == ["froc", "precision recall"]
    assert "count error" in names
    assert tabs.widget(names.index("count error")).widget().pixmap().width() > 300
    panel.save_report(tmp_path / "report")
    wait(lambda: not panel.busy)
    panel.open_report(tmp_path / "report")
    wait(lambda: not panel.busy)
    panel.plots_window = None
    panel.show_plots()
    wait(lambda: panel.plots_window is not None)
    assert set(names) < set(tab_names(panel)), "the crops are pictures in its folder, too"
    widget.view.show_dataset_curves(False)
    assert plot.isHidden()
    assert not widget.view.plots["froc"].isHidden()


def test_a_run_can_be_cancelled(widget, folder, wait, monkeypatch) -> None:
    asked = []

    def endless(*_, monitor, **__):
        asked.append(monitor)
        while True:
            monitor.step(0.5, "looking")

    monkeypatch.setattr(dataset, "evaluate_selection", endless)
    panel = widget.view.dataset_panel
    panel.folder.set_path(folder)
    panel.run()
    wait(lambda: bool(asked))
    panel.run_bar.cancel()
    wait(lambda: not panel.busy)
    assert "Cancelled" in panel.run_bar.message.text()
    assert widget.set_curves is None


def test_a_folder_without_a_report_is_told(widget, wait, tmp_path, monkeypatch) -> None:
    told = []
    monkeypatch.setattr(run_bar, "show_error", told.append)
    panel = widget.view.dataset_panel
    panel.open_report(tmp_path)
    wait(lambda: bool(told))
    assert isinstance(told[0], DatasetError)
