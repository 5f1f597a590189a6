"""A report as files in a folder: Markdown, JSON, a table of images, pictures."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

from napari_fundus.evaluation.crop_page import classes_with_crops, plot_crops
from napari_fundus.evaluation.markdown import to_markdown
from napari_fundus.evaluation.protocols.figure_layout import save_figure
from napari_fundus.evaluation.results import Report
from napari_fundus.runtime.files import atomic_write, raise_if_exists, write_json
from napari_fundus.runtime.progress import Monitor

_JSON, _MARKDOWN, _TABLE = "report.json", "report.md", "images.csv"
_FIRST = ("detector", "image", "split", "class", "healthy", "weights_saw_it", "seconds", "device")


def check_report_folder(folder: str | Path, *, overwrite: bool = False) -> Path:
    """Return the folder, if a report may be written there; call it before the work is done.

    Raises
    ------
    OutputExistsError
        There is a report already, and `overwrite` is False.
    """
    path = Path(folder).expanduser()
    for name in (_JSON, _MARKDOWN, _TABLE):
        raise_if_exists(path / name, overwrite=overwrite)
    return path


def write_report(
    report: Report,
    folder: str | Path,
    *,
    overwrite: bool = False,
    monitor: Monitor | None = None,
) -> list[Path]:
    """Write all files of a report, each whole or not at all.

    Parameters
    ----------
    report
        What `evaluate` returned.
    folder
        Where to: ``report.md``, ``report.json``, ``images.csv``, the plots of the protocols
        (``froc.png``, ``precision_recall.png``, …), and ``crops_<class>.png`` for each class.
    overwrite
        Whether an earlier report may be replaced.
    monitor
        Takes progress, and may cancel.

    Returns
    -------
    list of Path
        The files, ``report.md`` last.

    Raises
    ------
    OutputExistsError
        There is a report already, and `overwrite` is False.
    """
    path = check_report_folder(folder, overwrite=overwrite)
    monitor = monitor or Monitor()
    pictures: list[Path] = []
    monitor.step(0.0, "intervals and curves")
    for name, draw in report.plots().items():
        pictures.append(path / f"{name}.png")
        # The earlier pictures of an unfinished report may be replaced.
        save_figure(draw(), pictures[-1], overwrite=True)
    for code in monitor.track(classes_with_crops(report), message="pictures"):
        pictures.append(path / f"crops_{code}.png")
        save_figure(plot_crops(report, code), pictures[-1], overwrite=True)
    _write_table(report, path / _TABLE, overwrite=overwrite)
    write_json(path / _JSON, report.to_json(), overwrite=overwrite)
    with atomic_write(path / _MARKDOWN, overwrite=overwrite) as temporary:
        text = to_markdown(report, pictures=[picture.name for picture in pictures])
        temporary.write_text(text, encoding="utf-8")
    return [*pictures, path / _TABLE, path / _JSON, path / _MARKDOWN]


def _write_table(report: Report, path: Path, *, overwrite: bool) -> None:
    rows = list(_rows(report))
    names = dict.fromkeys([*_FIRST, *(name for row in rows for name in row)])
    with (
        atomic_write(path, overwrite=overwrite) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, list(names), restval="")
        writer.writeheader()
        writer.writerows(rows)


def _rows(report: Report) -> list[dict[str, Any]]:
    """Return a row for each detector, image and class; one without class where none was counted."""
    rows: list[dict[str, Any]] = []
    for trial in report.trials:
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for counter in trial.counters:
            for (sample, code), metrics in counter.image_rows().items():
                found.setdefault(sample, {}).setdefault(code, {}).update(metrics)
        for record in trial.images:
            common = {
                "detector": trial.candidate.label,
                "image": record.sample,
                "split": record.split or "",
                "healthy": int(record.healthy),
                "weights_saw_it": int(record.seen),
                "seconds": record.seconds,
                "device": record.device,
            }
            classes = found.get(record.sample) or {"": {}}
            rows += [
                {**common, "class": code, **{n: _number(v) for n, v in metrics.items()}}
                for code, metrics in classes.items()
            ]
    return rows


def _number(value: float) -> float | int | str:
    if isinstance(value, int):
        return value
    return "" if math.isnan(value) else round(value, 6)
