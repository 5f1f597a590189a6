"""What one types in a console: detect, evaluate, compare, train; and how results print."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import napari_fundus as nf
from napari_fundus.datasets import open_dataset
from napari_fundus.errors import OptionsError, OtherPhotographError, TrainingError
from napari_fundus.evaluation import assess
from napari_fundus.lesions import describe
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.layer_metadata import METADATA_KEY
from napari_fundus.results.live import LiveResult
from napari_fundus.training.loop.events import Best, Finished, Step


@pytest.fixture
def result(retina) -> Detections:
    return nf.detect(retina.pixels, "tophat", working_diameter=300)


class Layer:
    """What a napari layer is to the headless library: data and metadata."""

    def __init__(self, data, **known):
        self.data, self.metadata = data, {METADATA_KEY: known}


def test_a_truth_is_masks_by_class_or_layers_that_show_them(result, retina):
    plain = assess(result, retina.masks).metrics
    known = {"kind": "truth", "identity": result.provenance.image}
    layers = [Layer(mask * 7, lesion=code, **known) for code, mask in retina.masks.items()]
    layers.append(Layer(retina.pixels))
    shown = Layer(result.labels["MA"], kind="labels", lesion="MA", live=LiveResult(result))
    np.testing.assert_array_equal(nf.evaluate(result, retina.masks).metrics, plain)
    np.testing.assert_array_equal(nf.evaluate(shown, layers).metrics, plain)
    one = nf.evaluate(result, layers[0]).metrics
    assert one["lesion"].tolist() == ["MA"]


def test_a_truth_may_be_a_sample_of_a_data_set():
    (sample,) = open_dataset(nf.sample_image_path().parent)
    shape = sample.image().shape
    empty = np.zeros(shape, np.float32)
    told = Provenance(detector="none", detector_version="1", package_version="0", image_shape=shape)
    found = Detections(told, {"MA": empty}, {"MA": 0.5})
    with pytest.warns(UserWarning, match="which photograph the result is: .*'IDRiD_13'"):
        assert nf.evaluate(found, sample).row("MA")["missed"] == 125


@pytest.fixture
def other(draw) -> Detections:
    """A result of another photograph of the same size, under the same name."""
    return nf.detect(draw(seed=1).pixels, "tophat", working_diameter=300)


def test_a_truth_of_another_photograph_is_refused(result, other, retina):
    layer = Layer(retina.masks["MA"], kind="truth", lesion="MA", identity=other.provenance.image)
    with pytest.raises(OtherPhotographError, match="result of 'image' .*the truth of 'image' "):
        nf.evaluate(result, layer)
    with pytest.raises(OtherPhotographError, match="A of"):
        nf.compare(result, result, truth=iter([layer]))
    (sample,) = open_dataset(nf.sample_image_path().parent)
    with pytest.raises(OtherPhotographError, match="'image', the truth of 'IDRiD_13'"):
        nf.evaluate(result, sample)
    allowed = nf.evaluate(result, layer, allow_other_photograph=True).metrics
    plain = nf.evaluate(result, {"MA": retina.masks["MA"]}).metrics
    np.testing.assert_array_equal(allowed, plain)


def test_results_of_two_photographs_are_not_compared(result, other):
    with pytest.raises(OtherPhotographError, match="different photographs: A of"):
        nf.compare(result, other)
    assert len(nf.compare(result, other, allow_other_photograph=True).lesions)


def test_where_a_hash_is_missing_it_is_told(result, retina):
    layer = Layer(retina.masks["MA"], kind="truth", lesion="MA")
    with pytest.warns(UserWarning, match="which photograph the truth is: .*'image'"):
        assert nf.evaluate(result, layer).row("MA")["lesions"] == 3


def test_a_reduced_copy_has_the_same_identity_in_its_result(result, retina):
    small = cv2.resize(retina.pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    again = nf.detect(small, "tophat", working_diameter=300)
    assert again.provenance.image_sha256 != result.provenance.image_sha256
    assert again.provenance.image.same_photograph(result.provenance.image) is True


@pytest.mark.parametrize("wrong", [{}, [], 3, {"MA": np.zeros((3, 3), bool)}])
def test_what_is_no_truth_is_refused(result, wrong):
    with pytest.raises(OptionsError, match="truth|mask"):
        nf.evaluate(result, wrong)


def test_what_is_no_result_is_refused(retina):
    with pytest.raises(OptionsError, match="no result"):
        nf.evaluate(retina.pixels, retina.masks)


def test_two_results_are_compared(result, retina):
    told = nf.compare(result, result.threshold(0.99), truth=retina.masks)
    assert (told.lesions["where"] != "only B").all()
    assert set(told.against_truth) == {"A", "B"}


def test_a_result_prints_what_was_found(result):
    counts = result.instances["lesion"].value_counts()
    text, html = repr(result), result._repr_html_()
    for code in result.lesions:
        count = int(counts.get(code, 0))
        assert f"{code:<5} {count:>5} {describe(code).name}" in text
        assert f"<td>{count}</td>" in html
        assert describe(code).colour in html
    assert "320×240 px" in text


class Trainee:
    """Yields what a training yields, and keeps what it was asked."""

    def __init__(self, *events):
        self.events = events

    def train(self, **asked):
        self.asked = asked
        yield from self.events


def test_a_training_is_followed_and_gives_its_best_weights(monkeypatch, tmp_path):
    best = Best(tmp_path / "best.safetensors", 2, {"loss": 0.1})
    trainee = Trainee(Step(0, 1, 0.5, 1e-3), Finished("epochs", best, 3, 9, 1.0, 0.0))
    monkeypatch.setattr("napari_fundus.training.jobs.worker.get_detector", lambda _: trainee)
    seen = []
    given = nf.train(
        "voting", "data", tmp_path, checkpoint=tmp_path / "w", max_epochs=3, follow=seen.append
    )
    assert given is best
    assert [type(event) for event in seen] == [Step, Finished]
    assert trainee.asked["settings"] == {"max_epochs": 3}
    assert trainee.asked["checkpoint"] == str(tmp_path / "w")


def test_a_training_without_end_is_no_success(monkeypatch, tmp_path):
    monkeypatch.setattr("napari_fundus.training.jobs.worker.get_detector", lambda _: Trainee())
    with pytest.raises(TrainingError, match="without weights"):
        nf.train("voting", "data", tmp_path)
