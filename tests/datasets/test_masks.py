"""What counts as drawn in a mask file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from napari_fundus.datasets import open_dataset, summarize
from napari_fundus.datasets.masks import image_shape, read_grey, read_mask, read_region
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


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


def coloured(
    drawn: npt.NDArray[np.bool_], lesion: tuple[int, ...], ground: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    return np.where(drawn[..., np.newaxis], lesion, ground).astype(np.uint8)


@pytest.mark.parametrize("ending", ["png", "gif", "bmp", "tif"])
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("lesion", "ground"),
    [(WHITE, BLACK), (BLACK, WHITE), (RED, BLACK), (RED, WHITE), ((1, 1, 1), BLACK)],
)
def test_a_palette_marks_what_stands_out_whatever_its_order_and_colours(
    tmp_path: Path,
    drawn: npt.NDArray[np.bool_],
    lesion: tuple[int, int, int],
    ground: tuple[int, int, int],
    index: int,
    ending: str,
) -> None:
    image = Image.fromarray((drawn == index).astype(np.uint8), "P")
    image.putpalette([*ground, *lesion] if index else [*lesion, *ground])
    image.save(tmp_path / f"mask.{ending}")

    np.testing.assert_array_equal(read_mask(tmp_path / f"mask.{ending}"), drawn)


def test_a_colour_that_stands_twice_in_a_palette_is_one(
    tmp_path: Path, drawn: npt.NDArray[np.bool_]
) -> None:
    indices = np.where(drawn, 1, 2).astype(np.uint8)
    indices[:, :30][~drawn[:, :30]] = 0
    image = Image.fromarray(indices, "P")
    image.putpalette([*BLACK, *WHITE, *BLACK])
    image.save(tmp_path / "mask.png")

    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), drawn)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "webp"])
@pytest.mark.parametrize(
    ("lesion", "ground"), [(BLACK, WHITE), (RED, WHITE), ((0, 0, 255), RED), ((1, 1, 1), BLACK)]
)
def test_colours_mark_what_stands_out_of_the_ground(
    tmp_path: Path,
    drawn: npt.NDArray[np.bool_],
    lesion: tuple[int, ...],
    ground: tuple[int, ...],
    ending: str,
) -> None:
    path = tmp_path / f"mask.{ending}"
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(coloured(drawn, lesion, ground)).save(path, **options)

    np.testing.assert_array_equal(read_mask(path), drawn)


@pytest.mark.parametrize(
    "pixels",
    [
        lambda drawn: ~drawn,
        lambda drawn: np.where(drawn, 0, 255).astype(np.uint8),
        lambda drawn: np.where(drawn, 0, 65535).astype(np.uint16),
        lambda drawn: drawn.astype(np.uint16),
    ],
    ids=["1 bit, black", "8 bits, black", "16 bits, black", "16 bits of 1"],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_grey_of_any_depth_and_either_polarity_is_read(
    tmp_path: Path, drawn: npt.NDArray[np.bool_], pixels: Any, ending: str
) -> None:
    path = tmp_path / f"mask.{ending}"
    Image.fromarray(pixels(drawn)).save(path)

    np.testing.assert_array_equal(read_mask(path), drawn)


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize(
    ("lesion", "ground"),
    [
        ((*BLACK, 255), (*BLACK, 0)),
        ((*WHITE, 255), (*WHITE, 0)),
        ((*RED, 255), (*BLACK, 0)),
        ((*BLACK, 255), (*WHITE, 0)),
        ((*BLACK, 0), (*BLACK, 255)),
        ((*RED, 128), (*BLACK, 255)),
    ],
)
def test_what_is_drawn_in_opacity_is_marked(
    tmp_path: Path,
    drawn: npt.NDArray[np.bool_],
    lesion: tuple[int, ...],
    ground: tuple[int, ...],
    ending: str,
) -> None:
    path = tmp_path / f"mask.{ending}"
    options = {"lossless": True} if ending == "webp" else {}
    Image.fromarray(coloured(drawn, lesion, ground)).save(path, **options)

    np.testing.assert_array_equal(read_mask(path), drawn)


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("grey", [0, 255])
def test_what_grey_with_opacity_marks_is_its_opacity(
    tmp_path: Path, drawn: npt.NDArray[np.bool_], grey: int, ending: str
) -> None:
    path = tmp_path / f"mask.{ending}"
    pixels = np.dstack([np.full(drawn.shape, grey), drawn * 255]).astype(np.uint8)
    Image.fromarray(pixels).save(path)

    np.testing.assert_array_equal(read_mask(path), drawn)


def test_an_optic_disc_and_a_large_haemorrhage_are_no_retina(tmp_path: Path) -> None:
    boat = disc(22)
    boat[:32] = False
    for marked in (disc(12), boat):
        Image.fromarray(marked * np.uint8(255)).save(tmp_path / "mask.png")

        np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), marked)


def test_what_is_cut_away_around_a_drawing_is_not_marked(
    tmp_path: Path, drawn: npt.NDArray[np.bool_]
) -> None:
    """Black inside a transparent surround, with white lesions."""
    pixels = np.dstack([*[drawn * 255] * 3, np.full(drawn.shape, 255)]).astype(np.uint8)
    pixels[:, :15] = 0
    for name, stored in (("mask.png", pixels), ("mask.tif", pixels), ("grey.tif", pixels[..., 2:])):
        Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / name)

        np.testing.assert_array_equal(read_mask(tmp_path / name), drawn)


@pytest.mark.parametrize(
    ("grey", "quality"), [(255, 20), (255, 50), (255, 95), (128, 75), (76, 75), (76, 95), (40, 90)]
)
@pytest.mark.parametrize("ending", ["jpg", "tif", "png"])
def test_the_noise_of_lossy_compression_is_not_marked(
    tmp_path: Path, drawn: npt.NDArray[np.bool_], grey: int, quality: int, ending: str
) -> None:
    """In a JPEG, in a TIFF that holds one, and in a PNG made of one."""
    first = tmp_path / "first.jpg"
    Image.fromarray(drawn * np.uint8(grey)).save(first, quality=quality)
    path = tmp_path / f"mask.{ending}"
    options = {"jpg": {"quality": quality}, "tif": {"compression": "jpeg", "quality": quality}}
    source = Image.open(first) if ending == "png" else Image.fromarray(drawn * np.uint8(grey))
    source.save(path, **options.get(ending, {}))
    if ending != "png" or grey > 100:
        assert (np.asarray(Image.open(path)) > 0).sum() > drawn.sum()

    np.testing.assert_array_equal(read_mask(path), drawn)


@pytest.mark.parametrize(("lesion", "ground"), [(BLACK, WHITE), (RED, WHITE), (WHITE, BLACK)])
def test_a_lossy_mask_may_be_of_any_polarity(
    tmp_path: Path, drawn: npt.NDArray[np.bool_], lesion: tuple[int, ...], ground: tuple[int, ...]
) -> None:
    for ending in ("jpg", "webp"):
        path = tmp_path / f"mask.{ending}"
        Image.fromarray(coloured(drawn, lesion, ground)).save(path, quality=90)

        assert np.logical_xor(read_mask(path), drawn).sum() <= 2


def test_levels_of_a_lossless_mask_all_count(tmp_path: Path) -> None:
    """Lesions that are numbered, and smooth edges, are not taken for noise."""
    numbered = np.zeros((256, 384), np.uint8)
    for n in range(1, 256):
        row, col = divmod(n, 20)
        numbered[9 * row + 2 : 9 * row + 5, 9 * col + 2 : 9 * col + 5] = n
    numbered[150:220, 40:160] = 1
    Image.fromarray(numbered).save(tmp_path / "numbered.png")
    smooth = np.zeros((64, 96), np.uint8)
    smooth[20:30, 40:60] = 255
    smooth[20:30, 39], smooth[20:30, 60] = np.arange(10, 255, 25), np.arange(255, 10, -25)
    Image.fromarray(smooth).save(tmp_path / "smooth.png")

    for name, pixels in (("numbered.png", numbered), ("smooth.png", smooth)):
        np.testing.assert_array_equal(read_mask(tmp_path / name), pixels > 0)


def disc(radius: float) -> npt.NDArray[np.bool_]:
    return np.asarray(np.hypot(*np.ogrid[-32:32, -48:48]) < radius)


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize(
    ("marked", "reason"),
    [
        (np.ones((64, 96), np.bool_), "one colour|nothing in it stands out"),
        (np.indices((64, 96))[1] < 48, "no colour of it covers more than half"),
        (disc(30), "most of the retina"),
        (disc(30) & ~disc(5), "most of the retina"),
        (disc(18), "a disc of the size of a retina"),
        (disc(18) & ~disc(5), "a disc of the size of a retina"),
        (disc(55) & ~disc(5), "surrounds the retina"),
        (disc(40) & ~disc(5), "surrounds the retina"),
    ],
    ids=[
        "all",
        "half",
        "the field",
        "inside out",
        "small",
        "small, inside out",
        "cut",
        "cut twice",
    ],
)
def test_marks_that_no_lesion_has_are_refused_with_the_reason(
    tmp_path: Path, marked: npt.NDArray[np.bool_], reason: str, ending: str
) -> None:
    path = tmp_path / f"eye_EX.{ending}"
    Image.fromarray(marked * np.uint8(255)).save(path, quality=95)

    with pytest.raises(DatasetError, match=rf"eye_EX\.{ending} .*({reason})"):
        read_mask(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_black_mask_marks_nothing(tmp_path: Path, mode: str) -> None:
    if mode == "I;16":
        Image.fromarray(np.zeros((64, 96), np.uint16)).save(tmp_path / "mask.png")
    else:
        Image.new("L", (96, 64)).convert(mode).save(tmp_path / "mask.png")
    Image.new("RGB", (96, 64)).save(tmp_path / "mask.jpg")

    assert not read_mask(tmp_path / "mask.png").any()
    assert not read_mask(tmp_path / "mask.jpg").any()


def test_levels_of_a_lossy_mask_are_refused(tmp_path: Path) -> None:
    """Which classes they stand for cannot be known, and half of the contrast would lose some."""
    levels = np.zeros((64, 96), np.uint8)
    for n in (1, 2, 3):
        levels[10 * n : 10 * n + 8, 20:60] = 85 * n
    Image.fromarray(levels).save(tmp_path / "mask.jpg", quality=95)

    with pytest.raises(DatasetError, match="several levels"):
        read_mask(tmp_path / "mask.jpg")


def test_outlines_that_compression_lost_are_refused(tmp_path: Path) -> None:
    small = np.zeros((64, 96), np.uint8)
    small[10:50:7, 10:80:9] = small[11:50:7, 11:80:9] = 40
    Image.fromarray(small).save(tmp_path / "mask.jpg", quality=20)

    with pytest.raises(DatasetError, match="compressed with loss"):
        read_mask(tmp_path / "mask.jpg")


def test_a_mask_that_is_refused_is_a_problem_and_not_counted(tmp_path: Path) -> None:
    """A summary tells of it by name; its sample raises, so nothing is trained or measured on it."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)).save(
        tmp_path / "eye.png"
    )
    Image.fromarray(np.full((64, 96), 255, np.uint8)).save(tmp_path / "eye_EX.png")
    data = open_dataset(tmp_path)

    report = summarize(data)

    assert [(c.code, c.lesions) for c in report.classes] == [("EX", 0)]
    assert [p.message[:25] for p in report.problems] == ["EX: The mask eye_EX.png ha"[:25]]
    with pytest.raises(DatasetError, match=r"eye_EX\.png"):
        data[0].mask("EX", (64, 96))


def test_a_field_of_view_may_cover_all_of_the_picture(tmp_path: Path) -> None:
    """What is known to be white on black is taken as it stands."""
    for marked in (disc(30), np.ones((64, 96), np.bool_), np.zeros((64, 96), np.bool_)):
        Image.fromarray(marked * np.uint8(255)).save(tmp_path / "field.png")
        np.testing.assert_array_equal(read_region(tmp_path / "field.png"), marked)


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
