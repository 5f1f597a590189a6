"""Any photograph that cameras and data sets write is read; anything else has a clear error."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_fundus.errors import (
    EmptyFileError,
    ImageBrokenError,
    ImageReadError,
    ImageTooLargeError,
    ImageTooSmallError,
    NotAnImageError,
    UnsupportedImageError,
)
from napari_fundus.image import MIN_SIDE, FundusImage, limits, read_image, read_pixels

Pixels = npt.NDArray[Any]
HEIGHT, WIDTH = 80, 112


@pytest.fixture
def rgb() -> npt.NDArray[np.uint8]:
    """A smooth picture without any symmetry, so that each turn and each plane differ."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 2 + 20, cols * 2, rows + cols], axis=-1).astype(np.uint8)


def _save(path: Path, pixels: Pixels, mode: str | None = None, **options: Any) -> Path:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def _read_bytes(content: bytes, tmp_path: Path) -> FundusImage:
    path = tmp_path / "file.bin"
    path.write_bytes(content)
    return read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tif", ".gif", ".webp"])
def test_lossless_files_give_the_same_pixels(suffix: str, rgb: Pixels, tmp_path: Path) -> None:
    options: dict[str, Any] = {"lossless": True} if suffix == ".webp" else {}
    if suffix == ".gif":
        rgb = rgb // 64 * 64
    image = read_image(_save(tmp_path / f"eye{suffix}", rgb, **options))
    np.testing.assert_array_equal(image.pixels, rgb)
    assert image.name == "eye"
    assert image.path == tmp_path / f"eye{suffix}"


def test_jpeg_is_read_in_colour(rgb: Pixels, tmp_path: Path) -> None:
    image = read_image(_save(tmp_path / "eye.jpg", rgb, quality=95))
    assert np.abs(image.pixels.astype(int) - rgb).mean() < 3
    assert image.metadata["format"] == "JPEG"
    assert not image.metadata["grey"]


def test_cmyk_jpeg_has_the_colours_of_the_rgb_one(tmp_path: Path) -> None:
    orange = np.full((HEIGHT, WIDTH, 3), (200, 100, 40), np.uint8)
    image = read_image(_save(tmp_path / "eye.jpg", orange, "CMYK", quality=95))
    np.testing.assert_allclose(image.pixels.mean(axis=(0, 1)), (200, 100, 40), atol=4)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_grey_files_are_repeated_in_three_planes(suffix: str, rgb: Pixels, tmp_path: Path) -> None:
    image = read_image(_save(tmp_path / f"eye{suffix}", rgb[..., 1], "L"))
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.pixels[..., 0].astype(int) - rgb[..., 1]).max() <= 4
    np.testing.assert_array_equal(image.pixels[..., 0], image.pixels[..., 2])
    assert image.metadata["grey"]


def test_rgba_loses_its_alpha_and_nothing_else(rgb: Pixels, tmp_path: Path) -> None:
    alpha = np.full((HEIGHT, WIDTH, 1), 7, np.uint8)
    rgba = np.concatenate([rgb, alpha], axis=-1)
    image = read_image(_save(tmp_path / "eye.png", rgba))
    np.testing.assert_array_equal(image.pixels, rgb)
    np.testing.assert_array_equal(read_pixels(tmp_path / "eye.png")[0], rgba)


def test_grey_with_alpha_is_grey(rgb: Pixels, tmp_path: Path) -> None:
    image = read_image(_save(tmp_path / "eye.png", rgb[..., 0], "LA"))
    np.testing.assert_array_equal(image.pixels[..., 1], rgb[..., 0])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_palettes_are_expanded_to_colours(suffix: str, rgb: Pixels, tmp_path: Path) -> None:
    few = rgb // 64 * 64
    path = tmp_path / f"eye{suffix}"
    Image.fromarray(few).quantize(64).save(path)
    np.testing.assert_array_equal(read_image(path).pixels, few)


