"""``napari-fundus demo``: the main job on the photograph that ships with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from napari_fundus.cli.common import (
    DebugOption,
    DeviceOption,
    handle_errors,
    progress_bar,
    stderr_console,
)
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.errors import FundusError


@handle_errors
def demo(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "demo-output"
    ),
    show: Annotated[
        bool | None,
        typer.Option(
            "--show/--no-show",
            help="Open napari at the end; by default where there is a display.",
            show_default=False,
        ),
    ] = None,
    detector: Annotated[
        str, typer.Option("--detector", "-d", help="Which one.")
    ] = DEFAULT_DETECTOR,
    device: DeviceOption = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier demo.")
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Preprocess a real photograph, find its lesions, and compare them with the experts' masks.

    Writes a picture, a table, COCO JSON and GeoJSON, and opens napari where there is a display.
    """
    del debug
    from napari_fundus.demo import display_unavailable_reason, make_demo, show_demo

    if show and (obstacle := display_unavailable_reason()):
        raise FundusError(f"napari cannot be opened: {obstacle}")
    with progress_bar(stderr_console()) as monitor:
        result = make_demo(
            output, detector=detector, device=device, overwrite=overwrite, monitor=monitor
        )
    show_demo(result, show=show)
