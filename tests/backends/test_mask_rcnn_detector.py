"""The Mask R-CNN detector: from weights and a photograph to objects in the photograph's pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_fundus.backends.mask_rcnn import MaskRCNN, MaskRCNNOptions
from napari_fundus.backends.mask_rcnn.network import MaskRCNNArchitecture, build_network
from napari_fundus.checkpoints import ModelCard, save_checkpoint
from napari_fundus.errors import Cancelled, CheckpointError, OptionsError
from napari_fundus.export import export, load_detections
from napari_fundus.image import FundusImage
from napari_fundus.preprocessing import Recipe
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.progress import Monitor

LESIONS = ("MA", "EX")
TINY = MaskRCNNArchitecture(
    classes=2, filters=(4, 6, 8, 8, 8), channels=8, hidden=16, mask_channels=8, rois_per_image=16
)
RECIPE = Recipe(resize="disc", disc_diameter=160, enhance=True, sigma=6)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def saved(path: Path, architecture: MaskRCNNArchitecture = TINY, recipe: Recipe = RECIPE) -> Path:
    """Write random weights: what they find means nothing, but where it lies must be right."""
    torch.manual_seed(0)
    card = ModelCard(
        name="tiny",
        detector="mask_rcnn",
        lesions=LESIONS,
        architecture=architecture.model_dump(mode="json"),
        recipe={"preprocessing": recipe.model_dump(mode="json")},
    )
    save_checkpoint(path, build_network(architecture).state_dict(), card)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return saved(tmp_path / "tiny.safetensors")


@pytest.fixture
def image(retina: Any) -> FundusImage:
    return FundusImage.from_array(retina.pixels, name="eye")


def detect(image: FundusImage, weights: Path, **options: Any) -> Detections:
    given = {"checkpoint": str(weights), "max_detections": 30, **options}
    return MaskRCNN().detect(image, given, device="cpu")


def test_objects_maps_labels_and_table_tell_of_the_same(image: FundusImage, weights: Path) -> None:
    found = detect(image, weights, keep_from=0.2, threshold=0.3)
    assert found.objects
    assert found.lesions == LESIONS
    assert found.has_boxes
    assert min(x.score for x in found.objects) >= 0.2
    field = found.field_of_view
    assert field is not None
    for one in found.objects:
        assert (field[one.window] | ~one.mask).all()
        assert (found.probability[one.lesion][one.window][one.mask] >= one.score - 1e-6).all()
    scores = {x.score for x in found.objects}
    for row in found.instances.itertuples():
        assert row.score in scores
        assert (found.labels[row.lesion] == row.id).sum() == row.area_px


def test_the_slider_needs_no_network(
    image: FundusImage, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = detect(image, weights, keep_from=0.2, threshold=0.3)
    monkeypatch.setattr(MaskRCNN, "predict", None)
    scores = sorted(x.score for x in found.objects)
    counts = [len(found.threshold(t).instances) for t in (0.0, scores[len(scores) // 2], 1.0)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0


def test_less_sure_objects_than_asked_for_are_not_kept(image: FundusImage, weights: Path) -> None:
    many = sorted(x.score for x in detect(image, weights, keep_from=0).objects)
    middle = many[len(many) // 2]
    few = sorted(x.score for x in detect(image, weights, keep_from=middle).objects)
    assert many[0] < middle <= few[0]
    assert few == [score for score in many if score >= middle]


def test_tiles_see_at_most_so_many_lesions_each(image: FundusImage, weights: Path) -> None:
    assert len(detect(image, weights, keep_from=0, max_detections=3).objects) <= 3


def test_a_tiled_run_covers_the_whole_photograph(retina: Any, tmp_path: Path) -> None:
    weights = saved(tmp_path / "fine.safetensors", recipe=Recipe(resize="none", enhance=True))
    image = FundusImage.from_array(retina.pixels, name="eye")
    told: list[str] = []
    MaskRCNN().detect(
        image,
        {"checkpoint": str(weights), "tile": 128, "overlap": 32},
        device="cpu",
        monitor=Monitor(lambda p: told.append(p.message)),
    )
    tiles = {message for message in told if message.startswith("tile ")}
    assert len(tiles) >= 6


def test_native_size_sees_all_pixels_of_the_photograph(
    image: FundusImage, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[int, int], float]] = []
    original = Recipe.apply

    def apply(self: Recipe, *args: Any) -> Any:
        prepared = original(self, *args)
        seen.append((prepared.pixels.shape[:2], self.sigma))
        return prepared

    monkeypatch.setattr(Recipe, "apply", apply)
    detect(image, weights, working_size="native")
    (small, sigma), (shape, native_sigma) = seen
    assert shape == image.shape != small
    assert native_sigma == pytest.approx(sigma * shape[0] / small[0], rel=0.02)


def test_a_result_that_is_written_and_read_is_the_same(
    image: FundusImage, weights: Path, tmp_path: Path
) -> None:
    found = detect(image, weights, keep_from=0.2, threshold=0.3)
    written = export(found, tmp_path, formats=("csv", "coco", "geojson", "probability"))
    again = load_detections(written["probability"])
    assert again.instances.equals(found.instances)
    assert len(again.objects) == len(found.objects)
    coco = json.loads(written["coco"].read_text())
    assert len(coco["annotations"]) == len(found.instances)


def test_cancelling_stops_within_the_network(image: FundusImage, weights: Path) -> None:
    monitor = Monitor(lambda p: monitor.cancel() if p.message.startswith("tile") else None)
    with pytest.raises(Cancelled):
        MaskRCNN().detect(image, {"checkpoint": str(weights)}, device="cpu", monitor=monitor)


def test_a_recipe_of_other_planes_is_told(image: FundusImage, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"channel": "green"})
    weights = saved(tmp_path / "green.safetensors", recipe=recipe)
    with pytest.raises(CheckpointError, match="takes 3 planes, its recipe gives 1"):
        detect(image, weights)


def test_an_overlap_of_more_than_half_a_tile_is_refused(image: FundusImage, weights: Path) -> None:
    with pytest.raises(OptionsError, match="at most half of the tile"):
        detect(image, weights, tile=128, overlap=65)


def test_the_paper_s_figures_are_the_defaults() -> None:
    options = MaskRCNNOptions()
    assert (options.threshold, options.max_detections, options.tile) == (0.35, 256, 1024)
