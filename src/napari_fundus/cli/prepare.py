"""``napari-fundus preprocess``: enhance, crop and resize pictures by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    FAILED_ITEMS,
    Debug,
    Settings,
    messages,
    one_line_errors,
    parse_settings,
    progress_bar,
)
from napari_fundus.errors import FundusError

if TYPE_CHECKING:
    from napari_fundus.preprocessing import Recipe

__all__ = ["prepare"]


@one_line_errors
def prepare(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Images, folders, data sets.", show_default=False),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to.", show_default=False)
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="Name of a preset; an unknown one lists them.")
    ] = "multiscale",
    settings: Settings = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is in the folder.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Preprocess images by a recipe, and write them as PNG beside the recipe used.

    Files that cannot be read are named at the end, and make the exit status 1; everything else is
    written.
    """
    from napari_fundus.batch import find_items
    from napari_fundus.export import PREPROCESSED_SUFFIX
    from napari_fundus.files import atomic_write, write_json
    from napari_fundus.image import read_image

    chosen = _recipe(recipe, parse_settings(settings))
    items = find_items(paths, output)
    failures: list[str] = []
    console = messages()
    with progress_bar(console) as monitor:
        for number, item in enumerate(items):
            monitor.step(number / len(items), item.path.name)
            # A bad file is told of at the end and stops nothing.
            try:
                if item.problem:
                    raise FundusError(item.problem)
                target = output / f"{item.place}{PREPROCESSED_SUFFIX}"
                with atomic_write(target, overwrite=overwrite) as temporary:
                    _save(chosen.apply(read_image(item.path)).pixels, temporary)
            except (FundusError, OSError) as error:
                if debug:
                    raise
                message = " ".join(str(error).split())
                known = message.startswith(str(item.path))
                failures.append(message if known else f"{item.path}: {message}")
    done = len(items) - len(failures)
    if done:
        content = chosen.model_dump(mode="json")
        write_json(output / "recipe.json", content, overwrite=True)
    for failure in failures:
        console.print(f"Not done: {failure}", markup=False, soft_wrap=True)
    console.print(f"{done} written to {output}, {len(failures)} failed.", markup=False)
    if failures:
        raise typer.Exit(FAILED_ITEMS)


def _recipe(name: str, settings: dict[str, Any]) -> Recipe:
    """Return a preset, changed as `settings` say."""
    from pydantic import ValidationError

    from napari_fundus.errors import OptionsError
    from napari_fundus.preprocessing import Recipe

    preset = Recipe.preset(name)
    if unknown := sorted(set(settings) - set(Recipe.model_fields)):
        raise OptionsError(
            f"A recipe has no field {', '.join(unknown)}; it has {', '.join(Recipe.model_fields)}."
        )
    try:
        return Recipe.model_validate({**preset.model_dump(), **settings})
    except ValidationError as error:
        problems = (
            f"{'.'.join(map(str, problem['loc']))} = {problem['input']!r}: {problem['msg']}."
            for problem in error.errors()
        )
        raise OptionsError(" ".join(problems)) from None


def _save(pixels: Any, path: Path) -> None:
    from PIL import Image

    Image.fromarray(pixels).save(path, format="PNG", compress_level=1)
