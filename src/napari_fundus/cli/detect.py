"""``napari-fundus detect``: find the lesions of files, folders and data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.errors import OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from napari_fundus.batch import BatchReport, ClusterReport, ImageOutcome

_MOST_WARNED = 50
"""Images whose warnings are printed after a run."""


@handle_errors
def detect(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Images, folders, data sets.", show_default=False),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to.", show_default=False)
    ],
    detector: Annotated[
        str,
        typer.Option("--detector", "-d", help="Which one: see `napari-fundus detectors`."),
    ] = DEFAULT_DETECTOR,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change an option of the detector, as in --set threshold=0.9 --set min_area=5; "
            "may be repeated. `napari-fundus detectors NAME` lists the fields of a detector with "
            "their bounds and defaults.",
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            "--threshold",
            metavar="CLASS=VALUE",
            help="Another threshold for one class, as in --threshold MA=0.8; may be repeated.",
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAMES",
            help="What to write, separated by commas: csv, coco, geojson, labels, probability, "
            "zarr, overlay.",
        ),
    ] = "csv,geojson,labels,overlay",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="I/N",
            help="Do only part I of N, as in --shard 3/16: for N jobs of a cluster on one output "
            "folder. Afterwards the command without it writes the whole summary.csv.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Share the work out to so many processes of this machine, by Dask. Tables are "
            "written as Parquet then.",
            show_default=False,
        ),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            metavar="ADDRESS",
            help="Share the work out to the workers of this Dask scheduler, as in "
            "--scheduler tcp://host:8786.",
            show_default=False,
        ),
    ] = None,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures",
            help="With --workers or --scheduler: stop when more images failed.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Do everything anew, replacing what is in the folder."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what became of each image as JSON.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Find lesions in images, folders and data sets, and write tables, outlines and pictures.

    What is done already with the same detector and options is skipped, so that a run that was
    stopped goes on where it was. Files that cannot be read are named at the end, and make the
    exit status 1; everything else is written. summary.csv in the output folder has a row for each
    image.
    """
    from napari_fundus.batch import ClusterConfig, ClusterReport, run_batch, run_on_cluster

    on_cluster = workers is not None or scheduler is not None
    if on_cluster and (shard is not None or as_json):
        raise OptionsError("--workers and --scheduler go without --shard and --json.")
    if max_failures is not None and not on_cluster:
        raise OptionsError("--max-failures goes with --workers or --scheduler.")
    console = stderr_console()
    warned: list[ImageOutcome] = []

    def report_outcome(outcome: ImageOutcome) -> None:
        if not console.is_terminal:
            _print_outcome(outcome, console)
        elif outcome.warnings:
            warned.append(outcome)

    arguments: dict[str, Any] = {
        "options": parse_settings(settings),
        "thresholds": _parse_thresholds(threshold),
        "device": device,
        "formats": [name.strip() for name in formats.split(",") if name.strip()],
        "overwrite": overwrite,
        "on_outcome": report_outcome,
    }
    with progress_bar(console) as arguments["monitor"]:
        if on_cluster:
            config = ClusterConfig(workers=workers, scheduler=scheduler, max_failures=max_failures)
            arguments["on_dashboard"] = lambda link: console.print(f"Dashboard: {link}")
            tables = "Results, images.parquet and lesions.parquet"
            summary = run_on_cluster(paths, output, detector, cluster=config, **arguments)
        else:
            tables = "Results and summary.csv"
            report = run_batch(paths, output, detector, shard=_parse_shard(shard), **arguments)
            summary = ClusterReport(
                written=len(report.written),
                skipped=len(report.skipped),
                failed=len(report.failed),
                failures=tuple(report.failed),
                output=report.output,
                interrupted=report.interrupted,
                passed_over=report.passed_over,
            )
    if not on_cluster and console.is_terminal and len(report.outcomes) == 1:
        _print_outcome(report.outcomes[0], console)
    elif warned:
        _print_warnings(warned, console)
    _print_summary(summary, tables, console, debug=debug)
    if as_json:
        echo(json.dumps(_as_json(report), indent=2))
    if summary.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if summary.failed or summary.stopped:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def _parse_shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    part, _, parts = text.partition("/")
    try:
        return int(part), int(parts)
    except ValueError:
        raise OptionsError(f"--shard takes I/N, as in 3/16, not {text!r}.") from None


