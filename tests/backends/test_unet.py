"""The U-Net: network, training on drawn retinas, maps in original pixels, odd weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_fundus.backends.unet import UNet
from napari_fundus.backends.unet import detector as unet_detector
from napari_fundus.backends.unet.network import UNetArchitecture, build_network
from napari_fundus.backends.unet.optic_disc import apply_optic_disc
from napari_fundus.backends.unet.tiled_inference import Logits
from napari_fundus.backends.unet.training import train_unet
from napari_fundus.backends.unet.training_options import SPEC, UNetTrainingOptions
from napari_fundus.checkpoints import read_card, read_checkpoint, save_checkpoint
from napari_fundus.errors import CheckpointError, OptionsError, TrainingError
from napari_fundus.image import FundusImage, read_image
from napari_fundus.training import EpochEnd, Started, TrainingSettings

SMALL = {
    "filters": (8, 12, 16),
    "patch": 32,
    "disc_diameter": 128,
    "batch_size": 8,
    "learning_rate": 0.01,
    "warmup_steps": 0,
    "ema": 0,
    "max_epochs": 2,
    "steps_per_epoch": 80,
    "dry_steps": 1,
    "validation_share": 0.34,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, draw) -> Path:
    """Three drawn retinas with masks of microaneurysms and haemorrhages."""
    root = tmp_path_factory.mktemp("data")
    for seed in range(3):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(root / f"eye{seed}.png")
        for code in ("MA", "HE"):
            Image.fromarray(retina.masks[code]).save(root / f"eye{seed}_{code}.png")
    return root


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory) -> tuple[Path, list]:
    torch.set_num_threads(1)  # small tensors gain nothing by more, and this comes before one_thread
    output = tmp_path_factory.mktemp("run") / "small"
    events = list(train_unet(data=folder, output=output, settings=SMALL, device="cpu"))
    return events[-1].best.path, events


def test_a_training_gives_weights_that_find_what_was_drawn(trained, draw) -> None:
    path, events = trained
    assert isinstance(events[0], Started)
    assert set(events[0].report.train.lesions) == {"MA", "HE"}
    epochs = [event for event in events if isinstance(event, EpochEnd)]
    assert epochs[1].metrics["train_loss"] < epochs[0].metrics["train_loss"]
    assert {"aupr_MA", "aupr_HE"} <= set(epochs[0].metrics)
    card = read_card(path)
    assert card.lesions == ("MA", "HE")
    unseen = draw(160, 200, seed=77)
    found = UNet().detect(
        FundusImage.from_array(unseen.pixels), {"checkpoint": str(path)}, device="cpu"
    )
    for code in ("MA", "HE"):
        assert found.probability[code].shape == (160, 200)
        lesion, disc = unseen.masks[code], unseen.disc
        inside = found.probability[code][lesion].mean()
        assert inside > 3 * found.probability[code][disc & ~lesion].mean()
    assert not found.probability["MA"][~unseen.disc & ~found.field_of_view].any()


def test_exchanged_masks_are_noticed_when_a_run_is_resumed(draw, tmp_path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(2):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(folder / f"eye{seed}.png")
        Image.fromarray(retina.masks["HE"]).save(folder / f"eye{seed}_HE.png")
    settings = {**SMALL, "steps_per_epoch": 1, "max_epochs": 1, "validation_share": 0.5}
    given = {"data": folder, "output": tmp_path / "run", "device": "cpu"}
    list(train_unet(settings=settings, **given))
    settings["max_epochs"] = 2
    mask = folder / "eye0_HE.png"
    before = mask.read_bytes()
    Image.fromarray(np.array(Image.open(mask))[::-1]).save(mask)
    with pytest.raises(TrainingError, match="image or annotations of eye0 are others"):
        list(train_unet(settings=settings, resume=True, **given))
    mask.write_bytes(before)
    *_, last = train_unet(settings=settings, resume=True, **given)
    assert last.steps == 2


def test_images_that_cannot_be_read_are_left_out_and_told(draw, tmp_path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for seed in range(4):
        retina = draw(160, 200, seed=seed)
        Image.fromarray(retina.pixels).save(folder / f"eye{seed}.png")
        Image.fromarray(retina.masks["HE"]).save(folder / f"eye{seed}_HE.png")
    whole = (folder / "eye2.png").read_bytes()
    (folder / "eye2.png").write_bytes(whole[: len(whole) // 2])
    settings = {**SMALL, "steps_per_epoch": 1, "max_epochs": 1, "validation_share": 0.25}
    events = list(train_unet(data=folder, output=tmp_path / "run", settings=settings, device="cpu"))
    report = next(event for event in events if isinstance(event, Started)).report
    (warning,) = [text for text in report.warnings if text.startswith("Left out: eye2")]
    assert "damaged or truncated" in warning
    card = read_card(events[-1].best.path)
    assert len(card.split.train) + len(card.split.validation) == 3
    for path in folder.glob("eye?.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(TrainingError, match="None of . images can be prepared"):
        list(train_unet(data=folder, output=tmp_path / "b", settings=settings, device="cpu"))


def test_tiles_flips_and_scale_are_options(trained, folder) -> None:
    path, _ = trained
    image = read_image(folder / "eye0.png")

    def maps(**options: object) -> np.ndarray:
        given = {"checkpoint": str(path), **options}
        return UNet().detect(image, given, device="cpu").probability["HE"]

    plain = maps()
    np.testing.assert_allclose(maps(tile=128), plain, atol=1e-4)
    for other in (maps(flips="mirror"), maps(flips="all"), maps(scale=1.5)):
        assert np.corrcoef(other.ravel(), plain.ravel())[0, 1] > 0.7
        assert np.abs(other - plain).max() > 1e-3


@pytest.mark.parametrize(("flips", "count"), [("none", 1), ("mirror", 2), ("all", 4)])
def test_flips_are_turned_back_and_averaged(trained, folder, monkeypatch, flips, count) -> None:
    """A network that says what it sees says the same of every flip, and so does their mean."""
    path, _ = trained
    image = read_image(folder / "eye0.png")
    factors: list[float] = []

    def maps(flips: str) -> np.ndarray:
        given = {"checkpoint": str(path), "flips": flips, "optic_disc": False}
        return UNet().detect(image, given, device="cpu").probability["HE"]

    def echo(network, architecture, planes, **_: object) -> Logits:
        return Logits(np.array(planes[:2]), None, "float32")

    def constant(network, architecture, planes, **_: object) -> Logits:
        factors.append(0.1 * (len(factors) + 1))
        odds = np.log(factors[-1] / (1 - factors[-1]))
        return Logits(np.full((2, *planes.shape[1:]), odds, np.float32), None, "float32")

    monkeypatch.setattr(unet_detector, "predict_logits", echo)
    plain = maps("none")
    assert np.ptp(plain) > 0.5
    np.testing.assert_allclose(maps(flips), plain, atol=1e-6)
    monkeypatch.setattr(unet_detector, "predict_logits", constant)
    # The mean of 0.1, 0.2 and so on.
    assert maps(flips)[80, 100] == pytest.approx(0.05 * (count + 1), abs=1e-6)
    assert len(factors) == count


def test_mirrored_pictures_have_mirrored_maps_with_all_flips(trained, folder) -> None:
    path, _ = trained
    image = read_image(folder / "eye0.png")
    given = {"checkpoint": str(path), "flips": "all"}
    mirrored = FundusImage.from_array(np.ascontiguousarray(image.pixels[:, ::-1]))
    found = UNet().detect(image, given, device="cpu").probability["HE"]
    other = UNet().detect(mirrored, given, device="cpu").probability["HE"][:, ::-1]
    # The picture's width is no multiple of what the network needs, so the padding differs.
    assert np.corrcoef(other.ravel(), found.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("filters", "stem"), [((4, 8), 1), ((4, 8, 12), 2), ((4, 8, 12), 4), ((4, 6, 8, 10, 12), 2)]
)
def test_output_has_the_input_size_and_starts_near_nothing(filters, stem) -> None:
    architecture = UNetArchitecture(filters=filters, stem=stem, outputs=3, planes=1)
    network = build_network(architecture).eval()
    side = 2 * architecture.multiple
    with torch.inference_mode():
        maps = network(torch.randn(2, 1, side, side + architecture.multiple)).sigmoid()
    assert maps.shape == (2, 3, side, side + architecture.multiple)
    assert maps.max() < 0.2


@pytest.mark.parametrize("stem", [1, 2])
def test_the_reach_holds(stem) -> None:
    """A changed pixel matters no farther than ``reach``, and nearly as far."""
    architecture = UNetArchitecture(filters=(4, 4, 4), stem=stem, outputs=1, planes=1)
    network = build_network(architecture).eval()
    side = 16 * architecture.multiple
    picture = torch.randn(1, 1, side, side)
    changed = picture.clone()
    changed[..., side // 2, side // 2] += 100
    with torch.inference_mode():
        different = (network(picture) != network(changed))[0, 0]
    rows = torch.nonzero(different.any(dim=1)).ravel()
    farthest = max(side // 2 - int(rows.min()), int(rows.max()) - side // 2)
    assert architecture.reach / 2 < farthest <= architecture.reach


def test_sizes_that_do_not_fit_are_refused_with_the_cure() -> None:
    network = build_network(UNetArchitecture(filters=(4, 8, 8)))
    with pytest.raises(ValueError, match="multiples of 8"):
        network(torch.zeros(1, 3, 20, 24))


def test_an_encoder_by_name_trains_and_detects(folder, tmp_path) -> None:
    settings = {
        "kind": "smp",
        "encoder": "mobilenet_v2",
        "patch": 64,
        "disc_diameter": 128,
        "batch_size": 2,
        "max_epochs": 1,
        "steps_per_epoch": 1,
        "dry_steps": 0,
        "validation_share": 0.34,
    }
    *_, last = train_unet(data=folder, output=tmp_path / "run", settings=settings, device="cpu")
    image = read_image(folder / "eye0.png")
    found = UNet().detect(image, {"checkpoint": str(last.best.path)}, device="cpu")
    assert set(found.probability) == {"MA", "HE"}
    assert read_card(last.best.path).architecture["encoder"] == settings["encoder"]


def test_an_unknown_encoder_is_named() -> None:
    with pytest.raises(OptionsError, match="no encoder 'resnet35'; there are"):
        build_network(UNetArchitecture(kind="smp", encoder="resnet35"))


def test_a_rectangle_of_the_via_annotator_is_a_label(tmp_path, draw) -> None:
    for seed in range(2):
        Image.fromarray(draw(160, 200, seed=seed).pixels).save(tmp_path / f"eye{seed}.png")
    rows = [
        f'eye{n}.png,1,{{}},1,0,"{{""name"":""rect"",""x"":70,""y"":60,""width"":20,'
        f'""height"":12}}","{{""Abnormality"":""exudate""}}"'
        for n in range(2)
    ]
    head = (
        "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
        "region_attributes"
    )
    (tmp_path / "via.csv").write_text("\n".join([head, *rows]) + "\n")
    settings = {**SMALL, "max_epochs": 1, "steps_per_epoch": 2, "validation_share": 0.5}
    *_, last = train_unet(data=tmp_path, output=tmp_path / "run", settings=settings, device="cpu")
    assert read_card(last.best.path).lesions == ("EX",)


def test_fine_tuning_keeps_classes_network_and_scale(trained, folder, tmp_path) -> None:
    path, _ = trained
    shared = {n: v for n, v in SMALL.items() if n in TrainingSettings.model_fields}
    given = {"data": folder, "checkpoint": path, "device": "cpu"}
    settings = {**shared, "patch": 32, "max_epochs": 1, "allow_leakage": True}
    *_, tuned = train_unet(output=tmp_path / "b", settings=settings, **given)
    assert read_card(tuned.best.path).architecture == read_card(path).architecture
    with pytest.raises(OptionsError, match="filters cannot be set"):
        train_unet(output=tmp_path / "c", settings={"filters": (4, 8)}, **given)


def test_data_without_the_classes_are_refused(tmp_path, draw) -> None:
    Image.fromarray(draw(160, 200).pixels).save(tmp_path / "eye.png")
    with pytest.raises(TrainingError, match="none of the classes"):
        train_unet(data=tmp_path, output=tmp_path / "run", device="cpu")


def test_a_patch_that_the_network_cannot_take_is_refused(folder, tmp_path) -> None:
    settings = {**SMALL, "filters": (4,) * 7}
    with pytest.raises(OptionsError, match="multiple of 128"):
        train_unet(data=folder, output=tmp_path / "run", settings=settings)


def test_weights_of_another_network_are_refused(trained, folder, tmp_path) -> None:
    path, _ = trained
    checkpoint = read_checkpoint(path)
    wrong = checkpoint.card.model_copy(
        update={"architecture": {**checkpoint.card.architecture, "filters": [4, 8, 8]}}
    )
    save_checkpoint(tmp_path / "wrong.safetensors", checkpoint.tensors, wrong)
    image = read_image(folder / "eye0.png")
    with pytest.raises(CheckpointError, match="does not hold a U-Net"):
        UNet().detect(image, {"checkpoint": str(tmp_path / "wrong.safetensors")}, device="cpu")


def test_the_defaults_of_the_loop_are_settings() -> None:
    TrainingSettings.model_validate(SPEC.defaults)
    assert not set(TrainingSettings.model_fields) & set(UNetTrainingOptions.model_fields)


def test_the_optic_disc_becomes_one_circle_without_exudates() -> None:
    rows, cols = np.mgrid[:200, :240]
    field = np.hypot(rows - 100, cols - 120) < 98
    disc = np.hypot(rows - 90, cols - 170) < 15
    seen = np.where(disc & (cols != 172), 0.8, 0.02).astype(np.float32)
    seen[40:44, 60:64] = 0.9
    bright = np.full((200, 240), 0.7, np.float32)
    maps = {"MA": bright, "EX": bright, "OD": seen}
    settled = apply_optic_disc(maps, field, exclude=True)
    found = settled["OD"] >= 0.5
    assert (found & disc).sum() / (found | disc).sum() > 0.9
    assert not found[40:44, 60:64].any()
    assert not settled["EX"][disc].any()
    assert settled["EX"][100, 60] == settled["MA"][90, 170] == np.float32(0.7)
    np.testing.assert_array_equal(apply_optic_disc(maps, field, exclude=False)["EX"], bright)


def test_where_no_disc_is_seen_there_is_none() -> None:
    field = np.ones((100, 100), bool)
    maps = {"EX": np.full((100, 100), 0.6, np.float32), "OD": np.full((100, 100), 0.02, np.float32)}
    settled = apply_optic_disc(maps, field, exclude=True)
    assert not settled["OD"].any()
    np.testing.assert_array_equal(settled["EX"], maps["EX"])
    assert apply_optic_disc({"EX": maps["EX"]}, field, exclude=True).keys() == {"EX"}
