"""What counts as drawn in a mask file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from napari_fundus.datasets.masks import image_shape, read_grey, read_mask
from napari_fundus.errors import DatasetError, ImageReadError, NotAnImageError


@pytest.fixture
def drawn() -> npt.NDArray[np.bool_]:
    mask = np.zeros((64, 96), np.bool_)
    mask[10:20, 30:50] = True
    return mask


def test_palette_of_a_tiff_is_not_expanded(tmp_path: Path, drawn: npt.NDArray[np.bool_]) -> None:
    """A palette that shows index 0 in white and 1 in black changes nothing."""
    colormap = np.full((3, 256), 65535, np.uint16)
    colormap[:, 1] = 0
    path = tmp_path / "IDRiD_01_MA.tif"
    tifffile.imwrite(path, drawn.astype(np.uint8), photometric="palette", colormap=colormap)

    np.testing.assert_array_equal(read_mask(path), drawn)


def test_alpha_of_the_rgba_mask_of_idrid_81_is_not_drawn(
    tmp_path: Path, drawn: npt.NDArray[np.bool_]
) -> None:
    rgba = np.zeros((*drawn.shape, 4), np.uint8)
    rgba[drawn, 0] = 255
    rgba[..., 3] = 255
    path = tmp_path / "IDRiD_81_EX.tif"
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["unassalpha"])

    np.testing.assert_array_equal(read_mask(path), drawn)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16"])
def test_every_kind_of_png_gives_the_same_mask(
    tmp_path: Path, drawn: npt.NDArray[np.bool_], mode: str
) -> None:
    if mode == "I;16":
        image = Image.fromarray(drawn.astype(np.uint16) * 40000)
    elif mode == "P":
        image = Image.fromarray(drawn.astype(np.uint8), "P")
        image.putpalette([255, 255, 255, 0, 0, 0])
    else:
        image = Image.fromarray(drawn.astype(np.uint8) * 255).convert(mode)
    path = tmp_path / "mask.png"
    image.save(path)

    mask = read_mask(path)

    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, drawn)


def test_noise_of_a_jpeg_mask_is_not_drawn(tmp_path: Path, drawn: npt.NDArray[np.bool_]) -> None:
    path = tmp_path / "mask.jpg"
    Image.fromarray(drawn.astype(np.uint8) * 255).save(path, quality=30)
    assert (np.asarray(Image.open(path)) > 0).sum() > drawn.sum()

    assert np.logical_xor(read_mask(path), drawn).mean() < 0.01


def test_white_is_zero_tiff_is_read_as_shown(tmp_path: Path, drawn: npt.NDArray[np.bool_]) -> None:
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, np.where(drawn, 0, 255).astype(np.uint8), photometric="miniswhite")

    np.testing.assert_array_equal(read_mask(path), drawn)


def test_grey_values_of_a_palette_are_those_it_shows(tmp_path: Path) -> None:
    """Maps of agreement need the grey value, not its index."""
    image = Image.fromarray(np.full((64, 64), 1, np.uint8), "P")
    image.putpalette([0, 0, 0, 189, 189, 189])
    image.save(tmp_path / "map.png")

    assert set(np.unique(read_grey(tmp_path / "map.png"))) == {189}


def test_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = tmp_path / "small_MA.png"
    Image.new("L", (96, 64)).save(path)

    with pytest.raises(DatasetError, match=r"small_MA\.png has 96x64 px, its image 192x128"):
        read_mask(path, (128, 192))


def test_missing_mask_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.png is missing"):
        read_mask(tmp_path / "gone.png")


@pytest.mark.parametrize("name", ["mask.png", "mask.tif"])
def test_truncated_mask_is_a_typed_error(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96), dtype=np.uint8)
    path = tmp_path / name
    image = Image.fromarray(noise, "P")
    image.putpalette(list(range(256)) * 3)
    image.save(path)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(ImageReadError):
        read_mask(path)


def test_text_is_not_a_mask(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("nothing")

    with pytest.raises(NotAnImageError):
        read_mask(tmp_path / "mask.png")


def test_shape_is_that_of_the_upright_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (96, 64)).save(tmp_path / "turned.jpg", exif=exif)
    Image.new("RGB", (96, 64)).save(tmp_path / "plain.jpg")

    assert image_shape(tmp_path / "turned.jpg") == (96, 64)
    assert image_shape(tmp_path / "plain.jpg") == (64, 96)
