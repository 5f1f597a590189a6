"""The worklist on a viewer's model: the list, the run, photograph by photograph, corrections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from PIL import Image as Picture

from napari_fundus.batch import run_batch
from napari_fundus.batch.worklist import CORRECTED_FOLDER
from napari_fundus.export import read_csv
from napari_fundus.gui.worklist import WorklistWidget
from napari_fundus.results.layer_metadata import METADATA_KEY, LayerMetadata, layer_metadata

pytestmark = pytest.mark.gui
NAMES = ("a", "b", "c", "d")


@pytest.fixture
def folder(tmp_path, retina) -> Path:
    """Four photographs of unlike eyes."""
    folder = tmp_path / "eyes"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Picture.fromarray(np.roll(retina.pixels, 7 * number, axis=1)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def widget(qtbot, discovery) -> WorklistWidget:
    widget = WorklistWidget(ViewerModel(), discovery=discovery)
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def analysed(widget, folder, tmp_path, wait) -> WorklistWidget:
    """The widget with four analysed photographs."""
    widget.form.set_output(tmp_path / "out")
    wait(lambda: not widget._listing.busy)
    widget.add([folder])
    wait(lambda: widget.model.rowCount() == 4)
    widget.run()
    wait(lambda: not widget.run_bar.running)
    return widget


def cells(widget: WorklistWidget, column: str) -> list[str]:
    """Return a column as the table shows it."""
    model = widget.filter
    titles = [
        model.headerData(i, widget.table.horizontalHeader().orientation())
        for i in range(model.columnCount())
    ]
    at = titles.index(column)
    return [model.index(row, at).data() for row in range(model.rowCount())]


def open_row(widget: WorklistWidget, row: int, wait) -> None:
    shown = []
    widget.opened.connect(shown.append)
    widget.open(row)
    wait(lambda: shown)
    widget.opened.disconnect(shown.append)


def test_all_photographs_are_analysed_and_listed(analysed, tmp_path) -> None:
    assert cells(analysed, "Photograph") == [f"{name}.png" for name in NAMES]
    assert cells(analysed, "State") == ["found"] * 4
    tables = [read_csv(tmp_path / "out" / f"{name}.csv") for name in NAMES]
    counts = [f"{(table['lesion'] == 'EX').sum():,}" for table in tables]
    assert cells(analysed, "EX") == counts
    assert "4 of 4 analysed" in analysed.summary.text()


def test_a_bad_file_is_a_row_of_the_list(widget, folder, tmp_path, wait) -> None:
    (folder / "text.png").write_text("no picture")
    widget.form.set_output(tmp_path / "out")
    wait(lambda: not widget._listing.busy)
    widget.add([folder])
    wait(lambda: widget.model.rowCount() == 5)
    widget.run()
    wait(lambda: not widget.run_bar.running)
    assert cells(widget, "State") == ["found"] * 4 + ["failed"]
    assert "text.png" in cells(widget, "Note")[-1]
    assert "1 failed" in widget.summary.text()


def test_a_run_that_was_cancelled_goes_on(widget, folder, tmp_path, fake, wait) -> None:
    widget.form.set_output(tmp_path / "out")
    wait(lambda: not widget._listing.busy)
    widget.add([folder])
    wait(lambda: widget.model.rowCount() == 4)
    fake.go.clear()
    widget.run()
    wait(lambda: cells(widget, "State")[0] == "analysing…" and fake.threads)
    widget.run_bar.cancel()
    fake.go.set()
    wait(lambda: not widget.run_bar.running)
    assert "4 to do" in widget.run_bar.message.text()
    widget.run()
    wait(lambda: not widget.run_bar.running)
    assert cells(widget, "State") == ["found"] * 4


def test_the_command_line_and_the_window_go_on_with_each_other(
    widget, folder, tmp_path, fake, wait
) -> None:
    formats = widget.form.formats()
    run_batch([folder / "a.png", folder / "b.png"], tmp_path / "out", fake, formats=formats)
    widget.form.set_output(tmp_path / "out")
    wait(lambda: widget.model.rowCount() == 2)
    assert cells(widget, "State") == ["found"] * 2
    widget.add([folder / "c.png"])
    wait(lambda: widget.model.rowCount() == 3)
    widget.run()
    wait(lambda: not widget.run_bar.running)
    report = run_batch([folder], tmp_path / "out", fake, formats=formats)
    assert [one.status for one in report.outcomes] == ["skipped"] * 3 + ["written"]


def test_one_photograph_after_the_other_is_seen_with_its_own_result(analysed, wait) -> None:
    viewer = analysed._viewer
    open_row(analysed, 0, wait)
    count = len(viewer.layers)
    for row in (1, 2, 3):
        open_row(analysed, row, wait)
        name = NAMES[row]
        assert len(viewer.layers) == count
        assert all(layer.name.startswith(name) for layer in viewer.layers)
        assert name in analysed.results.headline.text()
        _, found = analysed.worklist.load(row)
        for layer in viewer.layers:
            if isinstance(layer, Labels):
                code = layer_metadata(layer).lesion
                assert np.array_equal(layer.data > 0, found.labels[code] > 0)
    assert sum(isinstance(x, Image) and x.visible for x in viewer.layers) == 1


def test_a_photograph_without_result_shows_none_of_the_one_before(
    analysed, folder, retina, wait
) -> None:
    open_row(analysed, 0, wait)
    Picture.fromarray(retina.pixels[::-1]).save(folder / "e.png")
    analysed.add([folder])
    wait(lambda: analysed.model.rowCount() == 5)
    open_row(analysed, 4, wait)
    assert [layer.name for layer in analysed._viewer.layers] == ["e"]
    assert analysed.results is None


def test_what_another_widget_found_stays_with_its_photograph(analysed, retina, wait) -> None:
    viewer = analysed._viewer
    open_row(analysed, 0, wait)
    live, photograph = analysed.results.live, viewer.layers[0]
    other = LayerMetadata(kind="labels", lesion="HE", source=photograph)
    drawn = np.ones(photograph.data.shape[:2], np.uint8)
    foreign = viewer.add_labels(drawn, name="other", metadata={METADATA_KEY: other})
    open_row(analysed, 1, wait)
    assert foreign in viewer.layers
    seen = [layer for layer in viewer.layers if layer.visible]
    assert seen
    assert all(layer.name.startswith("b") for layer in seen)
    open_row(analysed, 0, wait)
    assert foreign.visible
    assert viewer.layers[0] is photograph
    assert analysed.results.live is live
    assert all(x.name.startswith(("a", "other")) for x in viewer.layers if x.visible)


def test_corrections_are_saved_when_the_next_is_opened(analysed, tmp_path, wait) -> None:
    open_row(analysed, 0, wait)
    analysed.results.live.set_threshold("EX", 0.99)
    count = (analysed.results.live.detections().instances["lesion"] == "EX").sum()
    analysed.finish_review()
    corrected = tmp_path / "out" / CORRECTED_FOLDER / "a.csv"
    wait(lambda: "corrected" in cells(analysed, "Note")[0])
    wait(lambda: analysed._current is not None and analysed._current.name == "b.png")
    assert (read_csv(corrected)["lesion"] == "EX").sum() == count
    assert cells(analysed, "EX")[0] == f"{count:,}"
    assert "reviewed" in cells(analysed, "Note")[0]
    open_row(analysed, 0, wait)
    assert analysed.results.live.settings.thresholds["EX"] == pytest.approx(0.99)


def test_what_was_painted_is_saved_after_a_while_and_when_the_dock_closes(
    analysed, tmp_path, wait
) -> None:
    open_row(analysed, 0, wait)
    labels = next(
        layer
        for layer in analysed._viewer.layers
        if isinstance(layer, Labels) and layer_metadata(layer).lesion == "EX"
    )
    labels.paint((120, 160), 0)
    assert analysed._autosave.isActive()
    analysed._autosave.timeout.emit()
    wait(lambda: "corrected" in cells(analysed, "Note")[0])
    labels.data[:] = 0
    labels.paint((100, 100), 5)
    analysed.shutdown()
    corrected = tmp_path / "out" / CORRECTED_FOLDER / "a.csv"
    wait(lambda: (read_csv(corrected)["lesion"] == "EX").sum() == 1)


def test_a_correction_that_was_undone_is_undone_on_the_disk_too(analysed, tmp_path, wait) -> None:
    open_row(analysed, 0, wait)
    live = analysed.results.live
    before = live.settings.thresholds["EX"]
    live.set_threshold("EX", 0.99)
    analysed._save_correction()
    wait(lambda: "corrected" in cells(analysed, "Note")[0])
    live.set_threshold("EX", before)
    analysed._save_correction()
    found = len(read_csv(tmp_path / "out" / "a.csv"))
    wait(lambda: len(read_csv(tmp_path / "out" / CORRECTED_FOLDER / "a.csv")) == found)


def test_filters_and_the_next_unreviewed(analysed, wait) -> None:
    for row in range(4):
        open_row(analysed, row, wait)
        analysed._mark(reviewed=True)
    analysed._mark(reviewed=False)
    analysed.state.setCurrentText("Not reviewed")
    assert cells(analysed, "Photograph") == ["d.png"]
    analysed.state.setCurrentText("Reviewed")
    analysed.text.setText("B.PNG")
    assert cells(analysed, "Photograph") == ["b.png"]
    assert "1 shown" in analysed.summary.text()
    analysed.state.setCurrentIndex(0)
    analysed.text.setText("")
    analysed.finish_review()
    assert "All photographs with a result are reviewed" in analysed.summary.text()


def test_the_table_sorts_by_numbers(analysed) -> None:
    titles = ["Photograph", "State", "EX", "MA"]
    analysed.table.sortByColumn(titles.index("EX"), analysed.filter.sortOrder().DescendingOrder)
    counts = [int(text.replace(",", "")) for text in cells(analysed, "EX")]
    assert counts == sorted(counts, reverse=True)


def test_all_are_exported(analysed, tmp_path, wait) -> None:
    analysed.export_all(tmp_path / "all")
    wait(lambda: not analysed.run_bar.running)
    assert "4 results were written" in analysed.run_bar.message.text()
    assert {path.name for path in (tmp_path / "all").glob("*.csv")} == {
        "summary.csv",
        *(f"{name}.csv" for name in NAMES),
    }


def test_without_an_output_folder_it_says_what_to_do(widget, folder) -> None:
    widget.add([folder])
    assert "output folder" in widget.summary.text()
    widget.run()
    assert "output folder" in widget.run_bar.message.text()