def _parse_thresholds(settings: list[str] | None) -> dict[str, float]:
    thresholds: dict[str, float] = {}
    for text in settings or ():
        code, _, value = text.partition("=")
        try:
            thresholds[code.strip()] = float(value)
        except ValueError:
            raise OptionsError(
                f"--threshold takes CLASS=VALUE, as in MA=0.8, not {text!r}."
            ) from None
    return thresholds


def _print_outcome(outcome: ImageOutcome, console: Console) -> None:
    """Print one line about an image; in place of the bar, where there is no terminal."""
    if outcome.status != "failed":
        parts = [_count(code, outcome) for code in outcome.counts]
        parts += [f"{name} {value:.2f}" for name, value in outcome.scores.items()]
        line = f"{outcome.status}: {outcome.path} ({', '.join(parts) or 'no lesions'})"
        console.print(line)
        for warning in outcome.warnings:
            console.print(f"  Warning: {warning}", style="yellow")


def _print_warnings(outcomes: list[ImageOutcome], console: Console) -> None:
    """Print what is to be known of images, after the bar."""
    console.print(f"To be looked at ({len(outcomes)}):", style="bold yellow")
    for outcome in outcomes[:_MOST_WARNED]:
        console.print(f"  {outcome.path}: {' '.join(outcome.warnings)}")
    if len(outcomes) > _MOST_WARNED:
        console.print("  … the rest is in the table of images, column warnings")


def _count(code: str, outcome: ImageOutcome) -> str:
    """Return class, number, and area where there is any, as in ``EX 12 (0.42 % of the field)``."""
    from napari_fundus.results.quantification import format_percent

    number = outcome.counts[code]
    share = outcome.extent.get("classes", {}).get(code, {}).get("area_percent")
    if not number or share is None:
        return f"{code} {number}"
    return f"{code} {number} ({format_percent(share)} of the field)"


def _print_summary(report: ClusterReport, tables: str, console: Console, *, debug: bool) -> None:
    from napari_fundus.batch.listing import describe_passed_over

    if report.failures:
        console.print(f"Not done ({report.failed}):", style="bold red")
    for outcome in report.failures:
        # Messages of files mostly begin with the file's path already.
        names_path = outcome.message.startswith(str(outcome.path))
        console.print(
            f"  {outcome.message}" if names_path else f"  {outcome.path}: {outcome.message}"
        )
        if debug:
            console.print(outcome.traceback)
    if report.failed > len(report.failures):
        console.print("  … the rest is in images.parquet")
    if report.passed_over:
        console.print(f"Passed over, no photographs: {describe_passed_over(report.passed_over)}")
    if report.interrupted or report.stopped:
        reason = f"{report.stopped} " if report.stopped else ""
        console.print(
            f"{reason}Stopped. What is done is kept: the same command goes on from here.",
            style="bold",
        )
    console.print(
        f"{report.written} written, {report.skipped} done before, {report.failed} failed. "
        f"{tables} are in {report.output}"
    )


def _as_json(report: BatchReport) -> dict[str, Any]:
    return {
        "output": str(report.output),
        "interrupted": report.interrupted,
        "passed_over": dict(report.passed_over),
        "images": [
            {
                "path": str(outcome.path),
                "status": outcome.status,
                "place": outcome.output_stem.as_posix(),
                "counts": outcome.counts,
                "extent": outcome.extent,
                "scores": outcome.scores,
                "warnings": outcome.warnings,
                "seconds": round(outcome.seconds, 3),
                "message": outcome.message,
            }
            for outcome in report.outcomes
        ],
    }