def test_palette_with_transparency_keeps_its_colours(rgb: Pixels, tmp_path: Path) -> None:
    few = rgb // 64 * 64
    path = tmp_path / "eye.png"
    Image.fromarray(few).quantize(64).save(path, transparency=3)
    np.testing.assert_array_equal(read_image(path).pixels, few)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_one_bit_files_are_black_and_white(suffix: str, tmp_path: Path) -> None:
    bits = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3 == 0
    path = tmp_path / f"mask{suffix}"
    Image.fromarray(bits).save(path)
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_keeps_its_depth(channels: int, rgb: Pixels, tmp_path: Path) -> None:
    planes = np.concatenate([rgb, rgb[..., :1]], axis=-1).astype(np.uint16) * 200 + 1
    pixels = planes[..., 0] if channels == 1 else planes[..., :channels]
    path = tmp_path / "eye.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    image = read_image(path)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels[..., 0], planes[..., 0])
    np.testing.assert_array_equal(image.pixels[..., 1], planes[..., 0 if channels < 3 else 1])
    assert image.metadata["bits"] == 16


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (32, 48)},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw"},
        {"tile": (16, 16), "compression": "zlib", "bigtiff": True},
        {"byteorder": ">"},
        {"rowsperstrip": 7},
    ],
    ids=str,
)
def test_tiff_of_any_build_gives_the_same_pixels(
    options: dict[str, Any], dtype: type, rgb: Pixels, tmp_path: Path
) -> None:
    pixels = rgb.astype(dtype) * dtype(1 if dtype is np.uint8 else 257)
    path = tmp_path / "eye.tif"
    tiff_options = {k: options[k] for k in ("bigtiff", "byteorder") if k in options}
    with tifffile.TiffWriter(path, **tiff_options) as writer:
        rest = {k: v for k, v in options.items() if k not in tiff_options}
        writer.write(pixels, photometric="rgb", **rest)
    image = read_image(path)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_planar_tiff_is_interleaved(tile: Any, rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    planes = np.ascontiguousarray(np.moveaxis(rgb, -1, 0))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", tile=tile)
    np.testing.assert_array_equal(read_image(path).pixels, rgb)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_miniswhite_tiff_is_inverted(dtype: type, rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    stored = np.iinfo(dtype).max - rgb[..., 0].astype(dtype)
    tifffile.imwrite(path, stored.astype(dtype), photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], rgb[..., 0])


def test_one_bit_miniswhite_tiff_is_inverted(tmp_path: Path) -> None:
    bits = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3 == 0
    path = tmp_path / "fax.tif"
    tifffile.imwrite(path, ~bits, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], bits * np.uint8(255))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_fills_the_range(bits: int, photometric: str, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    peak = (1 << bits) - 1
    stored = (np.indices((HEIGHT, WIDTH)).sum(axis=0) % (peak + 1)).astype(np.uint8)
    packed = imagecodecs.packints_encode(stored, bits)
    data = np.frombuffer(packed, np.uint8).reshape(HEIGHT, -1)
    tifffile.imwrite(path, data, photometric=photometric)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages.first.tags
        tags["BitsPerSample"].overwrite(bits)
        tags["ImageWidth"].overwrite(WIDTH)
    expected = stored * np.uint8(255 // peak)
    if photometric == "miniswhite":
        expected = 255 - expected
    np.testing.assert_array_equal(read_image(path).pixels[..., 0], expected)


def test_float_of_which_zero_is_white_is_refused(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, (rgb[..., 0] / 255).astype(np.float32), photometric="miniswhite")
    with pytest.raises(UnsupportedImageError, match="0 is white"):
        read_image(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_cmyk_tiff_becomes_rgb(dtype: type, planar: Any, tmp_path: Path) -> None:
    peak = np.iinfo(dtype).max
    cmyk = np.zeros((HEIGHT, WIDTH, 4), dtype)
    cmyk[..., 1], cmyk[..., 3] = peak // 2, peak // 4
    stored = cmyk if planar == "contig" else np.ascontiguousarray(np.moveaxis(cmyk, -1, 0))
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, stored, photometric="separated", planarconfig=planar)
    red, green, blue = read_image(path).pixels[0, 0] / peak
    assert (red, blue) == pytest.approx((0.75, 0.75), abs=0.01)
    assert green == pytest.approx(0.375, abs=0.01)


def test_palette_tiff_of_sixteen_bit_entries(rgb: Pixels, tmp_path: Path) -> None:
    table = np.zeros((3, 256), np.uint16)
    table[0] = np.arange(256) * 257
    table[1] = 255 * 257
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb[..., 0], photometric="palette", colormap=table)
    pixels = read_image(path).pixels
    np.testing.assert_array_equal(pixels[..., 0], rgb[..., 0])
    assert (pixels[..., 1] == 255).all()
    assert (pixels[..., 2] == 0).all()


def test_a_palette_of_fractions_is_called_damaged(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    table = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(path, rgb[..., 0], photometric="palette", colormap=table)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["ColorMap"].overwrite([0.5] * 768, dtype="d")
    with pytest.raises(ImageBrokenError, match="its palette holds no colours"):
        read_image(path)


def test_jpeg_compressed_tiff_is_read_in_colour(tmp_path: Path) -> None:
    orange = np.full((HEIGHT, WIDTH, 3), (200, 100, 40), np.uint8)
    image = read_image(_save(tmp_path / "eye.tif", orange, compression="jpeg"))
    np.testing.assert_allclose(image.pixels.mean(axis=(0, 1)), (200, 100, 40), atol=5)


@pytest.mark.parametrize("photometric", ["ycbcr", "cielab", "logluv"])
def test_tiff_in_a_colour_space_we_do_not_convert_is_refused(
    photometric: str, rgb: Pixels, tmp_path: Path
) -> None:
    """Taken for red, green and blue, its colours would be wrong in silence."""
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb, photometric="rgb")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        code = tifffile.PHOTOMETRIC[photometric.upper()]
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(int(code))
    with pytest.raises(UnsupportedImageError, match=photometric.upper()):
        read_image(path)


def test_rgba_tiff_loses_its_alpha(rgb: Pixels, tmp_path: Path) -> None:
    rgba = np.concatenate([rgb, np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], axis=-1)
    tifffile.imwrite(tmp_path / "eye.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_image(tmp_path / "eye.tif").pixels, rgb)


def test_the_first_page_of_a_tiff_counts(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(rgb, photometric="rgb")
        writer.write(rgb[::2, ::2], photometric="rgb")
    np.testing.assert_array_equal(read_image(path).pixels, rgb)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_float_tiff_in_0_to_1_is_scaled(dtype: type, rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, (rgb / 255).astype(dtype), photometric="rgb")
    assert np.abs(read_image(path).pixels.astype(int) - rgb).max() <= 1


ORIENTED: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How an upright picture is stored under each orientation tag (TIFF 6.0; EXIF 2.3)."""


@pytest.mark.parametrize("orientation", ORIENTED)
def test_tiff_orientation_is_undone(orientation: int, rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    stored = np.ascontiguousarray(ORIENTED[orientation](rgb))
    tifffile.imwrite(path, stored, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, rgb)
    assert image.metadata["rotated"] == (orientation != 1)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_is_undone(
    orientation: int, suffix: str, rgb: Pixels, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(ORIENTED[orientation](rgb))
    image = read_image(_save(tmp_path / f"eye{suffix}", stored, exif=exif))
    assert np.abs(image.pixels.astype(int) - rgb).mean() < 4
    assert image.metadata["rotated"] == (orientation != 1)


def test_exif_orientation_of_a_sixteen_bit_png_is_undone(rgb: Pixels, tmp_path: Path) -> None:
    deep = rgb.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[274] = 6
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = b"eXIf" + body
    chunk = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    content = imagecodecs.png_encode(np.ascontiguousarray(np.rot90(deep, 1)))
    after_header = 8 + 25
    image = _read_bytes(content[:after_header] + chunk + content[after_header:], tmp_path)
    np.testing.assert_array_equal(image.pixels, deep)
    assert image.metadata["rotated"]


def test_the_suffix_does_not_matter(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.txt"
    _save(path, rgb, format="PNG")
    np.testing.assert_array_equal(read_image(path).pixels, rgb)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WEBP"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_truncated_files_are_called_damaged(kind: str, share: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    content = buffer.getvalue()
    with pytest.raises(ImageBrokenError, match=r"damaged|truncated"):
        _read_bytes(content[: int(share * len(content))], tmp_path)


def test_a_truncated_sixteen_bit_png_is_called_damaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 65536, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    content = imagecodecs.png_encode(noise)
    with pytest.raises(ImageBrokenError):
        _read_bytes(content[: len(content) // 2], tmp_path)


def test_a_tiff_with_missing_strips_is_called_damaged(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", rowsperstrip=10)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ImageBrokenError):
        read_image(path)


def test_text_named_as_an_image_is_not_an_image(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no picture here")
    with pytest.raises(NotAnImageError, match="not an image"):
        read_image(path)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    path = tmp_path / "eye.jpg"
    path.touch()
    with pytest.raises(EmptyFileError, match="empty"):
        read_image(path)


def test_a_folder_is_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(NotAnImageError, match="folder"):
        read_image(tmp_path)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize("shape", [(20, 20), (MIN_SIDE - 1, 200), (200, MIN_SIDE - 1), (1, 1)])
def test_tiny_images_are_refused_with_their_size(shape: tuple[int, int], tmp_path: Path) -> None:
    path = _save(tmp_path / "eye.png", np.zeros((*shape, 3), np.uint8))
    with pytest.raises(ImageTooSmallError, match=f"{shape[1]}x{shape[0]}"):
        read_image(path)


def test_the_least_size_is_read(tmp_path: Path) -> None:
    path = _save(tmp_path / "eye.png", np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8))
    assert read_image(path).shape == (MIN_SIDE, MIN_SIDE)


def _png_claiming(width: int, height: int, bits: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("side", [21_000, 100_000, 2_000_000])
def test_a_png_that_claims_to_be_huge_is_refused_before_decoding(
    bits: int, side: int, tmp_path: Path
) -> None:
    with pytest.raises(ImageTooLargeError, match=r"million|more pixels"):
        _read_bytes(_png_claiming(side, side, bits), tmp_path)


def test_a_tiff_that_claims_to_be_huge_is_refused_before_decoding(
    rgb: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages.first.tags
        tags["ImageWidth"].overwrite(60_000)
        tags["ImageLength"].overwrite(60_000)
    with pytest.raises(ImageTooLargeError):
        read_image(path)


def test_pillows_own_limit_is_reported_as_ours_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rgb: Pixels
) -> None:
    path = _save(tmp_path / "eye.png", rgb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageTooLargeError, match="more pixels"):
        read_image(path)


def test_our_limit_is_honoured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rgb: Pixels
) -> None:
    monkeypatch.setattr(limits, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(ImageTooLargeError):
        read_image(_save(tmp_path / "eye.png", rgb))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((70, 70), np.complex64),
        np.full((70, 70), np.nan, np.float32),
        np.full((70, 70), 300.0),
        np.full((70, 70), -1),
        np.full((70, 70), 70_000),
        np.zeros((70, 70, 5), np.uint8),
        np.zeros((3, 70, 70, 3), np.uint8),
        np.zeros(5000, np.uint8),
        np.full((70, 70), "eye"),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_arrays_that_are_no_photograph_are_refused(array: Pixels) -> None:
    with pytest.raises(UnsupportedImageError):
        FundusImage.from_array(array)


def test_volumes_in_tiff_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    volume = np.zeros((16, 80, 80), np.uint8)
    tifffile.imwrite(path, volume, photometric="minisblack", volumetric=True, tile=(16, 16, 16))
    with pytest.raises(UnsupportedImageError):
        read_image(path)


def test_tiff_with_many_channels_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "spectra.tif"
    tifffile.imwrite(
        path, np.zeros((80, 80, 7), np.uint8), photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(UnsupportedImageError):
        read_image(path)


MAGICS = [
    b"",
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x50\0\0\0\x50\x10\x02\0\0\0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x50\0\0\0\x50\x08\x02\0\0\0",
    b"II*\0\x08\0\0\0",
    b"MM\0*\0\0\0\x08",
    b"II+\0\x08\0\0\0",
    b"GIF89a",
    b"BM",
    b"RIFF\x24\0\0\0WEBPVP8 ",
    b"P6 80 80 255\n",
]


@settings(max_examples=250, deadline=None)
@given(start=st.sampled_from(MAGICS), rest=st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_read_errors(
    start: bytes, rest: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.bin"
    path.write_bytes(start + rest)
    with pytest.raises(ImageReadError):
        read_image(path)


def _encoded() -> list[bytes]:
    rng = np.random.default_rng(0)
    smooth = np.kron(rng.integers(0, 256, (10, 10, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    files = [imagecodecs.png_encode(smooth.astype(np.uint16) * 200)]
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP"):
        buffer = io.BytesIO()
        Image.fromarray(smooth).save(buffer, kind)
        files.append(buffer.getvalue())
    for options in ({"tile": (16, 16)}, {"compression": "zlib"}, {"compression": "lzw"}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, smooth, photometric="rgb", **options)
        files.append(buffer.getvalue())
    for mode, kind in (("CMYK", "JPEG"), ("P", "PNG"), ("1", "TIFF"), ("P", "TIFF"), ("L", "PNG")):
        buffer = io.BytesIO()
        Image.fromarray(smooth).convert(mode).save(buffer, kind)
        files.append(buffer.getvalue())
    for array, photometric in (
        (smooth[..., 0], "miniswhite"),
        (smooth[..., 0] / 255, "miniswhite"),
        (np.concatenate([smooth, smooth[..., :1]], axis=-1), "separated"),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, photometric=photometric)
        files.append(buffer.getvalue())
    return files


FILES = _encoded()


@settings(max_examples=400, deadline=None)
@given(
    index=st.integers(0, len(FILES) - 1),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    head=st.booleans(),
    cut=st.floats(0.02, 1),
)
def test_damaged_files_are_read_or_refused_but_nothing_else(
    index: int,
    flips: list[tuple[float, int]],
    head: bool,
    cut: float,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    content = bytearray(FILES[index][: max(int(cut * len(FILES[index])), 12)])
    reach = min(len(content), 200) if head else len(content)
    for place, value in flips:
        content[min(int(place * reach), len(content) - 1)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.bin"
    path.write_bytes(bytes(content))
    try:
        image = read_image(path)
    except ImageReadError:
        return
    assert image.pixels.dtype in (np.uint8, np.uint16)
    assert min(image.shape) >= MIN_SIDE


def test_pixels_cannot_be_changed(rgb: Pixels) -> None:
    image = FundusImage.from_array(rgb)
    with pytest.raises(ValueError, match="read-only"):
        image.pixels[0, 0] = 0


def test_the_array_given_stays_writable(rgb: Pixels) -> None:
    FundusImage.from_array(rgb)
    rgb[0, 0] = 1


@pytest.mark.parametrize("shape", [(70, 90), (70, 90, 1), (70, 90, 3), (70, 90, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.int64, np.bool_])
def test_layers_of_any_kind_become_photographs(shape: tuple[int, ...], dtype: type) -> None:
    array = np.ones(shape, dtype)
    image = FundusImage.from_array(array)
    assert image.pixels.shape == (70, 90, 3)
    assert image.pixels.dtype in (np.uint8, np.uint16)
    assert (image.pixels == (255 if dtype is np.bool_ else 1)).all()


def test_dask_arrays_are_computed(rgb: Pixels) -> None:
    lazy = dask.array.from_array(rgb, chunks=(32, 32, 3))
    np.testing.assert_array_equal(FundusImage.from_array(lazy).pixels, rgb)


@pytest.mark.parametrize(
    ("peak", "shift"), [(255, 0), (256, 2), (1023, 2), (4095, 4), (16383, 6), (65535, 8)]
)
def test_rgb8_scales_by_the_bits_in_use(peak: int, shift: int) -> None:
    pixels = np.zeros((70, 70, 3), np.uint16)
    pixels[3, 4] = peak
    image = FundusImage.from_array(pixels)
    assert image.rgb8.dtype == np.uint8
    assert image.rgb8[3, 4].tolist() == [peak >> shift] * 3
    with pytest.raises(ValueError, match="read-only"):
        image.rgb8[0, 0] = 1


def test_rgb8_of_eight_bits_is_the_pixels_themselves(rgb: Pixels) -> None:
    image = FundusImage.from_array(rgb)
    assert image.rgb8 is image.pixels


def test_the_hash_tells_images_apart_and_not_names(rgb: Pixels) -> None:
    image = FundusImage.from_array(rgb, name="a")
    assert image.sha256 == FundusImage.from_array(rgb.copy(), name="b").sha256
    other = rgb.copy()
    other[5, 5, 1] += 1
    assert image.sha256 != FundusImage.from_array(other).sha256
    assert image.sha256 != FundusImage.from_array(rgb.astype(np.uint16)).sha256
    turned = np.ascontiguousarray(rgb.reshape(WIDTH, HEIGHT, 3))
    assert image.sha256 != FundusImage.from_array(turned).sha256


def test_a_field_of_view_of_another_shape_is_refused(rgb: Pixels) -> None:
    with pytest.raises(UnsupportedImageError, match="field of view"):
        FundusImage.from_array(rgb, field_of_view=np.ones((5, 5), np.bool_))


def test_a_small_jpeg_that_claims_to_be_huge_is_refused_before_decoding(
    rgb: Pixels, tmp_path: Path
) -> None:
    content = bytearray(_save(tmp_path / "eye.jpg", rgb, progressive=True).read_bytes())
    frame = content.index(b"\xff\xc2")
    content[frame + 5 : frame + 9] = struct.pack(">HH", 13_000, 13_000)
    with pytest.raises(ImageTooLargeError, match="169 million pixels in"):
        _read_bytes(bytes(content), tmp_path)


def test_a_blank_mask_of_12_megapixels_is_no_bomb(tmp_path: Path) -> None:
    path = _save(tmp_path / "mask.png", np.zeros((2848, 4288), np.uint8), "1")
    assert read_pixels(path)[0].shape == (2848, 4288)


def test_a_tiff_of_few_pixels_with_thousands_of_channels_or_one_huge_tile_is_refused(
    rgb: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["TileWidth"].overwrite(40_000)
        tiff.pages.first.tags["TileLength"].overwrite(40_000)
    with pytest.raises(ImageTooLargeError):
        read_image(path)


def test_a_tiff_without_most_of_its_strips_is_refused(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", rowsperstrip=1, compression="zlib")
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags["ImageLength"].overwrite(65_536)
    with pytest.raises(ImageBrokenError, match="80 of 65536 strips"):
        read_image(path)


def test_a_tiff_whose_width_is_a_fraction_is_refused(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", compression="zlib")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        width, length = (
            tiff.pages.first.tags[name].offset for name in ("ImageWidth", "ImageLength")
        )
    struct.pack_into("<HII", content, width + 2, 10, 1, 8)  # a signed rational, read at byte 8
    struct.pack_into("<HII", content, length + 2, 4, 1, 2**32 - 1)
    with pytest.raises(ImageBrokenError, match="width or height"):
        _read_bytes(bytes(content), tmp_path)


@pytest.mark.parametrize("mode", ["P", "PA", "RGBA", "CMYK", "YCbCr", "L", "1", "I;16"])
def test_a_picture_of_pillow_has_its_colours(mode: str, rgb: Pixels, tmp_path: Path) -> None:
    """The indices of a palette are no greys."""
    few = rgb // 64 * 64
    picture = {
        "P": lambda: Image.fromarray(few).quantize(64),
        "PA": lambda: Image.fromarray(few).quantize(64).convert("PA"),
        "I;16": lambda: Image.fromarray(few[..., 0].astype(np.uint16) * 257),
    }.get(mode, lambda: Image.fromarray(few).convert(mode))()
    found = FundusImage.from_array(picture)
    if mode in ("P", "RGBA"):
        np.testing.assert_array_equal(found.pixels, few)
    assert found.pixels.dtype == (np.uint16 if mode == "I;16" else np.uint8)
    assert found.metadata["grey"] == (mode in ("L", "1", "I;16"))


@pytest.mark.parametrize("values", [[[1, 2], [3]], [["a"]], object(), None])
def test_what_is_no_array_is_a_typed_error(values: Any) -> None:
    with pytest.raises(ImageReadError, match="'eye'"):
        FundusImage.from_array(values, name="eye")


def test_an_array_whose_maker_fails_is_a_typed_error(tmp_path: Path) -> None:
    def fails(block: Any) -> Any:
        raise ZeroDivisionError("in a task")

    lazy = dask.array.map_blocks(fails, dask.array.zeros((80, 80)), dtype=np.uint8)
    with pytest.raises(UnsupportedImageError, match="ZeroDivisionError: in a task"):
        FundusImage.from_array(lazy)
    picture = Image.new("RGB", (90, 80))
    picture.save(tmp_path / "eye.png")
    whole = (tmp_path / "eye.png").read_bytes()
    (tmp_path / "eye.png").write_bytes(whole[:60])
    with pytest.raises(UnsupportedImageError, match="cannot be made an array"):
        FundusImage.from_array(Image.open(tmp_path / "eye.png"))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0001), (-0.0001, 1.0), (-0.05, 1.08)])
def test_floats_a_little_beyond_the_range_are_cut(low: float, high: float) -> None:
    pixels = np.linspace(low, high, 80 * 90).reshape(80, 90)
    expected = np.rint(np.clip(pixels, 0, 1) * 255)
    np.testing.assert_array_equal(FundusImage.from_array(pixels).pixels[..., 0], expected)


@pytest.mark.parametrize(("low", "high"), [(0, 1.5), (0, 7), (-0.5, 0.5), (-1, 1), (-1, 255)])
def test_floats_of_another_range_are_refused(low: float, high: float) -> None:
    pixels = np.linspace(low, high, 80 * 90).reshape(80, 90)
    with pytest.raises(UnsupportedImageError, match=r"must lie in \[0, 1\] or \[0, 255\]"):
        FundusImage.from_array(pixels)
