"""The data set browser on a viewer's model: what it lists, shows, replaces and leaves alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from napari.components import ViewerModel
from PIL import Image as Picture
from qtpy.QtCore import QTimer

from napari_fundus.datasets.base import Dataset, Problem, Sample, Truth
from napari_fundus.errors import ImageReadError
from napari_fundus.gui.browser import BrowserWidget, sample_layers
from napari_fundus.gui.controls.sample_list import (
    SampleFilter,
    SampleListModel,
    describe_annotation,
)
from napari_fundus.results.layer_metadata import METADATA_KEY

pytestmark = pytest.mark.gui


class Spot(Truth):
    def mask(self, shape):
        mask = np.zeros(shape, np.bool_)
        mask[10:14, 10:14] = True
        return mask

    def count(self, shape):
        return 1


class Fixture(Dataset):
    name = "fixture"
    title = "A data set of four"
    reference = "nobody"

    @classmethod
    def recognize(cls, folder):
        return folder

    @classmethod
    def open(cls, root):
        raise NotImplementedError


@pytest.fixture
def dataset(tmp_path, retina) -> Fixture:
    samples = []
    for number, (split, grade, truths, annotated) in enumerate(
        (
            ("train", 0, {}, {"MA", "EX"}),
            ("train", 2, {"MA": Spot()}, {"MA", "EX"}),
            ("test", 2, {"EX": Spot()}, {"EX"}),
            (None, None, {}, set()),
        )
    ):
        path = tmp_path / f"eye{number}.png"
        Picture.fromarray(retina.pixels[: 200 + number]).save(path)
        samples.append(
            Sample(
                f"eye{number}",
                path,
                split=split,
                grades={} if grade is None else {"dr": grade},
                truths=truths,
                annotated=frozenset(annotated),
                centres={"OD": (5.0, 6.0)} if number == 1 else {},
            )
        )
    return Fixture(tmp_path, samples, [Problem("eye9.png", "is missing")])


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def shown() -> list[str]:
    """The samples whose layers all came, in order."""
    return []


@pytest.fixture
def browser(viewer, qtbot, wait, dataset, shown):
    browser = BrowserWidget(viewer)
    qtbot.addWidget(browser)
    browser.shown.connect(lambda sample: shown.append(sample.id))
    browser.show_dataset(dataset)
    wait(lambda: shown == ["eye0"])
    yield browser
    browser.shutdown()


def listed(browser) -> list[str]:
    model = browser.filter
    return [
        browser.model.samples[model.mapToSource(model.index(row, 0)).row()].id
        for row in range(model.rowCount())
    ]


def choose(combo, value) -> None:
    combo.setCurrentIndex(combo.findData(value))


def test_the_first_sample_is_shown_with_the_truth_of_every_annotated_class(browser, viewer):
    names = [layer.name for layer in viewer.layers]
    assert names[0] == "eye0"
    assert sorted(names[1:]) == [
        "eye0: EX (experts)",
        "eye0: MA (experts)",
    ]
    assert browser.title.text().endswith("4 samples")
    text = browser.message.text()
    assert "Looked for, none found: hard exudates, microaneurysms." in text
    assert "Not annotated, so unknown: haemorrhages, soft exudates." in text


@pytest.mark.parametrize(
    ("split", "grade", "lesion", "text", "expected"),
    [
        (None, None, None, "", ["eye0", "eye1", "eye2", "eye3"]),
        ("train", None, None, "", ["eye0", "eye1"]),
        (None, 2, None, "", ["eye1", "eye2"]),
        (None, None, "EX", "", ["eye2"]),
        (None, None, None, "YE3", ["eye3"]),
        ("train", 2, "MA", "eye", ["eye1"]),
        ("train", 2, "EX", "", []),
    ],
)
def test_the_filters_leave_what_fulfils_all(browser, split, grade, lesion, text, expected):
    for combo, value in ((browser.split, split), (browser.grade, grade), (browser.lesion, lesion)):
        if value is not None:
            choose(combo, value)
    browser.text.setText(text)
    assert listed(browser) == expected


def test_next_and_previous_go_through_what_is_listed(browser, viewer, wait, shown):
    browser.step(1)
    wait(lambda: shown[-1] == "eye1")
    assert viewer.layers[0].name == "eye1"
    assert browser.position.text() == "2 of 4"
    assert viewer.layers[-1].name == "eye1: centres (experts)"
    browser.step(-1)
    wait(lambda: shown[-1] == "eye0")
    browser.step(-1)
    assert browser.current().id == "eye0"


def test_the_next_sample_replaces_the_last_one_s_layers_and_no_others(browser, viewer, wait, shown):
    own = viewer.add_labels(np.zeros((9, 9), int), name="mine")
    browser.go(2)
    wait(lambda: shown[-1] == "eye2")
    assert [x.name for x in viewer.layers] == ["mine", "eye2", "eye2: EX (experts)"]
    assert own.visible


def work_on(viewer, how):
    """Paint on truth, or let there be a result of the photograph; return the layer."""
    if how == "painted":
        layer = next(x for x in viewer.layers if x.name.endswith("MA (experts)"))
        layer.paint((3, 3), 5)
        return layer
    photograph = viewer.layers[0]
    return viewer.add_labels(np.ones((9, 9), int), metadata={METADATA_KEY: {"source": photograph}})


@pytest.mark.parametrize("how", ["painted", "result"])
def test_a_sample_that_was_worked_on_is_hidden_and_comes_back_whole(
    browser, viewer, wait, shown, how
):
    eye0 = viewer.layers[0]
    work = work_on(viewer, how)
    drawn = work.data.copy()
    before = list(viewer.layers)
    browser.go(1)
    wait(lambda: shown[-1] == "eye1")
    assert all(layer in viewer.layers and not layer.visible for layer in before)
    seen = [x for x in viewer.layers if x.visible]
    assert [layer.name.split(":")[0] for layer in seen] == ["eye1"] * 4
    browser.go(0)
    wait(lambda: shown[-1] == "eye0")
    assert list(viewer.layers) == before
    assert viewer.layers[0] is eye0
    assert all(layer.visible for layer in before)
    np.testing.assert_array_equal(work.data, drawn)


def test_what_was_hidden_by_hand_stays_so_when_its_sample_comes_back(browser, viewer, wait, shown):
    work_on(viewer, "result")
    hidden = viewer.layers[1]
    hidden.visible = False
    browser.go(1)
    wait(lambda: shown[-1] == "eye1")
    browser.go(0)
    wait(lambda: shown[-1] == "eye0")
    assert not hidden.visible
    assert viewer.layers[2].visible


def test_of_quick_clicks_the_last_one_wins(browser, viewer, wait, qtbot, shown):
    for row in (1, 2, 3):
        browser.go(row)
    wait(lambda: shown[-1] == "eye3")
    qtbot.wait(300)
    assert [layer.name for layer in viewer.layers] == ["eye3"]
    assert shown == ["eye0", "eye3"]


def test_a_click_while_layers_still_come_leaves_none_of_them(browser, viewer, wait, shown):
    def click(event) -> None:
        if event.value.name == "eye1":
            assert shown == ["eye0"], "only the first of its layers is there"
            QTimer.singleShot(0, lambda: browser.go(3))

    viewer.layers.events.inserted.connect(click)
    browser.go(1)
    wait(lambda: shown[-1] == "eye3")
    assert [layer.name for layer in viewer.layers] == ["eye3"]


def test_problems_of_the_data_set_are_listed(browser):
    assert not browser.problems.isHidden()
    assert browser.problem_list.item(0).text() == "eye9.png: is missing"


def test_a_sample_that_cannot_be_read_is_said_and_the_list_goes_on(
    browser, viewer, wait, dataset, monkeypatch
):
    told: list[Exception] = []
    monkeypatch.setattr("napari_fundus.gui.browser.show_error", told.append)
    dataset.samples[1].image_path.write_bytes(b"\xff\xd8\xff nonsense")
    browser.go(1)
    wait(lambda: told)
    assert isinstance(told[0], ImageReadError)
    assert "eye1" in browser.message.text()
    browser.go(2)
    wait(lambda: any(layer.name == "eye2" for layer in viewer.layers))


def test_a_folder_that_is_no_data_set_is_refused_with_the_reason(
    browser, wait, tmp_path, monkeypatch
):
    told: list[Exception] = []
    monkeypatch.setattr("napari_fundus.gui.browser.show_error", told.append)
    (tmp_path / "empty").mkdir()
    browser.open(tmp_path / "empty")
    wait(lambda: told)
    assert "holds no image" in browser.message.text()


def test_a_sample_s_layers_can_be_had_without_a_widget(dataset):
    tuples = sample_layers(dataset.samples[1])
    assert [kind for _, _, kind in tuples] == ["image", "labels", "labels", "points"]


def test_eighty_thousand_samples_are_filtered_at_one_look_each(qapp):
    samples = [Sample(f"{n}_left", Path(f"{n}.jpeg"), grades={"dr": n % 5}) for n in range(80_000)]
    looks: list[int] = []

    class CountingFilter(SampleFilter):
        def filterAcceptsRow(self, row, parent):  # noqa: N802
            looks.append(row)
            return super().filterAcceptsRow(row, parent)

    model, chosen = SampleListModel(Fixture(Path(), samples)), CountingFilter()
    chosen.setSourceModel(model)
    assert chosen.rowCount() == len(samples)
    looks.clear()
    chosen.set_filters(grade=3, text="77_")
    expected = [s for s in samples if s.grades["dr"] == 3 and "77_" in s.id]
    assert chosen.rowCount() == len(expected)
    assert sorted(looks) == list(range(len(samples)))


def test_the_tooltip_says_that_absence_of_annotation_is_no_absence(dataset):
    assert "unknown: microaneurysms" in describe_annotation(dataset.samples[3])
    model = SampleListModel(dataset)
    assert model.data(model.index(1, 0)).split() == ["eye1", "grade", "2", "MA"]
