"""``napari-fundus detect`` with ``--workers`` or ``--scheduler``: the run, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from napari_fundus.cli.common import EXIT_FAILED_ITEMS, EXIT_INTERRUPTED, progress_bar

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["detect_on_cluster"]


def detect_on_cluster(
    paths: Sequence[Path],
    output: Path,
    detector: str,
    places: Mapping[str, Any],
    told: Mapping[str, Any],
    console: Console,
    *,
    debug: bool,
) -> None:
    """Run a batch on a cluster, and end as `napari-fundus detect` does.

    Parameters
    ----------
    paths, output, detector
        As on the command line.
    places
        Fields of `napari_fundus.batch.ClusterConfig`.
    told
        What `run_batch` and `run_on_cluster` are both told.
    console
        For messages.
    debug
        Whether to show the tracebacks of failures.
    """
    from napari_fundus.batch import ClusterConfig, run_on_cluster

    say = console.print
    with progress_bar(console) as monitor:
        report = run_on_cluster(
            paths,
            output,
            detector,
            cluster=ClusterConfig(**places),
            monitor=monitor,
            on_dashboard=lambda link: say(f"Dashboard: {link}"),
            **told,
        )
    if report.failures:
        say(f"Not done ({report.failed}):", style="bold red")
    for outcome in report.failures:
        say(f"  {outcome.path}: {outcome.message}")
        if debug:
            say(outcome.details)
    if report.failed > len(report.failures):
        say("  … the rest stands in images.parquet")
    if report.interrupted or report.stopped:
        why = f"{report.stopped} " if report.stopped else ""
        say(
            f"{why}Stopped. What is done is kept: the same command goes on from here.", style="bold"
        )
    say(
        f"{report.written} written, {report.skipped} done before, {report.failed} failed. "
        f"Results, images.parquet and lesions.parquet are in {report.output}"
    )
    if report.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failed or report.stopped:
        raise typer.Exit(EXIT_FAILED_ITEMS)
