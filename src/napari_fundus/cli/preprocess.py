"""``napari-fundus preprocess``: enhance, crop and resize pictures by a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.catalogue import fields_table
from napari_fundus.cli.common import (
    EXIT_FAILED_ITEMS,
    DebugOption,
    echo,
    handle_errors,
    parse_settings,
    progress_bar,
    stderr_console,
    stdout_console,
)
from napari_fundus.errors import Cancelled, FundusError, OptionsError, explain_validation
from napari_fundus.runtime.files import read_json
from napari_fundus.runtime.text import describe_error, escape_surrogates

if TYPE_CHECKING:
    from napari_fundus.batch import BatchItem
    from napari_fundus.preprocessing import PreprocessedImage, Recipe
    from napari_fundus.runtime.progress import Monitor


def _list_recipes(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if not wanted:
        return

    from napari_fundus.preprocessing import Recipe, preset_descriptions

    for name, text in preset_descriptions().items():
        echo(f"{name}: {text}")
    stdout_console().print(fields_table(Recipe))
    raise typer.Exit


@handle_errors
def preprocess(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Images, folders, data sets.", show_default=False),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder to write to.", show_default=False)
    ],
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="Name of a recipe; --list shows them all.")
    ] = "multiscale",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            "-s",
            metavar="FIELD=VALUE",
            help="Change a field of the recipe, as in --set sigma=20; may be repeated. --list "
            "shows the fields with their bounds.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is in the folder.")
    ] = False,
    list_recipes: Annotated[
        bool,
        typer.Option(
            "--list", callback=_list_recipes, is_eager=True, help="List recipes and their fields."
        ),
    ] = False,
    debug: DebugOption = False,
) -> None:
    """Preprocess images by a recipe, and write each as a picture.

    Beside each picture is a JSON file with the recipe and the geometry, with which points and
    masks can be brought back to the original. Recipes that standardize give TIFF of 32-bit
    floating-point numbers, the others PNG. Files that cannot be read are named at the end, and
    make the exit status 1; everything else is written. What is done already by the same recipe is
    skipped, so that a run that was killed goes on where it was.
    """
    del list_recipes
    from napari_fundus.batch import find_items
    from napari_fundus.batch.listing import count_passed_over, describe_passed_over

    chosen = _recipe(recipe, parse_settings(settings))
    items = find_items(paths, output)
    failures: list[str] = []
    skipped = 0
    console = stderr_console()
    with progress_bar(console) as monitor:
        for number, item in enumerate(items):
            part = monitor.part(number / len(items), (number + 1) / len(items))
            # A bad file is reported at the end and stops nothing.
            try:
                skipped += not _prepare_one(item, chosen, output, part, overwrite=overwrite)
            except (KeyboardInterrupt, Cancelled):
                raise
            except BaseException as error:
                if debug:
                    raise
                message = describe_error(error)
                if not isinstance(error, FundusError | OSError):
                    message = f"{type(error).__name__}: {message}"
                names_path = message.startswith(str(item.path))
                failures.append(message if names_path else f"{item.path}: {message}")
    passed = count_passed_over(paths, (item.path for item in items), leave=output.resolve())
    if passed:
        console.print(f"Passed over, no photographs: {describe_passed_over(passed)}")
    for failure in failures:
        console.print(f"Not done: {failure}")
    written = len(items) - len(failures) - skipped
    console.print(f"{written} written to {output}, {skipped} done before, {len(failures)} failed.")
    if failures:
        raise typer.Exit(EXIT_FAILED_ITEMS)


def _prepare_one(
    item: BatchItem, recipe: Recipe, output: Path, monitor: Monitor, *, overwrite: bool
) -> bool:
    """Write a picture and its JSON record; return False where both exist already."""
    from napari_fundus._version import __version__
    from napari_fundus.export import PREPROCESSED
    from napari_fundus.image import read_image
    from napari_fundus.runtime.files import raise_if_exists, write_json

    if item.error:
        raise FundusError(item.error)
    base = output / item.output_stem.parent / f"{item.output_stem.name}{PREPROCESSED}"
    picture = base.with_name(f"{base.name}{'.tif' if recipe.standardize else '.png'}")
    record = base.with_name(f"{base.name}.json")
    monitor.step(0.0, item.path.name)
    image = read_image(item.path)
    identity = {"recipe": recipe.model_dump(mode="json"), "image_sha256": image.sha256}
    is_done = _record_matches(record, identity)
    if is_done and picture.is_file() and not overwrite:
        return False
    raise_if_exists(picture, overwrite=overwrite)
    raise_if_exists(record, overwrite=overwrite or is_done)
    prepared = recipe.apply(image, monitor.part(0.1, 0.9))
    content = {
        "package_version": __version__,
        **identity,
        "geometry": prepared.geometry.model_dump(mode="json"),
        "image_path": escape_surrogates(str(item.path)),
    }
    # The picture last: where a run is killed between the two, the next one writes both.
    write_json(record, content, overwrite=overwrite or is_done)
    _save(prepared, picture, overwrite=overwrite)
    return True


def _record_matches(path: Path, identity: dict[str, Any]) -> bool:
    """Return whether a JSON file has the entries of `identity`."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and identity.items() <= content.items()


def _recipe(name: str, settings: dict[str, Any]) -> Recipe:
    """Return a preset, changed as `settings` say."""
    from pydantic import ValidationError

    from napari_fundus.preprocessing import Recipe

    preset = Recipe.preset(name)
    if unknown := sorted(set(settings) - set(Recipe.model_fields)):
        raise OptionsError(
            f"A recipe has no field {', '.join(unknown)}; it has {', '.join(Recipe.model_fields)}."
        )
    try:
        return Recipe.model_validate({**preset.model_dump(), **settings})
    except ValidationError as error:
        raise OptionsError(explain_validation(error)) from None


def _save(prepared: PreprocessedImage, path: Path, *, overwrite: bool) -> None:
    import tifffile
    from PIL import Image

    from napari_fundus.runtime.files import atomic_write

    with atomic_write(path, overwrite=overwrite) as temporary:
        if path.suffix == ".png":
            Image.fromarray(prepared.pixels).save(temporary, compress_level=1)
        else:
            kind = "rgb" if prepared.pixels.ndim == 3 else "minisblack"
            tifffile.imwrite(
                temporary, prepared.pixels, photometric=kind, compression="zlib", predictor=3
            )
