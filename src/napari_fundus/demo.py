"""The main job from end to end on the photograph that ships with the package."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from napari_fundus.datasets import open_dataset
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.evaluation.assessment import assess
from napari_fundus.export import PREPROCESSED, export
from napari_fundus.image import FundusImage
from napari_fundus.lesions import DR_LESIONS, describe
from napari_fundus.plugins import get_detector
from napari_fundus.preprocessing import Recipe
from napari_fundus.results.detections import Detections
from napari_fundus.runtime.files import atomic_write, raise_if_exists
from napari_fundus.runtime.progress import Monitor
from napari_fundus.samples import SAMPLE_CREDIT, sample_folder

FORMATS = ("csv", "coco", "geojson", "labels", "overlay")
"""What the demo writes."""


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found and wrote.

    Attributes
    ----------
    image
        The photograph.
    masks
        Class code to the experts' mask: bool, shape (H, W).
    detections
        What the detector found.
    comparison
        One row a class; see `napari_fundus.evaluation.Assessment.metrics`.
    files
        What was written, by kind.
    seconds
        Time from reading to writing.
    """

    image: FundusImage
    masks: Mapping[str, npt.NDArray[np.bool_]]
    detections: Detections
    comparison: pd.DataFrame
    files: Mapping[str, Path]
    seconds: float


def make_demo(
    output: str | Path,
    *,
    detector: str = DEFAULT_DETECTOR,
    recipe: str = "local_mean",
    device: str = "auto",
    overwrite: bool = False,
    monitor: Monitor | None = None,
) -> DemoResult:
    """Preprocess the sample, find its lesions, compare with the experts, and write the results.

    Parameters
    ----------
    output
        Folder to write to.
    detector, recipe
        Names of an installed detector and of a preset of the preprocessing.
    device
        As `napari_fundus.detect` takes it.
    overwrite
        Whether files of an earlier demo may be replaced.
    monitor
        Takes progress and may cancel.

    Raises
    ------
    OutputExistsError
        A file exists, and `overwrite` is False.
    """
    output = Path(output).expanduser()
    monitor = monitor or Monitor()
    start = time.perf_counter()
    (sample,) = open_dataset(sample_folder())
    prepared_path = output / f"{sample.image_path.stem}{PREPROCESSED}.png"
    raise_if_exists(prepared_path, overwrite=overwrite)
    monitor.step(0.0, "reading")
    image = sample.image()
    masks = {
        str(code): sample.mask(code, image.shape) for code in DR_LESIONS if code in sample.annotated
    }
    monitor.step(0.1, "preprocessing")
    _write_picture(Recipe.preset(recipe).apply(image).pixels, prepared_path, overwrite=overwrite)
    detections = get_detector(detector).detect(image, device=device, monitor=monitor.part(0.2, 0.8))
    monitor.step(0.8, "comparing with the experts")
    comparison = assess(detections, masks).metrics
    monitor.step(0.9, "writing")
    files = export(
        detections, output, formats=FORMATS, image=image, truth=masks, overwrite=overwrite
    )
    monitor.step(1.0, "done")
    return DemoResult(
        image=image,
        masks=masks,
        detections=detections,
        comparison=comparison,
        files={"preprocessed": prepared_path, **files},
        seconds=time.perf_counter() - start,
    )


def show_demo(result: DemoResult, *, show: bool | None = None) -> None:
    """Print what the demo found, and open napari until it is closed.

    Parameters
    ----------
    result
        Of :func:`make_demo`.
    show
        False only prints; None and True open napari where that can be done.
    """
    _print(result)
    if show is False:
        return
    if obstacle := display_unavailable_reason():
        print(f"napari was not opened: {obstacle}")
        return
    from napari_fundus.gui import open_demo

    open_demo(result.image, result.detections, result.masks)


def display_unavailable_reason() -> str:
    """Return why napari cannot be opened here; empty if it can."""
    if importlib.util.find_spec("napari") is None:
        return "it is not installed. Install it with: pip install 'napari-fundus[all]'"
    displays = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform not in ("darwin", "win32") and not any(map(os.environ.get, displays)):
        return "there is no display."
    return _qt_unavailable_reason()


def _qt_unavailable_reason() -> str:
    """Return why Qt cannot open a window; tried in another process, since Qt aborts its own."""
    code = "from qtpy.QtWidgets import QApplication; QApplication([])"
    tried = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, check=False)
    if tried.returncode == 0:
        return ""
    message = tried.stderr.decode(errors="replace").split("This application failed")[0]
    return f"Qt cannot open a window here: {' '.join(message.split())}"


def _write_picture(pixels: npt.NDArray[np.uint8], path: Path, *, overwrite: bool) -> None:
    from PIL import Image

    with atomic_write(path, overwrite=overwrite) as temporary:
        Image.fromarray(pixels).save(temporary, compress_level=1)


def _print(result: DemoResult) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    origin = result.detections.provenance
    console.print(SAMPLE_CREDIT, markup=False, soft_wrap=True)
    table = Table(
        title=f"{origin.detector} {origin.detector_version} beside the experts' masks",
        title_justify="left",
        title_style="bold",
        box=SIMPLE,
        pad_edge=False,
    )
    table.add_column("class", no_wrap=True)
    for heading in ("drawn", "found", "false", "sens.", "prec.", "Dice", "AUPR"):
        table.add_column(heading, justify="right")
    for row in result.comparison.to_dict("records"):
        ratios = (row[key] for key in ("sensitivity", "precision", "dice", "aupr"))
        table.add_row(
            describe(row["lesion"]).plural,
            *(str(row[key]) for key in ("lesions", "found", "false_positives")),
            *("-" if np.isnan(value) else f"{value:.3f}" for value in ratios),
        )
    console.print(table)
    left_out = [describe(c).plural for c in result.masks if c not in result.detections.lesions]
    if left_out:
        console.print(f"Drawn by the experts, but not looked for: {', '.join(left_out)}.")
    console.print(f"Done in {result.seconds:.1f} s. Written:")
    for kind, path in result.files.items():
        console.print(f"  {kind:<13} {path}", markup=False, soft_wrap=True)
