"""The classifier as a detector: scores, heat maps and regions in original pixels, clear errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_fundus.backends import cam
from napari_fundus.backends.cam import Cam, maps
from napari_fundus.backends.cam.architecture import ClassifierArchitecture
from napari_fundus.backends.cam.classifiers import build_network
from napari_fundus.backends.cam.network import OoNetwork
from napari_fundus.backends.cam.network_input import DEFAULT_RECIPE, resize_recipe
from napari_fundus.backends.cam.targets import log_odds
from napari_fundus.checkpoints import ModelCard, save_checkpoint
from napari_fundus.errors import Cancelled, CheckpointError, OptionsError
from napari_fundus.export import export, load_detections
from napari_fundus.image import FundusImage
from napari_fundus.lesions import DR_EVIDENCE, describe, parse_lesion
from napari_fundus.plugins import find_detectors
from napari_fundus.runtime.progress import Monitor

ARCHITECTURE = ClassifierArchitecture(width=0.01, first_stride=2, poolings=2)
RECIPE = resize_recipe(DEFAULT_RECIPE, 128)
TORCHCAM = ("gradcam", "gradcam++", "layercam", "scorecam")


def bright_finder(**changes) -> OoNetwork:
    """Return a network that was told, not trained, to answer where the picture is bright.

    One channel carries what of the blue plane lies above 3 deviations through all convolutions.
    """
    network = OoNetwork(ARCHITECTURE.model_copy(update=changes))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.zero_()
                middle = module.kernel_size[0] // 2
                module.weight[0, 0, middle, middle] = 1
        first = network.blocks[0][0][0].weight
        first.copy_(first.roll(2, dims=1))
        network.blocks[0][0][1].running_mean.fill_(3)
        network.classifier.weight.zero_()
        network.classifier.weight[:, 0] = 4
        network.classifier.bias.fill_(-1)
    return network.eval()


def write(path: Path, network: torch.nn.Module | None = None, **changes: object) -> str:
    network = network or bright_finder()
    card = {
        "name": "bright-finder",
        "detector": "cam",
        "lesions": (DR_EVIDENCE,),
        "architecture": getattr(network, "architecture", ARCHITECTURE).model_dump(mode="json"),
        "recipe": {"preprocessing": RECIPE.model_dump(mode="json"), "temperature": 2.0},
    }
    save_checkpoint(path, network.state_dict(), ModelCard.model_validate(card | changes))
    return str(path)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return write(tmp_path / "bright.safetensors")


@pytest.fixture
def image(retina) -> FundusImage:
    """A retina with one large bright patch."""
    pixels = retina.pixels.copy()
    pixels[60:90, 200:230] = (255, 250, 150)
    return FundusImage.from_array(pixels, field_of_view=retina.disc, name="eye")


def test_the_hook_offers_the_detector_and_the_plugin_is_found() -> None:
    assert cam.napari_fundus_detectors() == [Cam]
    assert find_detectors().sources["cam"] == "napari-fundus"


def test_a_region_that_speaks_for_dr_is_no_class_of_lesion() -> None:
    assert describe(DR_EVIDENCE).plural == "regions that speak for DR"
    assert parse_lesion("DR") is None


def test_the_map_is_highest_on_what_raised_the_score(image, weights) -> None:
    found = Cam().detect(image, {"checkpoint": weights, "scale": "image"}, device="cpu")
    heat = found.heatmap[DR_EVIDENCE]
    assert heat.shape == image.shape
    assert heat.max() == 1
    row, col = np.unravel_index(heat.argmax(), heat.shape)
    assert 55 <= row <= 95
    assert 195 <= col <= 235
    assert not heat[~found.field_of_view].any()
    best = found.instances.nlargest(1, "score").iloc[0]
    assert best["score"] == 1
    assert best["bbox_row_start"] <= row < best["bbox_row_stop"]
    assert found.has_boxes


def test_regions_are_scaled_by_the_probability_of_the_picture(image, weights) -> None:
    options = {"checkpoint": weights}
    plain = Cam().detect(image, {**options, "scale": "image"}, device="cpu")
    scaled = Cam().detect(image, options, device="cpu")
    probability = scaled.image_score["referable DR"]
    assert 0 < probability < 1
    np.testing.assert_array_equal(plain.heatmap["DR"], scaled.heatmap["DR"])
    assert scaled.probability["DR"].max() == pytest.approx(probability)
    assert len(scaled.threshold(probability - 0.01).instances) == 1
    assert scaled.threshold(probability + 0.01).instances.empty


def test_a_lower_threshold_gives_larger_regions_without_the_network(image, weights) -> None:
    found = Cam().detect(image, {"checkpoint": weights, "scale": "image"}, device="cpu")
    areas = [found.threshold(t).instances["area_px"].max() for t in (0.9, 0.65, 0.3)]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


def test_the_card_s_temperature_divides_the_logits(image, tmp_path) -> None:
    recipe = {"preprocessing": RECIPE.model_dump(mode="json")}
    scores = []
    for temperature in (None, 1.0, 4.0):
        more = {} if temperature is None else {"temperature": temperature}
        path = write(tmp_path / f"{temperature}.safetensors", recipe={**recipe, **more})
        found = Cam().detect(image, {"checkpoint": path}, device="cpu")
        scores.append(found.image_score["referable DR"])
    odds = [np.log(s / (1 - s)) for s in scores]
    assert odds[0] == pytest.approx(odds[1])
    assert odds[1] == pytest.approx(4 * odds[2], rel=1e-4)


def test_two_resolutions_keep_the_score_and_refine_the_map(image, weights) -> None:
    one = Cam().detect(image, {"checkpoint": weights}, device="cpu")
    two = Cam().detect(image, {"checkpoint": weights, "multi_resolution": True}, device="cpu")
    assert dict(one.image_score) == dict(two.image_score)
    high = [(found.heatmap["DR"] > 0.5).sum() for found in (one, two)]
    assert 0 < high[1] < high[0]


@pytest.mark.parametrize("method", TORCHCAM)
def test_methods_of_torchcam_look_at_the_same_place(image, weights, method) -> None:
    found = Cam().detect(image, {"checkpoint": weights, "method": method}, device="cpu")
    plain = Cam().detect(image, {"checkpoint": weights}, device="cpu")
    assert dict(found.image_score) == dict(plain.image_score)
    places = [np.unravel_index(f.heatmap["DR"].argmax(), image.shape) for f in (found, plain)]
    assert np.hypot(*np.subtract(*places)) < 20


def test_gradcam_of_the_last_convolution_is_the_plain_map_of_the_log_odds() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = OoNetwork(ARCHITECTURE.model_copy(update={"target": "grades"})).eval()
        images = torch.rand(1, 3, 64, 64)
        torch.nn.init.normal_(network.classifier.weight)
    odds = maps.LogOddsClassifier(network, "grades")
    logits, plain = maps.activation_map(odds, images, "cam")
    again, graded = maps.activation_map(odds, images, "gradcam", layer="maps")
    torch.testing.assert_close(again, logits)
    cells = plain.shape[1] * plain.shape[2]
    torch.testing.assert_close(graded * cells, plain.clamp(min=0), rtol=1e-3, atol=1e-5)


def test_the_map_of_five_grades_is_the_gradient_of_their_log_odds() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = OoNetwork(ARCHITECTURE.model_copy(update={"target": "grades"})).eval()
        images = torch.rand(1, 3, 64, 64)
    logits, found = maps.activation_map(maps.LogOddsClassifier(network, "grades"), images, "cam")
    with torch.inference_mode():
        _, each = network.forward_with_maps(images)
    share = logits.softmax(dim=1)[0]
    weights = torch.cat([-share[:2] / share[:2].sum(), share[2:] / share[2:].sum()])
    torch.testing.assert_close(found[0], torch.einsum("c,chw->hw", weights, each[0]))
    assert log_odds("grades", logits, 2).shape == (1,)


@pytest.mark.parametrize("name", ["torchvision:mobilenet_v3_small", "timm:mobilenetv3_small_050"])
def test_classifiers_of_other_packages_show_where_they_looked(image, tmp_path, name) -> None:
    architecture = ClassifierArchitecture(network=name)
    network = build_network(architecture)
    path = write(
        tmp_path / "r.safetensors", network, architecture=architecture.model_dump(mode="json")
    )
    found = Cam().detect(image, {"checkpoint": path, "scale": "image"}, device="cpu")
    assert set(found.image_score) == {"referable DR"}
    assert found.heatmap["DR"].shape == image.shape
    with pytest.raises(OptionsError, match="without plain class activation maps"):
        Cam().detect(image, {"checkpoint": path, "method": "cam"}, device="cpu")
    with pytest.raises(OptionsError, match="multi_resolution"):
        Cam().detect(image, {"checkpoint": path, "multi_resolution": True}, device="cpu")


def hooks_of(network: torch.nn.Module) -> int:
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks)
        for m in network.modules()
    )


def in_place(network: torch.nn.Module) -> list[bool]:
    return [m.inplace for m in network.modules() if hasattr(m, "inplace")]


@pytest.mark.parametrize("method", TORCHCAM)
@pytest.mark.parametrize("fail_at", [1, 2, None])
def test_hooks_and_modes_are_put_back_whatever_happens(method, fail_at) -> None:
    """The first pass is torchcam's, to find the layer; the second the one to look at."""
    network = bright_finder()
    before = in_place(network)
    passes = 0

    def fail() -> None:
        nonlocal passes
        passes += 1
        if passes == fail_at:
            raise Cancelled("stop")

    odds = maps.LogOddsClassifier(network, "referable", on_batch=fail)
    images = torch.rand(1, 3, 64, 64)
    if fail_at is None:
        maps.activation_map(odds, images, method)
    else:
        with pytest.raises(Cancelled):
            maps.activation_map(odds, images, method)
    assert hooks_of(odds) == 0
    assert in_place(network) == before
    assert not network.training


