"""The tables of a run over an archive, as Parquet: a row an image, and a row a lesion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_fundus.batch.records import ImageOutcome
from napari_fundus.errors import OutputExistsError
from napari_fundus.export import FORMATS
from napari_fundus.results.instances import INSTANCE_COLUMNS
from napari_fundus.results.quantification import LESION_COLUMNS
from napari_fundus.runtime.files import atomic_write
from napari_fundus.runtime.text import escape_surrogates

if TYPE_CHECKING:
    import pyarrow as pa

IMAGES_NAME, LESIONS_NAME = "images.parquet", "lesions.parquet"
"""Names of the tables in the output folder."""

_METADATA_KEY = b"napari-fundus"
"""Key of the tables' metadata, by which they are known as our own."""

_LESION_COLUMNS = {"path": "object", **INSTANCE_COLUMNS, **LESION_COLUMNS}

_BUFFER_ROWS = 4_000
"""Rows that are gathered before they go into the file."""


def read_lesion_rows(output: Path, outcomes: Iterable[ImageOutcome]) -> pa.Table:
    """Return the lesions of images that are done, as their tables in the output folder have them.

    Parameters
    ----------
    output
        The output folder.
    outcomes
        What became of the images; those that failed have no lesions.
    """
    import pyarrow as pa
    from pyarrow import csv

    schema = _schema(_LESION_COLUMNS)
    own = pa.schema(list(schema)[1:])
    parts = []
    for outcome in outcomes:
        if outcome.status == "failed":
            continue
        path = (
            output
            / outcome.output_stem.parent
            / f"{outcome.output_stem.name}{FORMATS['csv'].suffix}"
        )
        table = csv.read_csv(
            path,
            # A file name or class may read "NA": text is never missing here, numbers may be.
            convert_options=csv.ConvertOptions(
                column_types=own, include_columns=own.names, include_missing_columns=True
            ),
        )
        paths = pa.array([escape_surrogates(str(outcome.path))] * len(table), pa.string())
        parts.append(table.add_column(0, schema.field("path"), paths).cast(schema))
    return pa.concat_tables(parts) if parts else schema.empty_table()


def _schema(columns: Mapping[str, str]) -> pa.Schema:
    """Return the schema of columns with pandas' names of types; "object" is text."""
    import pyarrow as pa

    types = {"int64": pa.int64(), "float64": pa.float64(), "object": pa.string()}
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def _image_columns(lesions: Sequence[str]) -> dict[str, str]:
    first = dict.fromkeys(("path", "status", "place"), "object")
    middle = dict.fromkeys(("scores", "extent", "warnings"), "object")
    last = {"seconds": "float64", "message": "object"}
    return {**first, **dict.fromkeys(lesions, "int64"), **middle, **last}


class ParquetTables:
    """Writes both tables row by row; see :meth:`open`.

    Parameters
    ----------
    output
        The output folder.
    lesions
        Codes of the detector's classes.
    overwrite
        Whether tables that are not ours may be replaced; our own always are.

    Raises
    ------
    OutputExistsError
        A table of that name is not ours.
    """

    def __init__(self, output: Path, lesions: Sequence[str], *, overwrite: bool = False) -> None:
        self._lesions = tuple(lesions)
        self._output = output
        for name in (IMAGES_NAME, LESIONS_NAME):
            if not overwrite and (output / name).exists() and not _is_ours(output / name):
                raise OutputExistsError(
                    f"{output / name} exists already, and was not written by a batch. "
                    "Choose another folder."
                )

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let tables be added to within the block; without an error, both files are whole then."""
        import pyarrow.parquet as pq

        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._writers = []
        with ExitStack() as stack:
            columns = (_image_columns(self._lesions), _LESION_COLUMNS)
            for name, schema in zip(
                (IMAGES_NAME, LESIONS_NAME), map(_schema, columns), strict=True
            ):
                path = stack.enter_context(atomic_write(self._output / name, overwrite=True))
                writer = pq.ParquetWriter(path, schema.with_metadata({_METADATA_KEY: b"batch"}))
                self._writers.append(stack.enter_context(writer))
            yield
            self._flush()

    def add(self, outcomes: Iterable[ImageOutcome], lesions: pa.Table | None) -> None:
        """Add images, and the lesions of those that are done."""
        self._rows += [self._row(outcome) for outcome in outcomes]
        if lesions is not None:
            self._tables.append(lesions)
        if len(self._rows) + sum(map(len, self._tables)) > _BUFFER_ROWS:
            self._flush()

    def _row(self, outcome: ImageOutcome) -> dict[str, Any]:
        done = outcome.status != "failed"
        return {
            "path": escape_surrogates(str(outcome.path)),
            "status": outcome.status,
            "place": escape_surrogates(outcome.output_stem.as_posix()) if done else "",
            **{code: outcome.counts.get(code, 0) if done else None for code in self._lesions},
            "scores": json.dumps(outcome.scores),
            "extent": json.dumps(outcome.extent),
            "warnings": " ".join(outcome.warnings),
            "seconds": outcome.seconds,
            "message": escape_surrogates(outcome.message),
        }

    def _flush(self) -> None:
        import pyarrow as pa

        images, lesions = self._writers
        images.write_table(pa.Table.from_pylist(self._rows, images.schema))
        if self._tables:
            lesions.write_table(pa.concat_tables(self._tables))
        self._rows, self._tables = [], []


def _is_ours(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False
