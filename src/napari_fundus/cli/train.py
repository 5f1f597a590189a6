"""``napari-fundus train``: train a detector's weights on a data set."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    INTERRUPTED,
    Debug,
    Device,
    messages,
    one_line_errors,
    parse_settings,
    progress_bar,
    stopping,
)
from napari_fundus.errors import Cancelled, OptionsError

if TYPE_CHECKING:
    from rich.console import Console

    from napari_fundus.monitor import Monitor
    from napari_fundus.training import (
        CrossValidated,
        CrossValidation,
        Finished,
        FoldStarted,
        TrainingEvent,
    )

__all__ = ["train"]


@one_line_errors
def train(
    detector: Annotated[str, typer.Argument(help="Which detector to train, such as voting.")],
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Data set with lesions drawn.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run.", show_default=False)
    ],
    healthy: Annotated[
        Path | None, typer.Option("--healthy", help="Folder of images without any disease.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a setting, as in --set max_minutes=30 --set learning_rate=1e-3; may be "
            "repeated. A wrong name lists all there are.",
        ),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            "--scheme",
            help="Which weights to train on from --checkpoint: full, interleaved, freeze_5, "
            "freeze_5_bn, none.",
        ),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Weights to start from: a name or a path.")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            min=2,
            help="Cross-validate: train so many times, each time with another part of the images "
            "held back, into RUN/fold_1 and so on; cross-validation.md sums up.",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="Name of the weights; else that of the folder.")
    ] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, if there is one.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run in the folder.")
    ] = False,
    device: Device = "auto",
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the model card, or the folds' figures, as JSON."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a detector, telling first what is trained on what, then a line for each epoch.

    Some images are held back to validate on, never such of an eye that is trained on.
    best.safetensors in the run's folder holds the best weights, with a card that tells how they
    were made. Ctrl-C stops after the step being made; the same command with --resume goes on.
    """
    del debug
    from napari_fundus.plugins import get_detector
    from napari_fundus.training import CrossValidated, cross_validate

    chosen: dict[str, Any] = parse_settings(settings)
    if folds is not None and {"folds", "fold"} & chosen.keys():
        raise OptionsError("The folds are given twice: as --folds and with --set.")
    if scheme is not None:
        if "scheme" in chosen:
            raise OptionsError("The scheme is given twice: as --scheme and with --set.")
        chosen["scheme"] = scheme
    console = messages()
    trainee = get_detector(detector)
    command = shlex.join(["napari-fundus", *sys.argv[1:]])
    shared = {"data": data, "healthy": healthy, "checkpoint": checkpoint, "command": command}

    def begin(
        fold: int | None = None, *, output: Path, monitor: Monitor, resume: bool, overwrite: bool
    ) -> Iterator[TrainingEvent]:
        held_back, title = {}, name
        if fold is not None:
            held_back = {"folds": folds, "fold": fold}
            title = f"{name or output.resolve().parent.name}-fold-{fold}"
        return trainee.train(
            output=output,
            settings={**chosen, **held_back},
            name=title,
            device=device,
            monitor=monitor,
            resume=resume,
            overwrite=overwrite,
            **shared,
        )

    last: Finished | CrossValidated | None = None
    with progress_bar(console) as monitor, stopping(monitor):
        place: dict[str, Any] = {"monitor": monitor, "resume": resume, "overwrite": overwrite}
        events: Iterator[TrainingEvent | FoldStarted | CrossValidated]
        if folds is None:
            events = begin(output=output, **place)
        else:
            identity = _identity(detector, data, healthy, checkpoint, chosen)
            events = cross_validate(begin, folds, output, identity=identity, **place)
        try:
            for event in events:
                last = _tell(event, console) or last
        except Cancelled as error:
            console.print(str(error), markup=False, soft_wrap=True)
            raise typer.Exit(INTERRUPTED) from None
    if isinstance(last, CrossValidated):
        _tell_folds(last.summary, output, as_json=as_json)
    elif last is not None:
        _tell_end(last, detector, as_json=as_json)


def _identity(
    detector: str,
    data: Path,
    healthy: Path | None,
    checkpoint: str | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Return what the folds of a cross-validation have in common."""
    return {
        "detector": detector,
        "data": str(data.resolve()),
        "healthy": None if healthy is None else str(healthy.resolve()),
        "checkpoint": checkpoint,
        "settings": settings,
    }


def _tell(
    event: TrainingEvent | FoldStarted | CrossValidated, console: Console
) -> Finished | CrossValidated | None:
    """Print the report and a line an epoch; return the event if it is a last one."""
    from napari_fundus.training import CrossValidated, EpochEnd, Finished, FoldStarted, Started

    def say(text: str) -> None:
        console.print(text, markup=False, soft_wrap=True)

    if isinstance(event, Started):
        say(event.report.text())
        if event.epoch or event.step:
            say(f"Going on in epoch {event.epoch + 1} after step {event.step}.")
    elif isinstance(event, EpochEnd):
        figures = ", ".join(f"{name} {value:.4f}" for name, value in event.metrics.items())
        say(f"epoch {event.epoch + 1}: {figures}{' (best)' if event.improved else ''}")
    elif isinstance(event, FoldStarted):
        say(f"Fold {event.fold} of {event.folds}")
    elif isinstance(event, Finished | CrossValidated):
        return event
    return None


def _tell_folds(summary: CrossValidation, output: Path, *, as_json: bool) -> None:
    from napari_fundus.training.fold_summary import SUMMARY

    if as_json:
        typer.echo(summary.model_dump_json(indent=2))
        return
    typer.echo(summary.markdown())
    typer.echo(
        f"\nWritten to {output / SUMMARY}.md and .json; weights in {output}/fold_1 and so on."
    )


def _tell_end(finished: Finished, detector: str, *, as_json: bool) -> None:
    from napari_fundus.checkpoints import read_card

    path = finished.best.path
    card = read_card(path)
    if as_json:
        typer.echo(card.model_dump_json(indent=2))
        return
    figures = ", ".join(f"{key} {value:.4f}" for key, value in card.metrics.items())
    licence = f" ({card.data_licence})" if card.data_licence else ""
    lines = [
        f"Ended by {finished.reason} after {finished.epochs} epochs, {finished.steps:,} steps and "
        f"{finished.seconds / 60:.1f} min; {finished.wait_share:.1%} of it waiting for data.",
        f"name     {card.name}",
        f"finds    {' '.join(card.lesions)}",
        f"data     {card.data}{licence}",
        f"split    {len(card.split.train)} images trained on, {len(card.split.validation)} held "
        "back",
        f"figures  {figures}",
        f"file     {path} ({path.stat().st_size / 1e6:.2f} MB)",
        f"Use it:  napari-fundus detect IMAGE -d {detector} --set checkpoint={path} -o FOLDER",
    ]
    typer.echo("\n".join(lines))