def test_a_layer_that_is_not_there_is_named(image, weights) -> None:
    options = {"checkpoint": weights, "method": "gradcam", "layer": "layer9"}
    with pytest.raises(OptionsError, match=r"layer9.*Parts of this network: blocks, maps"):
        Cam().detect(image, options, device="cpu")


def test_a_picture_of_which_nothing_speaks_for_disease_has_no_region(image, tmp_path) -> None:
    network = bright_finder()
    with torch.no_grad():
        network.classifier.weight.zero_()
    path = write(tmp_path / "none.safetensors", network)
    found = Cam().detect(image, {"checkpoint": path, "scale": "image"}, device="cpu")
    assert not found.heatmap["DR"].any()
    assert found.instances.empty


def test_it_can_be_cancelled_while_masks_are_scored(image, weights, monkeypatch) -> None:
    monitor = Monitor()
    check, seen = Monitor.check, 0

    def count(self: Monitor) -> None:
        nonlocal seen
        seen += 1
        if seen > 10:
            monitor.cancel()
        check(self)

    monkeypatch.setattr(Monitor, "check", count)
    with pytest.raises(Cancelled):
        Cam().detect(
            image, {"checkpoint": weights, "method": "scorecam"}, device="cpu", monitor=monitor
        )


def test_without_weights_it_tells_how_to_get_some(image, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("napari_fundus.backends.cam.detector.bundled_folder", lambda: tmp_path)
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match="napari-fundus train cam --data"):
        Cam().detect(image, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": {"depth": 5}}, "does not hold a classifier"),
        ({"architecture": {"width": 1.0}}, "does not hold a classifier"),
        ({"recipe": {}}, "holds no preprocessing"),
        ({"recipe": {"preprocessing": {"crop": "disc"}}}, "squares of one size"),
        (
            {"recipe": {"preprocessing": RECIPE.model_dump(mode="json"), "temperature": 0}},
            "temperature on its card is 0",
        ),
        ({"detector": "unet"}, "not of 'cam'"),
    ],
)
def test_weights_that_do_not_fit_are_refused(image, tmp_path, changes, message) -> None:
    path = write(tmp_path / "wrong.safetensors", **changes)
    with pytest.raises(CheckpointError, match=message):
        Cam().detect(image, {"checkpoint": path}, device="cpu")


