"""The search for settings: ranges, proposals, early ends, going on after a kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_fundus.errors import Cancelled, DatasetError, DivergedError, OptionsError
from napari_fundus.plugins import get_detector
from napari_fundus.runtime.progress import Monitor
from napari_fundus.training.loop.events import Best, EpochEnd, Finished, TrainingEvent
from napari_fundus.training.search import search
from napari_fundus.training.search.ranges import SearchRange

RANGES = {"rate": SearchRange.parse("1e-4:1e-1:log"), "kind": SearchRange.parse("good|bad")}


def pretend(
    *, output: Path, settings: dict[str, Any], monitor: Monitor, resume: bool, epochs: int = 3
) -> Iterator[TrainingEvent]:
    """A training whose best figure is known: 1 at a rate of 0.01 and kind good."""
    assert resume
    output.mkdir(exist_ok=True)
    value = 1 - abs(float(settings["rate"]) - 0.01) - 0.5 * (settings["kind"] == "bad")
    for epoch in range(epochs):
        monitor.step(epoch / epochs)
        yield EpochEnd(epoch, {"auc": value * (epoch + 1) / epochs}, True, "auc")
    (output / "best.safetensors").touch()
    best = Best(output / "best.safetensors", epochs - 1, {"auc": value}, "auc", True)
    yield Finished("epochs", best, epochs, epochs, 1.0, 0.0)


def test_the_search_comes_near_the_best_and_tells_it(tmp_path) -> None:
    result = search(pretend, tmp_path, ranges=RANGES, trials=12, seed=1)
    assert result.metric == "auc"
    assert result.value > 0.95
    assert result.settings["kind"] == "good"
    assert result.checkpoint.exists()
    page = json.loads((tmp_path / "search.json").read_text())
    assert len(page["trials"]) == 12 == result.trials + result.pruned
    best = page["trials"][page["best"] - 1]
    assert best["value"] == pytest.approx(result.value)
    assert best["settings"] == dict(result.settings)
    for name in ("history", "curves", "slices"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_bad_trials_end_early(tmp_path) -> None:
    seen: dict[int, int] = {}

    def tell(number: int, event: TrainingEvent) -> None:
        seen[number] = seen.get(number, 0) + isinstance(event, EpochEnd)

    result = search(pretend, tmp_path, ranges=RANGES, trials=15, seed=1, on_event=tell)
    assert result.pruned > 0
    assert sum(count < 3 for count in seen.values()) == result.pruned


def test_a_search_goes_on_and_makes_no_more_trials_than_asked(tmp_path) -> None:
    search(pretend, tmp_path, ranges=RANGES, trials=3)
    result = search(pretend, tmp_path, ranges=RANGES, trials=5)
    assert result.trials + result.pruned == 5
    assert len(list(tmp_path.glob("trial_*"))) == 5


def test_a_cancelled_trial_goes_on_in_its_folder_with_its_settings(tmp_path) -> None:
    tried: list[tuple[str, float]] = []

    def train(*, output: Path, settings: dict[str, Any], **given: Any) -> Iterator[TrainingEvent]:
        tried.append((output.name, settings["rate"]))
        if len(tried) == 3:
            raise KeyboardInterrupt
        yield from pretend(output=output, settings=settings, **given)

    with pytest.raises(KeyboardInterrupt):
        search(train, tmp_path, ranges=RANGES, trials=4)
    result = search(train, tmp_path, ranges=RANGES, trials=4)
    assert len(tried) == 5
    assert tried[2] == tried[3]
    assert result.trials + result.pruned == 4


def test_a_cancelled_search_says_so(tmp_path) -> None:
    monitor = Monitor()
    monitor.cancel()
    with pytest.raises(Cancelled):
        search(pretend, tmp_path, ranges=RANGES, trials=2, monitor=monitor)


def test_a_training_that_diverges_is_a_bad_trial(tmp_path) -> None:
    def train(*, settings: dict[str, Any], **given: Any) -> Iterator[TrainingEvent]:
        if settings["kind"] == "bad":
            raise DivergedError("The loss is nan.")
        yield from pretend(settings=settings, **given)

    result = search(train, tmp_path, ranges=RANGES, trials=8)
    assert result.settings["kind"] == "good"
    assert result.pruned > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:8", SearchRange(low=1, high=8, integers_only=True)),
        ("0.5:8", SearchRange(low=0.5, high=8)),
        ("1e-3:1:log", SearchRange(low=1e-3, high=1, log=True)),
        ("adam|sgd", SearchRange(choices=("adam", "sgd"))),
        ("[8, 16]|[4, 8]", SearchRange(choices=([8, 16], [4, 8]))),
    ],
)
def test_ranges_are_read(text, expected) -> None:
    assert SearchRange.parse(text) == expected


@pytest.mark.parametrize("text", ["", "3", "8:1", "0:1:log", "1:2:lin", "a:b"])
def test_what_is_no_range_is_refused(text) -> None:
    with pytest.raises(OptionsError, match="range"):
        SearchRange.parse(text)


def test_a_setting_cannot_be_fixed_and_searched(tmp_path) -> None:
    with pytest.raises(OptionsError, match="rate: fixed and searched"):
        search(pretend, tmp_path, ranges=RANGES, trials=2, settings={"rate": 1})
    with pytest.raises(OptionsError, match="at least one"):
        search(pretend, tmp_path, ranges={}, trials=2)


@pytest.mark.parametrize("name", ["cam", "unet", "voting"])
def test_what_a_detector_suggests_are_settings_of_its_training(name, tmp_path) -> None:
    detector = get_detector(name)
    given = {}
    for field, text in detector.search_ranges.items():
        values = SearchRange.parse(text)
        given[field] = values.choices[0] if values.choices else values.low
    with pytest.raises(DatasetError):
        detector.train(data=tmp_path, output=tmp_path / "run", settings=given)
