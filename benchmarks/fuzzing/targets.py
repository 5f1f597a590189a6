"""The readers that are tried: the files each starts from, how they are damaged, who reads them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random

from PIL import features

from benchmarks.fuzzing import seeds
from benchmarks.fuzzing.damage_binary import (
    damage_jpeg,
    damage_png,
    damage_safetensors,
    damage_tiff,
)
from benchmarks.fuzzing.damage_bytes import damage_bytes
from benchmarks.fuzzing.damage_text import damage_csv, damage_json, damage_xml
from benchmarks.fuzzing.faulty_readers import FAULTY_READERS

__all__ = ["FUZZ_TARGETS", "FuzzTarget", "SeedInput", "find_target", "make_input"]

_MOST = 200_000
"""Bytes from which on an input is damaged no further."""

Files = Mapping[str, bytes]
Damage = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class SeedInput:
    """A sound input.

    Attributes
    ----------
    files
        Place in the folder to content.
    target
        The file that is damaged.
    damage
        How.
    """

    files: Files
    target: str
    damage: Damage


@dataclass(frozen=True)
class FuzzTarget:
    """A reader.

    Attributes
    ----------
    name
        For the table and the command line.
    cases
        Makes the sound inputs; called once a process.
    read
        Reads from a folder that holds a damaged input, and uses what it gets as the package would.
    """

    name: str
    cases: Callable[[], list[SeedInput]]
    read: Callable[[Path], object]


def make_input(subject: FuzzTarget, *, seed: int, number: int) -> dict[str, bytes]:
    """Return the files of one input; the same for the same numbers. Input 0 is a sound one."""
    rng = Random(f"{seed}/{subject.name}/{number}")  # noqa: S311
    case = rng.choice(_cases(subject.name))
    content = case.files[case.target]
    for _ in range(min(1 + int(rng.expovariate(1.0)), 6) if number else 0):
        if len(content) > _MOST:
            break  # damage upon damage could grow without end
        wild = rng.random() < 0.15
        content = (damage_bytes if wild else case.damage)(content, rng)
    return {**case.files, case.target: content}


@lru_cache
def _cases(name: str) -> list[SeedInput]:
    return find_target(name).cases()


def find_target(name: str) -> FuzzTarget:
    """Return the subject of that name; those that fail on purpose are found as well."""
    if name in FAULTY_READERS:
        return FuzzTarget(
            name,
            lambda: [SeedInput({"file": b"sound"}, "file", damage_bytes)],
            FAULTY_READERS[name],
        )
    return FUZZ_TARGETS[name]


def _one(name: str, damage: Damage, *makers: Callable[[], bytes]) -> Callable[[], list[SeedInput]]:
    return lambda: [SeedInput({name: make()}, name, damage) for make in makers]


def _read_image(folder: Path) -> object:
    from napari_fundus.image import read_image

    image = read_image(folder / "image")
    return image.rgb8, image.sha256


def _read_mask(folder: Path) -> object:
    from napari_fundus.datasets.masks import image_shape, read_grey, read_mask, read_region
    from napari_fundus.errors import FundusError

    path = folder / "image"
    for attempt in (image_shape, read_grey, read_mask):
        try:
            attempt(path)
        except FundusError:
            continue  # each is to be tried
    return read_region(path)


def _read_dataset(folder: Path) -> object:
    """Open whatever data set the folder is, and read all that its samples tell of."""
    from napari_fundus.datasets import open_dataset
    from napari_fundus.errors import FundusError

    dataset = open_dataset(folder)
    refusals: list[FundusError] = []
    for sample in dataset:
        try:
            shape = sample.image().shape
            sample.region(shape)
            sample.landmarks(shape)
            for code in sample.annotated:
                sample.mask(code, shape)
                if (truth := sample.truths.get(code)) is not None:
                    truth.count(shape)
                    truth.count_outside(shape)
                    truth.objects(code, shape)
        except FundusError as error:
            refusals.append(error)
    if refusals:
        raise refusals[0]
    return dataset


def _read_export(reader: str, folder: Path) -> object:
    from napari_fundus import export

    found = getattr(export, reader)(folder / "file")
    return found.instances if reader == "read_probability_tiff" else found


def _read_zarr(folder: Path) -> object:
    from napari_fundus.export import read_zarr

    return read_zarr(folder / "eye.zarr").instances


def _read_record(folder: Path) -> object:
    """Take a batch up again: the record of an image, then the table of all."""
    from napari_fundus.batch.records import read_record, write_summary

    known = read_record(folder, Path("eye"))
    if known is not None:
        done = known.skipped(folder / "eye.png", Path("eye"))
        write_summary(folder / "summary.csv", [done], ["MA"])
    return known


def _read_summary(folder: Path) -> object:
    from napari_fundus.batch.records import ImageOutcome, check_summary, write_summary

    check_summary(folder / "summary.csv", overwrite=False)
    outcome = ImageOutcome(Path("eye.png"), Path("eye"), "written", counts={"MA": 1})
    write_summary(folder / "summary.csv", [outcome], ["MA"])
    return None


def _read_report(folder: Path) -> object:
    from napari_fundus.evaluation.dataset_curves import read_curves

    return read_curves(folder)


def _read_preferences(folder: Path) -> object:
    from napari_fundus.runtime.preferences import preferences, save_preferences

    os.environ["NAPARI_FUNDUS_PREFERENCES"] = str(folder / "preferences.json")
    preferences()
    return save_preferences(device="cpu")


def _read_checkpoint(folder: Path) -> object:
    from napari_fundus.checkpoints import read_card, read_checkpoint
    from napari_fundus.errors import FundusError

    path = folder / "file.safetensors"
    with contextlib.suppress(FundusError):  # the whole reader is to be tried too
        read_card(path)
    return read_checkpoint(path)


def _read_job(folder: Path) -> object:
    from napari_fundus.training.jobs.config import read_training_config

    return read_training_config(folder)


def _with_image(
    name: str, table: str, content: bytes, damage: Damage
) -> Callable[[], list[SeedInput]]:
    """Return the case of a data set of one image and one table."""
    return lambda: [SeedInput({name: seeds.picture("PNG"), table: content}, table, damage)]


def _diaretdb1() -> list[SeedInput]:
    files = {"images/eye.png": seeds.picture("PNG")}
    drawn = {f"groundtruth/eye_0{n}_plain.xml": seeds.DIARETDB1_XML for n in (1, 2)}
    lists = {"ddb1_v02_01_train_plain.txt": b"images/eye.png groundtruth/eye_01_plain.xml\n"}
    together = {**files, **drawn, **lists}
    first, listed = next(iter(drawn)), next(iter(lists))
    return [SeedInput(together, first, damage_xml)] * 4 + [
        SeedInput(together, listed, damage_bytes)
    ]


def _roc() -> list[SeedInput]:
    image, table = "ROCtraining/image0_training.jpg", "ROCtraining/annotations-consensus.xml"
    return [SeedInput({image: seeds.picture("JPEG"), table: seeds.ROC_XML}, table, damage_xml)]


def _idrid() -> list[SeedInput]:
    image = "C. Localization/1. Original Images/a. Training Set/IDRiD_01.jpg"
    table = (
        "C. Localization/2. Groundtruths/1. Optic Disc Center Location/"
        "a. IDRiD_OD_Center_Training Set_Markups.csv"
    )
    return [SeedInput({image: seeds.picture("JPEG"), table: seeds.IDRID_CSV}, table, damage_csv)]


def _graded() -> list[SeedInput]:
    return [
        *_with_image("eye.png", "train.csv", seeds.GRADES_CSV, damage_csv)(),
        *_with_image("eye.png", "messidor_data.csv", seeds.MESSIDOR_CSV, damage_csv)(),
    ]


def _hei_med() -> list[SeedInput]:
    files = {
        "eye.jpg": seeds.picture("JPEG"),
        "eye.GND": b"2\nExudate 1\nMicroAneurysm 0\n0\n0\nNA\n",
        "eye.map.gz": seeds.hei_med_map(),
        "eye.meta": b"~ONrow~21\n~ONcol~30\n",
    }
    return [SeedInput(files, name, damage_bytes) for name in ("eye.GND", "eye.map.gz", "eye.meta")]


def _corrections() -> list[SeedInput]:
    files = seeds.correction()
    record = next(name for name in files if name.endswith("correction.json"))
    masks = [name for name in files if name.endswith(".tif")]
    return [SeedInput(files, record, damage_json)] * 4 + [SeedInput(files, masks[0], damage_tiff)]


def _zarr() -> list[SeedInput]:
    files = seeds.zarr_store()
    heads = [SeedInput(files, name, damage_json) for name in files if name.endswith("zarr.json")]
    return heads + [SeedInput(files, name, damage_bytes) for name in files if "/c/" in name] * 2


def _record() -> list[SeedInput]:
    files = {"eye.provenance.json": seeds.exported("json"), "summary.csv": seeds.SUMMARY_CSV}
    return [SeedInput(files, "eye.provenance.json", damage_json)]


_JOB = b"""{"detector": "unet", "data": "/data", "settings": {"epochs": 3}, "name": "x"}"""
_PREFERENCES = b"""{"device": "cpu", "memory_gb": 2.5, "colour_ma": "#ff0000", "cache": "/tmp/c"}"""


def _tiffs() -> list[SeedInput]:
    grey = seeds.retina()[..., 0]
    many = [
        seeds.tiff(),
        seeds.tiff(tile=(32, 32), compression="zlib", predictor=True),
        seeds.tiff(seeds.retina().astype("uint16") * 257, compression="lzw"),
        seeds.tiff(planarconfig="separate", photometric="rgb", compression="zlib"),
        seeds.tiff(seeds.retina().transpose(2, 0, 1).copy(), photometric="rgb"),
        seeds.tiff(grey, compression="packbits", rowsperstrip=8),
        seeds.tiff(grey.astype("float32") / 255, tile=(32, 32), predictor=True, compression="zlib"),
        seeds.tiff(compression="jpeg"),
        seeds.tiff(compression="jpeg", tile=(32, 32)),
        seeds.tiff(compression="webp", compressionargs={"level": 101}),
        seeds.picture("TIFF", "P"),
        seeds.picture("TIFF", "CMYK"),
        seeds.picture("TIFF", "1", compression="group4"),
    ]
    return [SeedInput({"image": content}, "image", damage_tiff) for content in many]


def _pngs() -> list[SeedInput]:
    many = [seeds.picture("PNG", mode) for mode in ("RGB", "RGBA", "L", "P", "1")]
    many += [seeds.png16(channels=1), seeds.png16(channels=3)]
    return [SeedInput({"image": content}, "image", damage_png) for content in many]


def _jpegs() -> list[SeedInput]:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    many = [
        seeds.picture("JPEG"),
        seeds.picture("JPEG", progressive=True),
        seeds.picture("JPEG", "CMYK"),
        seeds.picture("JPEG", "L", exif=exif),
        seeds.picture("MPO"),
    ]
    return [SeedInput({"image": content}, "image", damage_jpeg) for content in many]


def _other_images() -> list[SeedInput]:
    many = [
        seeds.picture("BMP"),
        seeds.picture("BMP", "P"),
        seeds.picture("GIF", "P"),
        seeds.picture("WEBP"),
        seeds.picture("WEBP", lossless=True),
        seeds.picture("PPM"),
        seeds.picture("PPM", "L"),
        seeds.picture("JPEG2000"),
        *([seeds.picture("AVIF")] if features.check("avif") else []),
    ]
    return [SeedInput({"image": content}, "image", damage_bytes) for content in many]


_ALL = (
    FuzzTarget("jpeg", _jpegs, _read_image),
    FuzzTarget("png", _pngs, _read_image),
    FuzzTarget("tiff", _tiffs, _read_image),
    FuzzTarget("bmp-gif-webp-ppm", _other_images, _read_image),
    FuzzTarget("masks", lambda: [*_pngs(), *_tiffs(), *_other_images()], _read_mask),
    FuzzTarget("diaretdb1", _diaretdb1, _read_dataset),
    FuzzTarget("roc", _roc, _read_dataset),
    FuzzTarget("idrid", _idrid, _read_dataset),
    FuzzTarget("hei-med", _hei_med, _read_dataset),
    FuzzTarget("grades", _graded, _read_dataset),
    FuzzTarget("via", _with_image("eye.png", "via.csv", seeds.VIA_CSV, damage_csv), _read_dataset),
    FuzzTarget(
        "via-project",
        _with_image("eye.png", "via.json", seeds.VIA_JSON, damage_json),
        _read_dataset,
    ),
    FuzzTarget(
        "coco", _with_image("eye.png", "eye.json", seeds.COCO_JSON, damage_json), _read_dataset
    ),
    FuzzTarget("corrections", _corrections, _read_dataset),
    FuzzTarget(
        "lesion-table",
        _one("file", damage_csv, partial(seeds.exported, "csv")),
        partial(_read_export, "read_csv"),
    ),
    FuzzTarget(
        "provenance",
        _one(
            "file", damage_json, *(partial(seeds.exported, k) for k in ("json", "coco", "geojson"))
        ),
        partial(_read_export, "read_provenance"),
    ),
    FuzzTarget(
        "labels-tiff",
        _one("file", damage_tiff, partial(seeds.exported, "labels")),
        partial(_read_export, "read_labels_tiff"),
    ),
    FuzzTarget(
        "probability-tiff",
        _one("file", damage_tiff, partial(seeds.exported, "probability")),
        partial(_read_export, "read_probability_tiff"),
    ),
    FuzzTarget("zarr", _zarr, _read_zarr),
    FuzzTarget("batch-record", _record, _read_record),
    FuzzTarget(
        "batch-summary", _one("summary.csv", damage_csv, lambda: seeds.SUMMARY_CSV), _read_summary
    ),
    FuzzTarget("report", _one("report.json", damage_json, seeds.report), _read_report),
    FuzzTarget(
        "preferences",
        _one("preferences.json", damage_json, lambda: _PREFERENCES),
        _read_preferences,
    ),
    FuzzTarget("training-job", _one("job.json", damage_json, lambda: _JOB), _read_job),
    FuzzTarget(
        "checkpoint",
        _one("file.safetensors", damage_safetensors, seeds.checkpoint),
        _read_checkpoint,
    ),
)

FUZZ_TARGETS: Mapping[str, FuzzTarget] = {subject.name: subject for subject in _ALL}
"""All readers of files in the package, by name."""
