"""``napari-fundus detectors`` and ``napari-fundus datasets``: what there is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_fundus.cli.common import (
    DebugOption,
    echo,
    handle_errors,
    plain,
    progress_bar,
    stderr_console,
    stdout_console,
)

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from napari_fundus.detector import Detector

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@handle_errors
def list_detectors(
    name: Annotated[
        str | None,
        typer.Argument(help="Tell all of this one: its options, bounds and defaults."),
    ] = None,
    *,
    as_json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """List the installed detectors, plugins that do not work with the reason, or one's options."""
    del debug

    from napari_fundus.plugins import find_detectors, get_detector

    found = find_detectors()
    if name is not None:
        detector = get_detector(name)
        if as_json:
            echo(json.dumps(_describe(detector, found.sources.get(name, "")), indent=2))
            return
        _print_facts(detector)
        stdout_console().print(fields_table(detector.Options))
        if (spec := detector.training_spec()) is not None:
            echo("Settings of a training, beside those that all trainings share:")
            stdout_console().print(fields_table(spec.options))
        return
    if as_json:
        content = {
            "detectors": [
                _describe(d, found.sources.get(key, "")) for key, d in found.detectors.items()
            ],
            "problems": [vars(problem) for problem in found.problems],
        }
        echo(json.dumps(content, indent=2))
        return
    table = _table("name", "finds", "runs on", "what it is", "from")
    for key, detector in found.detectors.items():
        table.add_row(
            key,
            plain(" ".join(detector.lesions)),
            " ".join(sorted(detector.devices)),
            plain(detector.summary),
            plain(found.sources.get(key, "")),
        )
    stdout_console().print(table)
    for problem in found.problems:
        echo(str(problem))
    echo("`napari-fundus detectors NAME` lists the options of one.")


@handle_errors
def list_datasets(
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of a data set, as downloaded; without it all are listed."),
    ] = None,
    *,
    as_json: JsonOption = False,
    count: Annotated[
        bool,
        typer.Option(
            "--count/--no-count", help="Count lesions, for which all masks are read; or do not."
        ),
    ] = True,
    debug: DebugOption = False,
) -> None:
    """Say which data set a folder is, and what is in it; or list the data sets that are read."""
    del debug
    from napari_fundus.datasets import open_dataset, summarize

    if path is None:
        _list_readers(as_json=as_json)
        return
    dataset = open_dataset(path)
    with progress_bar(stderr_console()) as monitor:
        summary = summarize(dataset, monitor, count_lesions=count)
    echo(summary.model_dump_json(indent=2) if as_json else summary.to_text().rstrip())


def _list_readers(*, as_json: bool) -> None:

    from napari_fundus.datasets import find_datasets

    found = find_datasets()
    keys = ("name", "title", "layout", "reference", "licence")
    rows = [
        {**{key: getattr(reader, key) for key in keys}, "source": found.sources[name]}
        for name, reader in found.items.items()
    ]
    if as_json:
        content = {"datasets": rows, "problems": [vars(problem) for problem in found.problems]}
        echo(json.dumps(content, indent=2))
        return
    table = _table("name", "what it is", "what a folder of it holds", "from")
    for row in rows:
        table.add_row(*(plain(row[key]) for key in ("name", "title", "layout", "source")))
    stdout_console().print(table)
    for problem in found.problems:
        echo(str(problem))


def _describe(detector: Detector, source: str) -> dict[str, Any]:
    spec = detector.training_spec()
    return {
        "name": detector.name,
        "title": detector.title,
        "summary": detector.summary,
        "lesions": [str(code) for code in detector.lesions],
        "version": detector.version,
        "devices": sorted(detector.devices),
        "licence": detector.licence,
        "reference": detector.reference,
        "trainable": detector.trainable,
        "source": source,
        "options": detector.Options.model_json_schema(),
        "training_options": spec.options.model_json_schema() if spec is not None else None,
    }


def _print_facts(detector: Detector) -> None:
    from napari_fundus.lesions import describe

    echo(f"{detector.name} {detector.version}: {detector.title}")
    echo(detector.summary)
    finds = ", ".join(f"{code} ({describe(code).name})" for code in detector.lesions)
    echo(f"finds: {finds}")
    echo(f"runs on: {', '.join(sorted(detector.devices))}")
    for key in ("licence", "reference"):
        if value := getattr(detector, key):
            echo(f"{key}: {value}")


def fields_table(model: type[BaseModel]) -> Table:
    """Return a table of a model's fields, for use with ``--set``."""
    table = _table("--set", "values", "default", "meaning")
    schema = model.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        unit = f" {field['unit']}" if "unit" in field else ""
        default = json.dumps(field["default"]) if "default" in field else "-"
        meaning = field.get("description") or field.get("title", "")
        values = _values(field, schema.get("$defs", {}))
        table.add_row(name, plain(values + unit), plain(default), plain(meaning))
    return table


def _values(field: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Return type and bounds of a field as text."""
    if "$ref" in field:
        return _values(definitions[field["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in field:
        return " or ".join(_values(choice, definitions) for choice in field["anyOf"])
    if "enum" in field or "const" in field:
        return ", ".join(str(value) for value in field.get("enum", [field.get("const")]))
    low = field.get("minimum", field.get("exclusiveMinimum"))
    high = field.get("maximum", field.get("exclusiveMaximum"))
    kind = str(field.get("type", "value"))
    kind = {"boolean": "true or false", "string": "text"}.get(kind, kind)
    if low is None and high is None:
        return kind
    above = "above" if "exclusiveMinimum" in field else "from"
    below = "below" if "exclusiveMaximum" in field else "to"
    # Some releases of pydantic write 0 as 0.0.
    lower = "" if low is None else f"{above} {low:.12g} "
    upper = "" if high is None else f"{below} {high:.12g}"
    return f"{kind} {lower}{upper}".strip()


def _table(*columns: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(box=SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=column in ("name", "--set"))
    return table
