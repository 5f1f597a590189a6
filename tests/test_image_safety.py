"""No file starts a program, takes memory or time beyond its size, or makes a reader wait."""

from __future__ import annotations

import importlib
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from napari_fundus.datasets.masks import image_shape, read_mask
from napari_fundus.errors import (
    FundusError,
    ImageBrokenError,
    ImageReadError,
    ImageTooLargeError,
    NotAFileError,
    NotAnImageError,
)
from napari_fundus.image import open_pillow, read_image, read_pixels
from napari_fundus.image.jpeg_markers import MAX_SCANS, check_jpeg
from napari_fundus.runtime.files import check_is_file, read_bytes, read_text

Pixels = npt.NDArray[np.uint8]


@pytest.fixture
def rgb() -> Pixels:
    rows, cols = np.mgrid[:96, :112]
    return np.stack([rows * 2 + 20, cols * 2, rows + cols], axis=-1).astype(np.uint8)


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every start of a program fail the test."""

    def started(*arguments: Any, **_: Any) -> None:
        raise AssertionError(f"a program was started: {arguments}")

    for name in ("Popen", "run", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, started)
    monkeypatch.setattr(os, "system", started)


READERS = {
    "table of lesions": ("export", "read_csv", ".csv"),
    "provenance": ("export", "read_provenance", ".json"),
    "maps": ("export", "read_probability_tiff", ".tif"),
    "labels": ("export", "read_labels_tiff", ".tif"),
    "weights": ("checkpoints", "read_checkpoint", ".safetensors"),
    "card": ("checkpoints", "read_card", ".safetensors"),
    "table": ("datasets.files", "read_table", ".csv"),
    "header of a table": ("datasets.files", "table_header", ".csv"),
    "XML": ("datasets.xml_files", "read_xml", ".xml"),
    "groups": ("datasets.groups", "read_groups", ".txt"),
    "job": ("training.jobs.config", "read_training_config", ".json"),
    "summary": ("batch.records", "earlier_rows", ".csv"),
    "JSON": ("runtime.files", "read_json", ".json"),
}
"""Module, function and suffix of the readers of a single file."""

POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 200 200\n{ } loop\n"
FOREIGN = {
    "postscript": POSTSCRIPT,
    "dos postscript": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(POSTSCRIPT), *[0] * 5),
    "dds": b"DDS " + struct.pack("<I", 124) + bytes(120),
    "blp": b"BLP2" + struct.pack("<I", 1) + bytes(200),
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(80),
    "psd": b"8BPS\x00\x01" + bytes(60),
    "icns": b"icns\x00\x00\x00\x10" + bytes(8),
    "fits": b"SIMPLE  =                    T" + b" " * 2850,
}


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("read", [read_image, image_shape, read_mask])
def test_formats_outside_the_list_are_refused_by_content(
    name: str, read: Any, tmp_path: Path
) -> None:
    path = tmp_path / "eye.jpg"
    path.write_bytes(FOREIGN[name])
    with pytest.raises(NotAnImageError, match="not an image"):
        read(path)


def test_every_opening_of_pillow_goes_through_one_door() -> None:
    """`open_pillow` alone names the formats; `Image.open` elsewhere would read any."""
    import napari_fundus

    package = Path(napari_fundus.__file__).parent
    users = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if any(call in path.read_text(encoding="utf-8") for call in ("Image.open(", "imread("))
    }
    assert users == {"image/pillow_files.py"}


@pytest.mark.parametrize(("suffix", "tolerance"), [("jp2", 0), ("avif", 6)])
def test_jpeg_2000_and_avif_are_read(
    suffix: str, tolerance: int, rgb: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / f"eye.{suffix}"
    Image.fromarray(rgb).save(path)
    difference = np.abs(read_image(path).pixels.astype(int) - rgb)
    assert difference.mean() <= tolerance


@pytest.mark.parametrize("codec", ["jpeg2000", "webp", "png", "lerc", "jpegxl"])
def test_tiffs_with_an_inner_codec_keep_their_pixels(
    codec: str, rgb: Pixels, tmp_path: Path
) -> None:
    path = tmp_path / "eye.tif"
    options = {"level": 0} if codec == "jpegxl" else {}
    tifffile.imwrite(
        path, rgb, photometric="rgb", tile=(64, 64), compression=codec, compressionargs=options
    )
    found = read_pixels(path)[0]
    np.testing.assert_array_equal(found, tifffile.imread(path))


def _tiff_of(stream: bytes, compression: int, path: Path, side: int = 64) -> Path:
    """Write a TIFF of one tile that holds any stream."""
    tifffile.imwrite(
        path,
        iter([stream]),
        shape=(side, side),
        dtype="uint8",
        tile=(side, side),
        photometric="minisblack",
        compression=compression,
    )
    return path


def test_a_tile_that_claims_gigabytes_is_refused_before_it_takes_them(tmp_path: Path) -> None:
    """LERC stores a constant raster in a hundred bytes, whatever its size."""
    stream = imagecodecs.lerc_encode(np.zeros((30_000, 30_000), np.float32))
    assert len(stream) < 1000
    path = _tiff_of(stream, 34887, tmp_path / "eye.tif")
    with pytest.raises(ImageReadError, match=r"eye\.tif"):
        read_image(path)


def test_a_jpeg_in_a_tile_is_no_larger_than_the_tile(tmp_path: Path) -> None:
    stream = imagecodecs.jpeg_encode(np.zeros((4000, 4000), np.uint8))
    path = _tiff_of(stream, 7, tmp_path / "eye.tif")
    with pytest.raises(ImageBrokenError, match="4000x4000 px where 64x64"):
        read_image(path)


def _with_repeated_scans(content: bytes, count: int) -> bytes:
    """Return a progressive JPEG whose last scan stands `count` times more in it."""
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * count + content[-2:]


def test_a_jpeg_of_endless_scans_is_refused(rgb: Pixels, tmp_path: Path) -> None:
    path = tmp_path / "eye.jpg"
    Image.fromarray(rgb).save(path, progressive=True)
    sound = path.read_bytes()
    read_image(path)
    path.write_bytes(_with_repeated_scans(sound, MAX_SCANS))
    with pytest.raises(ImageTooLargeError, match="scans"):
        read_image(path)


def test_a_thumbnail_and_what_follows_the_picture_are_no_scans(rgb: Pixels) -> None:
    scans = b"\xff\xda" * (MAX_SCANS + 1)
    start = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(scans) + 2) + scans
    coded = imagecodecs.jpeg_encode(rgb)[2:]
    check_jpeg(start + coded + scans, Path("eye.jpg"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize(
    "read", [read_image, image_shape, read_mask, open_pillow, read_bytes, read_text, check_is_file]
)
def test_a_pipe_is_refused_and_not_waited_for(read: Any, tmp_path: Path) -> None:
    path = tmp_path / "eye.jpg"
    os.mkfifo(path)
    with pytest.raises((NotAFileError, NotAnImageError), match="(pipe|folder) or device"):
        read(path)


@pytest.mark.parametrize("name", ["eye\0.png", "missing.png"])
def test_a_name_that_no_file_has_is_an_error_of_the_file_system(name: str, tmp_path: Path) -> None:
    with pytest.raises((OSError, FundusError)):
        read_bytes(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names are POSIX's")
@pytest.mark.parametrize("name", READERS)
def test_no_reader_of_files_waits_for_a_pipe(name: str, tmp_path: Path) -> None:
    """Whoever opens a pipe waits for its writer; here there is none."""
    module, function, suffix = READERS[name]
    path = tmp_path / f"file{suffix}"
    os.mkfifo(path)
    read = getattr(importlib.import_module(f"napari_fundus.{module}"), function)
    with pytest.raises((OSError, FundusError), match="(pipe|folder) or device"):
        read(path)