def test_torchcam_that_is_not_installed_is_asked_for_by_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torchcam", None)
    network = bright_finder()
    before = in_place(network)
    with pytest.raises(OptionsError, match=r'pip install "napari-fundus\[models\]"'):
        maps.activation_map(
            maps.LogOddsClassifier(network, "referable"), torch.zeros(1, 3, 64, 64), "gradcam"
        )
    assert hooks_of(network) == 0
    assert in_place(network) == before


def test_timm_that_is_not_installed_is_asked_for_by_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(OptionsError, match=r'pip install "napari-fundus\[models\]"'):
        build_network(ClassifierArchitecture(network="timm:resnet18"))


def test_regions_and_scores_are_exported_and_read_back(image, weights, tmp_path) -> None:
    found = Cam().detect(image, {"checkpoint": weights, "scale": "image"}, device="cpu")
    formats = ["csv", "coco", "geojson", "labels", "probability", "overlay"]
    export(found, tmp_path / "out", formats=formats, image=image)
    again = load_detections(tmp_path / "out" / "eye")
    assert dict(again.image_score) == dict(found.image_score)
    np.testing.assert_array_equal(again.heatmap["DR"], found.heatmap["DR"])
    assert again.instances.equals(found.instances)


def test_looking_for_the_detector_does_not_import_torch() -> None:
    code = "import sys, napari_fundus.backends.cam; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
