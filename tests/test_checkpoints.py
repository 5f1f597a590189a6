"""Checkpoints: what is saved comes back; what was changed, cut, foreign or pickled is refused."""

from __future__ import annotations

import hashlib
import http.server
import json
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from napari_fundus.checkpoints import (
    Download,
    ModelCard,
    Parent,
    Split,
    list_checkpoints,
    load_checkpoint,
    read_card,
    read_checkpoint,
    register_download,
    save_checkpoint,
    zoo,
)
from napari_fundus.checkpoints.file import replace_card
from napari_fundus.errors import CheckpointError, OutputExistsError
from napari_fundus.image_identity import ImageIdentity

CARD = ModelCard(
    name="tiny",
    detector="voting",
    lesions=("MA",),
    architecture={"width": 8},
    recipe={"disc": 1400, "note": 'quotes " and \\ and content_sha256":"'},
    split=Split(train=("a", "b"), validation=("c",)),
    metrics={"dice": 0.5},
    parent=Parent(name="base", sha256="0" * 64),
)


def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    return dict(network.state_dict())


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_checkpoint(path, weights(), CARD)
    return path


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's own folders out of the tests."""
    monkeypatch.setenv("NAPARI_FUNDUS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_FUNDUS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(zoo, "bundled_folder", lambda: tmp_path / "bundled")
    monkeypatch.setattr(zoo, "_DOWNLOADS", {})


def test_what_is_saved_comes_back_bit_for_bit(saved: Path) -> None:
    checkpoint = read_checkpoint(saved)
    assert checkpoint.tensors.keys() == weights().keys()
    for name, tensor in weights().items():
        assert torch.equal(checkpoint.tensors[name], tensor)
        assert checkpoint.tensors[name].dtype == tensor.dtype
    assert checkpoint.sha256 == hashlib.sha256(saved.read_bytes()).hexdigest()
    changed = {"created", "package_version", "content_sha256"}
    assert checkpoint.card.model_dump(exclude=changed) == CARD.model_dump(exclude=changed)
    assert checkpoint.card.created
    assert read_card(saved) == checkpoint.card


def test_the_same_weights_and_card_make_the_same_file(tmp_path: Path) -> None:
    card = CARD.model_copy(update={"created": "2024-01-01T00:00:00+00:00"})
    for name in "ab":
        save_checkpoint(tmp_path / name, weights(), card)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_half_precision_halves_the_large_tensors_and_spares_the_small_ones(tmp_path: Path) -> None:
    tensors = {"conv": torch.randn(64, 64, 3, 3), "var": torch.full((64,), 1e-9)}
    tensors["big"] = torch.full((2, 2), 1e6)
    save_checkpoint(tmp_path / "full", tensors, CARD)
    save_checkpoint(tmp_path / "half", tensors, CARD, storage="float16")
    assert (tmp_path / "half").stat().st_size < 0.52 * (tmp_path / "full").stat().st_size
    back = read_checkpoint(tmp_path / "half")
    assert all(t.dtype == torch.float32 for t in back.tensors.values())
    torch.testing.assert_close(back.tensors["conv"], tensors["conv"], rtol=1e-3, atol=1e-6)
    assert torch.equal(back.tensors["var"], tensors["var"])
    assert torch.equal(back.tensors["big"], tensors["big"])
    assert back.card.storage == "float16"


def test_8_bits_quarter_the_large_tensors_channel_by_channel(tmp_path: Path) -> None:
    """Channels of very different size lose no more than 1/254 of their own largest weight."""
    size = torch.tensor([1e-6, 1.0, 1e5]).reshape(3, 1, 1, 1)
    tensors = {"conv": torch.randn(3, 64, 5, 5) * size, "zero": torch.zeros(2, 2)}
    tensors["bias"] = size.ravel()
    save_checkpoint(tmp_path / "full", tensors, CARD)
    save_checkpoint(tmp_path / "small", tensors, CARD, storage="int8")
    assert (tmp_path / "small").stat().st_size < 0.35 * (tmp_path / "full").stat().st_size
    back = read_checkpoint(tmp_path / "small")
    assert back.tensors.keys() == tensors.keys()
    assert all(t.dtype == torch.float32 for t in back.tensors.values())
    for now, before in zip(back.tensors["conv"], tensors["conv"], strict=True):
        assert (now - before).abs().max() <= before.abs().max() / 254 * 1.001
    assert torch.equal(back.tensors["zero"], tensors["zero"])
    assert torch.equal(back.tensors["bias"], tensors["bias"])
    assert back.card.storage == "int8"


@pytest.mark.parametrize(
    "tensors",
    [
        {"w": torch.ones(2, 3, dtype=torch.int8), "w::scale": torch.ones(3, 1)},
        {"w": torch.ones(2, 3), "w::scale": torch.ones(2, 1)},
        {"w::scale": torch.ones(2, 1)},
    ],
)
def test_scales_that_do_not_fit_are_told(tmp_path: Path, tensors) -> None:
    save_checkpoint(tmp_path / "odd", tensors, CARD)
    with pytest.raises(CheckpointError, match="not a valid safetensors file.*w"):
        read_checkpoint(tmp_path / "odd")


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_a_card_is_replaced_and_the_weights_stay_bit_for_bit(tmp_path: Path, storage) -> None:
    path = tmp_path / "tiny.safetensors"
    torch.manual_seed(1)
    save_checkpoint(path, {"large": torch.randn(64, 64, 3, 3)}, CARD, storage=storage)
    before = read_checkpoint(path)
    stored = load_file(path)
    image = ImageIdentity(name="a", sha256="a" * 64, perceptual="b" * 64)
    card = CARD.model_copy(update={"split": Split(train=("a",), train_images=(image,))})
    replace_card(path, card)
    after = read_checkpoint(path)
    assert after.card.split.train_images == (image,)
    assert after.card.storage == storage
    assert after.sha256 != before.sha256
    assert load_file(path).keys() == stored.keys()
    assert all(torch.equal(value, stored[name]) for name, value in load_file(path).items())


def test_nothing_is_overwritten_unless_asked(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(OutputExistsError):
        save_checkpoint(saved, weights(), CARD)
    assert saved.read_bytes() == before
    save_checkpoint(saved, {}, CARD, overwrite=True)
    assert not read_checkpoint(saved).tensors


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_of_a_diverged_training_are_not_saved(tmp_path: Path, value: float) -> None:
    with pytest.raises(CheckpointError, match="diverged"):
        save_checkpoint(tmp_path / "x", {"w": torch.tensor([1.0, value])}, CARD)
    assert not list(tmp_path.iterdir())


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_changed_byte_is_detected(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    content = bytearray(_content())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "changed.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_truncated_or_extended_file_is_detected(
    tmp_path_factory: pytest.TempPathFactory, data
) -> None:
    content = _content()
    cut = content[: data.draw(st.integers(0, len(content) - 1))]
    path = tmp_path_factory.getbasetemp() / "cut.safetensors"
    path.write_bytes(data.draw(st.sampled_from([cut, content + b"\0"])))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200), header=st.booleans())
