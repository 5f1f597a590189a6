"""All commands together, and ``--version``."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from napari_fundus._version import __version__
from napari_fundus.cli.catalogue import list_datasets, list_detectors
from napari_fundus.cli.demo import demo
from napari_fundus.cli.detect import detect
from napari_fundus.cli.evaluate import evaluate
from napari_fundus.cli.models import list_models
from napari_fundus.cli.preprocess import preprocess
from napari_fundus.cli.search import search
from napari_fundus.cli.train import train

app = typer.Typer(
    name="napari-fundus",
    help="Find diabetic-retinopathy lesions in fundus photographs. Research software, not a "
    "medical device.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("detectors")(list_detectors)
app.command("datasets")(list_datasets)
app.command("preprocess")(preprocess)
app.command("detect")(detect)
app.command("train")(train)
app.command("search")(search)
app.command("evaluate")(evaluate)
app.command("models")(list_models)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(f"napari-fundus {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version


def main() -> None:
    """Run the command line; end quietly where nobody reads its output any more, as after `head`.

    The exit status is 1 then, as that of typer and rich for what is printed while the command runs.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before this process began
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    try:
        try:
            app()
        finally:
            # What is still in the buffer would fail where Python ends, with a traceback.
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
