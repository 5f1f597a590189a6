"""The Python snippets of the documentation run, page by page, on small data."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import napari_fundus as nf
from napari_fundus.datasets.corrections import write_correction
from napari_fundus.export import export

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^([ ]*)```python[^\n]*\n(.*?)^\1```", re.MULTILINE | re.DOTALL)

_INCLUDED = "--8<--"
"""A file of its own, which its own tests run."""

_QUICKER = {
    '"/data/': '"',
    '"/results/': '"results/',
    "1000:1100": "100:110",
    '"stride": 16': '"stride": 32',
    'b = nf.detect("eye.jpg", "voting")': 'b = nf.detect("eye.jpg", "tophat")',
    "trials=20": "trials=1",
    '"max_minutes": 10': '"max_epochs": 1, "steps_per_epoch": 2, "dry_steps": 0',
}
"""What readers' paths and patience are here."""


_FOLDERS = {"MA": "1. Microaneurysms", "HE": "2. Haemorrhages", "EX": "3. Hard Exudates"}
"""Of IDRiD's masks."""


def pages() -> list[Any]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    blocks = {
        page.relative_to(ROOT).as_posix(): [
            dedent(block) for _, block in BLOCK.findall(page.read_text("utf-8"))
        ]
        for page in found
    }
    return [pytest.param(blocks, id=name) for name, blocks in blocks.items() if blocks]


@pytest.fixture
def desk(tmp_path, monkeypatch, draw) -> dict[str, Any]:
    """Go to a folder with all that the pages speak of; return what they take as known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NAPARI_FUNDUS_PREFERENCES", str(tmp_path / "preferences.json"))
    idrid, own = tmp_path / "IDRiD/A. Segmentation", tmp_path / "my-images"
    images = idrid / "1. Original Images/a. Training Set"
    masks = idrid / "2. All Segmentation Groundtruths/a. Training Set"
    for folder in (own, images, *(masks / name for name in _FOLDERS.values())):
        folder.mkdir(parents=True)
    for stem, seed in (("IDRiD_01", 1), ("IDRiD_02", 2)):
        retina = draw(seed=seed)
        for folder in (own, images):
            Image.fromarray(retina.pixels).save(folder / f"{stem}.jpg")
        for code, name in _FOLDERS.items():
            mask = retina.masks[code].view(np.uint8)
            tifffile.imwrite(masks / name / f"{stem}_{code}.tif", mask)
            Image.fromarray(mask * 255).save(own / f"{stem}_{code}.png")
    retina = draw()
    Image.fromarray(retina.pixels).save("eye.jpg", quality=95)
    image = nf.read_image("eye.jpg")
    found = nf.detect(image, "tophat")
    export(found, "results", "eye", formats=["probability", "zarr"])
    found.instances.assign(path="eye.jpg").to_parquet("results/lesions.parquet")
    write_correction("corrections", image=image, labels={"MA": retina.masks["MA"]}, reviewed=["MA"])
    return {"nf": nf, "image": image, "mask": retina.masks["MA"], "result": found}


def test_there_is_something_to_run() -> None:
    told = "".join(block for page in pages() for block in page.values[0])
    assert len(pages()) > 10
    assert all(passage in told for passage in _QUICKER)


@pytest.mark.parametrize("blocks", pages())
def test_a_page_runs_from_its_first_snippet_to_its_last(blocks, desk) -> None:
    for block in blocks:
        if _INCLUDED in block:
            continue
        for told, here in _QUICKER.items():
            block = block.replace(told, here)
        exec(compile(block, "<snippet>", "exec"), desk)
