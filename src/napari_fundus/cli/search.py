"""``napari-fundus search``: train with many settings, and report the best."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    EXIT_INTERRUPTED,
    DebugOption,
    DeviceOption,
    cancel_on_interrupt,
    echo,
    handle_errors,
    parse_settings,
    progress_bar,
    stderr_console,
)
from napari_fundus.errors import Cancelled, OptionsError

if TYPE_CHECKING:
    from napari_fundus.training import TrainingEvent


@handle_errors
def search(
    detector: Annotated[str, typer.Argument(help="Which detector to train, such as unet.")],
    *,
    data: Annotated[Path, typer.Option("--data", help="Data set to train on.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the search.", show_default=False)
    ],
    healthy: Annotated[
        Path | None, typer.Option("--healthy", help="Folder of images without any disease.")
    ] = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            "-r",
            metavar="FIELD=VALUES",
            help="Search this setting: LOW:HIGH, LOW:HIGH:log or A|B|C, as in "
            "--range learning_rate=1e-4:1e-2:log; may be repeated. Left out: what the detector "
            "suggests.",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="A setting that is the same in all trials, as in --set max_minutes=10; may be "
            "repeated.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option("--trials", min=1, help="How many in all.")] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Of what is proposed.")] = 0,
    device: DeviceOption = "auto",
    debug: DebugOption = False,
) -> None:
    """Search for good settings of a training (Optuna); bad trials end early.

    The same command resumes a search that was stopped. The folder holds a training for each trial,
    search.json, and plots of the history, the curves, and the importance of each setting.
    """
    del debug
    from napari_fundus.plugins import get_detector
    from napari_fundus.training import EpochEnd
    from napari_fundus.training.search import search as run_search
    from napari_fundus.training.search.ranges import SearchRange

    trainee = get_detector(detector)
    wanted: dict[str, Any] = parse_settings(ranges, option="--range") or dict(trainee.search_ranges)
    if not wanted:
        raise OptionsError(f"{detector} suggests nothing to search: give --range FIELD=VALUES.")
    console = stderr_console()

    def print_event(number: int, event: TrainingEvent) -> None:
        if isinstance(event, EpochEnd):
            value = event.metrics[event.metric]
            title = f"trial {number + 1}, epoch {event.epoch + 1}"
            console.print(f"{title}: {event.metric} {value:.4f}")

    with progress_bar(console) as monitor, cancel_on_interrupt(monitor):
        try:
            result = run_search(
                trainee.train,
                output,
                ranges={name: SearchRange.parse(str(text)) for name, text in wanted.items()},
                trials=trials,
                settings=parse_settings(settings),
                seed=seed,
                monitor=monitor,
                on_event=print_event,
                data=data,
                healthy=healthy,
                device=device,
                command=shlex.join(["napari-fundus", *sys.argv[1:]]),
            )
        except Cancelled as error:
            console.print(str(error))
            raise typer.Exit(EXIT_INTERRUPTED) from None
    lines = [
        f"{result.trials} trials finished, {result.pruned} ended early.",
        f"best     {result.metric} {result.value:.4f}",
        *(f"         {name} = {value}" for name, value in result.settings.items()),
        f"file     {result.checkpoint}",
        f"table    {output / 'search.json'}",
    ]
    echo("\n".join(lines))
