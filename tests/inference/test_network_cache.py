"""Networks are built once for a file of weights, and never shared by two detections at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_fundus.batch import run_batch
from napari_fundus.checkpoints import (
    Checkpoint,
    ModelCard,
    load_checkpoint,
    resolve_checkpoint,
    save_checkpoint,
    zoo,
)
from napari_fundus.errors import CheckpointError
from napari_fundus.image import FundusImage
from napari_fundus.inference import network_cache as lending
from napari_fundus.inference.network_cache import acquire_weights, clear_network_cache
from napari_fundus.plugins import get_detector
from napari_fundus.runtime import devices
from napari_fundus.runtime.devices import CPU, Device, release_memory

NETWORKS = {
    "voting": ("voting-idrid", {"stride": 64}),
    "unet": ("unet-idrid", {"flips": "none"}),
    "cam": ("cam-idrid", {"method": "cam"}),
    "multiscale": ("multiscale-idrid", {"stride": 16, "suspect": 0.5}),
    "mask_rcnn": ("mask-rcnn-idrid", {}),
}
"""Weights and options of each detector with a network."""


def small(name: str, folder: Path) -> str:
    """Write the weights that ship with the package for pictures so small that tests are quick."""

    def shrunk(told):
        if not isinstance(told, dict):
            return told
        sizes = {"disc_diameter": 96.0, "side": 64, "sigma": 4.0}
        return {k: sizes[k] if k in sizes else shrunk(v) for k, v in told.items()}

    whole = load_checkpoint(name)
    card = whole.card.model_copy(update={"recipe": shrunk(whole.card.recipe)})
    save_checkpoint(folder / "small.safetensors", whole.tensors, card)
    return str(folder / "small.safetensors")


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    clear_network_cache()
    yield
    clear_network_cache()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the files that networks are made of, as they are read."""
    seen: list[Path] = []
    load = lending.load_checkpoint

    def watched(ref, **how) -> Checkpoint:
        found = load(ref, **how)
        seen.append(found.path)
        return found

    monkeypatch.setattr(lending, "load_checkpoint", watched)
    return seen


def write(path: Path, value: float, *, detector: str = "toy") -> Path:
    card = ModelCard(name=path.stem, detector=detector)
    save_checkpoint(path, {"w": torch.full((3,), value)}, card, overwrite=True)
    return path


def network_of(path: Path, *, device: Device = CPU) -> torch.Tensor:
    """Return what stands for a network, as a detection gets it lent."""
    with acquire_weights(path, detector="toy", device=device) as weights:
        return weights.made("network", lambda whole: whole.tensors["w"].clone())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_second_image_builds_no_network_and_gets_the_same_numbers(
    name, retina, read, tmp_path: Path
) -> None:
    detector = get_detector(name)
    image = FundusImage.from_array(retina.pixels, field_of_view=retina.disc)
    other = FundusImage.from_array(retina.pixels[:, ::-1], field_of_view=retina.disc[:, ::-1])
    weights, more = NETWORKS[name]
    options = {"checkpoint": small(weights, tmp_path), **more}
    first = detector.detect(image, options, device="cpu")
    assert len(read) == 1
    detector.detect(other, {**options, "threshold": 0.9}, device="cpu")
    again = detector.detect(image, options, device="cpu")
    assert len(read) == 1
    for code, values in first.probability.items():
        np.testing.assert_array_equal(again.probability[code], values)
    assert again.image_score == first.image_score


def test_a_method_that_hooks_into_the_network_leaves_it_as_it_was(retina, read, tmp_path) -> None:
    weights = {"checkpoint": small("cam-idrid", tmp_path)}
    image = FundusImage.from_array(retina.pixels, field_of_view=retina.disc)
    cam = get_detector("cam")
    plain = cam.detect(image, {**weights, "method": "cam"}, device="cpu")
    cam.detect(image, {**weights, "method": "gradcam"}, device="cpu")
    again = cam.detect(image, {**weights, "method": "cam"}, device="cpu")
    assert len(read) == 1
    np.testing.assert_array_equal(again.heatmap["DR"], plain.heatmap["DR"])
    (kept,) = lending._kept
    network = kept.made("network", lambda _: None)
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._backward_hooks for m in network.modules())