def test_arbitrary_bytes_give_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, header: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content if header else content)
    with pytest.raises(CheckpointError, match="safetensors"):
        read_checkpoint(path)


def _content() -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        save_checkpoint(path, weights(), CARD.model_copy(update={"created": "2024"}))
        return path.read_bytes()


class _Trap:
    """Writes a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_a_pickle_is_refused_and_never_run(tmp_path: Path, how: str) -> None:
    trap, path = tmp_path / "sprung", tmp_path / "weights.safetensors"
    if how == "pickle":
        path.write_bytes(pickle.dumps(_Trap(trap)))
    else:
        torch.save(_Trap(trap), path, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(CheckpointError, match="never read here"):
        read_checkpoint(path)
    assert not trap.exists()


def test_a_header_of_gigabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "bomb.safetensors"
    with path.open("wb") as file:
        file.write((1 << 31).to_bytes(8, "little") + b"{")
        file.truncate((1 << 31) + 100)
    with pytest.raises(CheckpointError, match="claims a header of 2048 MB"):
        read_card(path)


def test_deeply_nested_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.safetensors"
    header = b'{"a":' * 200_000
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)


def test_a_foreign_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file(weights(), path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="not one of napari-fundus"):
        read_checkpoint(path)


def test_a_file_of_a_later_version_asks_for_an_update(tmp_path: Path) -> None:
    path = tmp_path / "later.safetensors"
    card = {"format_version": 99, "from": "the future"}
    save_file({}, path, metadata={"napari_fundus": json.dumps(card)})
    with pytest.raises(CheckpointError, match="Update with"):
        read_checkpoint(path)


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path / "missing.safetensors")


def test_weights_of_another_detector_are_refused(saved: Path) -> None:
    assert load_checkpoint(saved, detector="voting").card.name == "tiny"
    with pytest.raises(CheckpointError, match="detector 'voting', not of 'unet'"):
        load_checkpoint(str(saved), detector="unet")


def test_names_are_found_bundled_first_then_in_the_users_folder(tmp_path: Path) -> None:
    for folder, names in (("bundled", ["one"]), ("models", ["one", "two"])):
        for name in names:
            save_checkpoint(
                tmp_path / folder / f"{name}.safetensors",
                weights(),
                CARD.model_copy(update={"notes": folder}),
            )
    assert load_checkpoint("one").card.notes == "bundled"
    assert load_checkpoint("two").card.notes == "models"
    assert [(i.name, i.origin) for i in list_checkpoints()] == [("one", "bundled"), ("two", "user")]
    with pytest.raises(CheckpointError, match="There are: one, two"):
        load_checkpoint("three")


def test_a_broken_file_is_listed_with_its_reason_and_hides_none(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "models" / "good.safetensors", weights(), CARD)
    (tmp_path / "models" / "bad.safetensors").write_bytes(b"nonsense")
    bad, good = list_checkpoints()
    assert (bad.name, bad.card) == ("bad", None)
    assert "truncated or not" in bad.problem
    assert (good.name, good.problem) == ("good", "")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web server of this machine: its address and its folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=folder)
    ) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()
        thread.join()


def test_a_download_is_fetched_once_and_verified(server: tuple[str, Path], saved: Path) -> None:
    url, folder = server
    content = saved.read_bytes()
    (folder / "w").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    register_download(Download("far-1.0", "voting", f"{url}/w", sha256, len(content)))
    assert list_checkpoints()[0].path is None
    assert load_checkpoint("far-1.0", detector="voting").sha256 == sha256
    (folder / "w").unlink()
    assert load_checkpoint("far-1.0").sha256 == sha256
    assert list_checkpoints()[0].card is not None


def test_another_file_than_promised_is_refused_and_deleted(
    server: tuple[str, Path], tmp_path: Path
) -> None:
    url, folder = server
    (folder / "w").write_bytes(b"something else")
    register_download(Download("far", "voting", f"{url}/w", "1" * 64))
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        load_checkpoint("far")
    assert not list((tmp_path / "cache" / "models").glob("*"))


def test_a_download_that_is_not_there_says_what_to_do(server: tuple[str, Path]) -> None:
    register_download(Download("gone", "voting", f"{server[0]}/gone", "1" * 64))
    with pytest.raises(CheckpointError, match="Check the network"):
        load_checkpoint("gone")


def test_malformed_or_contradicting_downloads_are_refused() -> None:
    with pytest.raises(CheckpointError, match="no name"):
        register_download(Download("../up", "voting", "http://x", "1" * 64))
    with pytest.raises(CheckpointError, match="SHA-256"):
        register_download(Download("x", "voting", "http://x", ""))
    register_download(Download("x", "voting", "http://x", "1" * 64))
    register_download(Download("x", "voting", "http://x", "1" * 64))
    with pytest.raises(CheckpointError, match="Another download"):
        register_download(Download("x", "voting", "http://y", "1" * 64))
