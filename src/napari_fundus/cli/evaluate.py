"""``napari-fundus evaluate``: measure detectors side by side on a data set."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from napari_fundus.cli.common import (
    EXIT_FAILED_ITEMS,
    EXIT_INTERRUPTED,
    DebugOption,
    DeviceOption,
    echo,
    handle_errors,
    parse_settings,
    progress_bar,
    stderr_console,
)
from napari_fundus.errors import Cancelled, OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from napari_fundus.datasets import Dataset
    from napari_fundus.evaluation import Candidate, Report, Selection

_STEPS = {"33": 33, "11": 11, "exact": 0}


@handle_errors
def evaluate(
    path: Annotated[Path, typer.Argument(help="Folder of a data set.", show_default=False)],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the report.", show_default=False)
    ],
    detectors: Annotated[
        list[str],
        typer.Option(
            "--detector",
            "-d",
            metavar="NAME[@WEIGHTS]",
            help="What to measure; several, separated by commas or by repeating this, stand side "
            "by side. voting@RUN/best.safetensors names weights.",
            show_default=False,
        ),
    ],
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", help="Weights of the one detector that takes any."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="[NAME.]FIELD=VALUE",
            help="Change an option of all detectors that have it, or of one: voting.stride=4; may "
            "be repeated.",
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            "--protocol",
            "-p",
            help="froc, aupr, overlap, instances, image; of classifiers: classification, "
            "localization; any of a plugin; separated by commas.",
        ),
    ] = "aupr,froc,overlap",
    lesions: Annotated[
        str | None, typer.Option("--lesions", metavar="CODES", help="Classes, such as MA,HE.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="held-back (by the weights' card), test, valid, train or all. Left out: held-back "
            "where a card names images of this data set, else test, else all.",
        ),
    ] = None,
    healthy: Annotated[
        Path | None, typer.Option("--healthy", help="Folder of images without any disease.")
    ] = None,
    graded: Annotated[
        bool,
        typer.Option(
            "--graded/--no-graded",
            help="Count images of grade 0 without masks as healthy, or leave them out.",
        ),
    ] = True,
    thresholds: Annotated[
        str, typer.Option("--thresholds", help="Of AUPR: 33, 11, exact; separated by commas.")
    ] = "33,11,exact",
    points: Annotated[
        str, typer.Option("--points", help="Of FROC: cpm (1/8 to 8 FPI) or roc (1 to 20 FPI).")
    ] = "cpm",
    dilated_at: Annotated[
        int,
        typer.Option(
            "--dilated-at",
            min=64,
            help="Of instances: width of the retina in px at which true lesions are dilated twice "
            "by 5x5.",
        ),
    ] = 1024,
    cache: Annotated[
        Path | None,
        typer.Option(
            "--cache",
            help="Where maps are kept; else in the preferred cache, or in the report's folder.",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option("--resamples", min=10, help="Of the bootstrap over images.")
    ] = 1000,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the report in the folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print report.json.")] = False,
    debug: DebugOption = False,
) -> None:
    """Measure detectors on a data set, and write a report with figures, curves and crops.

    Each detector sees each image once: its maps are kept, so that the same command goes on after
    it was stopped, and other thresholds and protocols cost no further run. Images that the weights
    were trained on are warned of loudly.
    """
    del debug
    from napari_fundus.datasets import open_dataset
    from napari_fundus.evaluation import check_report_folder, select_samples, write_report
    from napari_fundus.evaluation import evaluate_dataset as measure
    from napari_fundus.metrics import CPM_POINTS, ROC_POINTS
    from napari_fundus.runtime.preferences import cache_folder

    steps = [_parse_choice(name, _STEPS, "--thresholds") for name in _split_commas(thresholds)]
    read_at = _parse_choice(points, {"cpm": CPM_POINTS, "roc": ROC_POINTS}, "--points")
    folder = check_report_folder(output, overwrite=overwrite)
    candidates = _candidates(detectors, checkpoint, settings)
    dataset = open_dataset(path)
    selection = select_samples(
        dataset,
        candidates,
        split=_split(split),
        healthy=None if healthy is None else open_dataset(healthy, "folder"),
        graded=graded,
    )
    console = stderr_console()
    console.print(f"{len(selection.samples)} images ({selection.split}): {selection.note}.")
    try:
        with progress_bar(console) as monitor:
            report = measure(
                selection.samples,
                candidates,
                protocols=_split_commas(protocol),
                lesions=_split_commas(lesions) if lesions else None,
                points=read_at,
                steps=steps,
                resamples=resamples,
                dilated_at=dilated_at,
                cache=cache or cache_folder("maps", default=False) or folder / "maps",
                device=device,
                monitor=monitor.part(0, 0.95),
                source=_source(dataset, selection),
                known=dataset,
            )
            files = write_report(report, folder, overwrite=overwrite, monitor=monitor.part(0.95, 1))
    except (KeyboardInterrupt, Cancelled):
        console.print("Stopped. Maps are kept: the same command goes on from here.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        echo(json.dumps(report.to_json(), indent=2))
    _print_report(report, files[-1], console)
    if report.problems:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def _split_commas(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _parse_choice(name: str, choices: dict[str, Any], option: str) -> Any:
    if name not in choices:
        raise OptionsError(f"{option} takes {', '.join(choices)}, not {name!r}.")
    return choices[name]


def _split(name: str | None) -> Literal["held-back", "test", "valid", "train", "all"] | None:
    from napari_fundus.evaluation import SPLITS

    if name is not None and name not in SPLITS:
        raise OptionsError(f"--split takes {', '.join(SPLITS)}, not {name!r}.")
    return cast("Literal['held-back', 'test', 'valid', 'train', 'all'] | None", name)


def _candidates(
    given: Sequence[str], checkpoint: str | None, settings: list[str] | None
) -> list[Candidate]:
    """Return the detectors with their options; every setting must be taken by one of them."""
    from napari_fundus.evaluation import Candidate
    from napari_fundus.plugins import get_detector

    named = [word.partition("@") for words in given for word in _split_commas(words)]
    wanted = [(get_detector(name), weights) for name, _, weights in named]
    values = parse_settings(settings)
    if checkpoint is not None:
        takers = [d for d, weights in wanted if "checkpoint" in d.Options.model_fields]
        if len(takers) != 1:
            raise OptionsError(
                f"--checkpoint is for one detector that takes weights; here are {len(takers)}. "
                "Name them as in --detector voting@WEIGHTS."
            )
        values[f"{takers[0].name}.checkpoint"] = checkpoint
    unused = set(values)
    candidates = []
    for detector, weights in wanted:
        chosen: dict[str, Any] = {}
        for name, value in values.items():
            of, _, field = name.rpartition(".")
            if of == detector.name or (not of and field in detector.Options.model_fields):
                chosen[field] = value
                unused.discard(name)
        if weights:
            chosen["checkpoint"] = weights
        candidates.append(Candidate.of(detector, chosen))
    if unused:
        raise OptionsError(
            f"None of the detectors has the option {', '.join(sorted(unused))}; `napari-fundus "
            "detectors NAME` lists the options of one."
        )
    return candidates


def _source(dataset: Dataset, selection: Selection) -> Any:
    from napari_fundus.evaluation import ReportSource

    return ReportSource(
        name=dataset.name,
        title=dataset.title,
        licence=dataset.licence,
        root=str(dataset.root),
        split=selection.split,
        note=selection.note,
        command=shlex.join(["napari-fundus", *sys.argv[1:]]),
    )


def _print_report(report: Report, page: Path, console: Console) -> None:
    """Say what to beware of, the main figure of each protocol, and where the report is."""
    from napari_fundus.metrics import Interval

    for warning in report.warnings:
        console.print(f"WARNING: {warning}", style="bold red")
    for name, reason in report.problems.items():
        console.print(f"  {name}: {reason}")
    for protocol in report.protocols:
        for trial in report.trials:
            label = trial.candidate.label
            for row, metrics in report.metrics(label, protocol.name).items():
                main = next(((n, v) for n, v in metrics.items() if isinstance(v, Interval)), None)
                if main is not None:
                    line = f"{protocol.name:8} {row:4} {label}: {main[0]} {main[1]}"
                    console.print(line)
    console.print(f"The report is {page}")
