"""The tables of a run over an archive, as Parquet: a row an image, and a row a lesion."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from napari_fundus.batch.records import ImageOutcome, escape_surrogates
from napari_fundus.errors import OutputExistsError
from napari_fundus.export import FORMATS
from napari_fundus.results.instances import INSTANCE_COLUMNS
from napari_fundus.results.quantification import LESION_COLUMNS
from napari_fundus.runtime.files import atomic_write

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["IMAGES_NAME", "LESIONS_NAME", "ParquetTables", "read_lesion_rows"]

IMAGES_NAME, LESIONS_NAME = "images.parquet", "lesions.parquet"
"""Names of the tables in the output folder."""

_METADATA_KEY = b"napari-fundus"
"""Key of the tables' metadata, by which they are known as our own."""

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

    schema = _lesion_schema()
    own = pa.schema(list(schema)[1:])
    parts = []
    for outcome in outcomes:
        if outcome.status == "failed":
            continue
        path = output / outcome.place.parent / f"{outcome.place.name}{FORMATS['csv'].suffix}"
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


def _lesion_schema() -> pa.Schema:
    import pyarrow as pa

    kinds = {"int64": pa.int64(), "float64": pa.float64(), "object": pa.string()}
    columns = {**INSTANCE_COLUMNS, **LESION_COLUMNS}
    return pa.schema([("path", pa.string()), *((n, kinds[kind]) for n, kind in columns.items())])


def _image_schema(lesions: Sequence[str]) -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            ("path", text),
            ("status", text),
            ("place", text),
            *((code, pa.int64()) for code in lesions),
            ("scores", text),
            ("extent", text),
            ("seconds", pa.float64()),
            ("message", text),
        ]
    )


class ParquetTables:
    """Writes both tables bit by bit; they are there, whole, once the block ends well.

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

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        self._stack = ExitStack()
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        schemas = (_image_schema(self._lesions), _lesion_schema())
        self._writers = []
        for name, schema in zip((IMAGES_NAME, LESIONS_NAME), schemas, strict=True):
            place = self._stack.enter_context(atomic_write(self._output / name, overwrite=True))
            writer = pq.ParquetWriter(place, schema.with_metadata({_METADATA_KEY: b"batch"}))
            self._writers.append(self._stack.enter_context(writer))
        return self

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
            "place": escape_surrogates(outcome.place.as_posix()) if done else "",
            **{code: outcome.counts.get(code, 0) if done else None for code in self._lesions},
            "scores": json.dumps(outcome.scores),
            "extent": json.dumps(outcome.extent),
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
        self._stack.__exit__(kind, error, trace)


def _is_ours(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return _METADATA_KEY in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False