def test_a_batch_builds_the_network_once(draw, tmp_path: Path, read) -> None:
    from PIL import Image

    for number in range(4):
        Image.fromarray(draw(seed=number).pixels).save(tmp_path / f"eye{number}.png")
    options = {"checkpoint": small("voting-idrid", tmp_path)}
    report = run_batch(
        [tmp_path], tmp_path / "out", "voting", options=options, device="cpu", formats=["csv"]
    )
    assert len(report.written) == 4
    assert len(read) == 1


def test_a_file_that_was_changed_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 1)
    assert float(network_of(path)[0]) == 1
    write(path, 2)
    assert float(network_of(path)[0]) == 2
    assert len(lending._kept) == 1, "the older network is given up"


def test_a_file_that_was_only_touched_gives_the_same_network(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 1)
    first = network_of(path)
    os.utime(path, ns=(1, 1))
    assert network_of(path) is first


def test_two_detections_at_once_have_a_network_each(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 1)
    both = threading.Barrier(2, timeout=300)
    seen: list[torch.Tensor] = []

    def detection() -> None:
        with acquire_weights(path, detector="toy", device=CPU) as weights:
            seen.append(weights.made("network", lambda whole: whole.tensors["w"].clone()))
            both.wait()

    threads = [threading.Thread(target=detection) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen[0] is not seen[1]
    assert len(lending._kept) == 1


def test_devices_and_files_are_told_apart_and_the_oldest_is_given_up(tmp_path: Path) -> None:
    gpu = Device("cuda:0", "a card")
    a, b = (write(tmp_path / f"{name}.safetensors", 1) for name in "ab")
    first = network_of(a)
    assert network_of(a, device=gpu) is not first
    assert network_of(a) is first
    network_of(b)
    assert len(lending._kept) == 2
    assert network_of(a) is first, "the one on the card was used longest ago"


def test_what_a_failed_detection_used_is_given_up(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 1)

    def fails(_: Checkpoint) -> None:
        raise ZeroDivisionError

    with (
        pytest.raises(ZeroDivisionError),
        acquire_weights(path, detector="toy", device=CPU) as weights,
    ):
        weights.made("network", fails)
    assert not lending._kept


def test_a_gpu_s_memory_that_is_asked_back_takes_what_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(devices, "_lost", set())
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    path = write(tmp_path / "a.safetensors", 1)
    network_of(path)
    release_memory(CPU)
    assert len(lending._kept) == 1
    release_memory("cuda:0")
    assert not lending._kept


def test_a_part_asked_for_later_is_of_the_same_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 1)
    network_of(path)
    with acquire_weights(path, detector="toy", device=CPU) as weights:
        assert not weights.checkpoint.tensors, "the networks alone are kept"
        assert weights.made("other", lambda whole: float(whole.tensors["w"][0])) == 1
    with acquire_weights(path, detector="toy", device=CPU) as weights:
        write(path, 2)
        with pytest.raises(CheckpointError, match="exchanged while it was in use"):
            weights.made("third", lambda whole: whole)


def test_another_detector_s_weights_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", 1)
    network_of(path)
    with (
        pytest.raises(CheckpointError, match="of the detector 'toy'"),
        acquire_weights(path, detector="voting", device=CPU),
    ):
        pass


def test_a_settled_file_is_hashed_once_and_a_fresh_one_always(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "a.safetensors", 1)
    reads: list[Path] = []
    load = zoo.load_checkpoint

    def watched(ref, **how) -> Checkpoint:
        reads.append(ref)
        return load(ref, **how)

    monkeypatch.setattr(zoo, "load_checkpoint", watched)
    told = [resolve_checkpoint(path, detector="toy") for _ in range(2)]
    assert len(reads) == 2, "it might change within the tick of the file system's clock"
    monkeypatch.setattr(zoo, "_MTIME_GUARD_SECONDS", -1e9)
    told += [resolve_checkpoint(path, detector="toy") for _ in range(3)]
    assert len(reads) == 3
    assert len(set(told)) == 1
    write(path, 2)
    assert resolve_checkpoint(path).sha256 != told[0].sha256
