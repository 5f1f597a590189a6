"""The table of lesions as CSV, and the provenance of a result as JSON beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from napari_fundus.errors import FundusError
from napari_fundus.results.detections import Detections, Provenance
from napari_fundus.results.instances import INSTANCE_COLUMNS
from napari_fundus.results.quantification import LESION_COLUMNS, quantify
from napari_fundus.runtime.files import atomic_write, check_is_file, read_json, write_json


def write_csv(detections: Detections, path: str | Path, *, overwrite: bool = False) -> None:
    """Write the table of lesions: one row a lesion, `INSTANCE_COLUMNS` and `LESION_COLUMNS`.

    Numbers are written in full, so that :func:`read_csv` gives back the same table. What the
    second kind of columns measures (see `napari_fundus.quantify`) is empty where it is not known:
    without landmarks there are no distances to them. The file holds nothing but the table, as
    spreadsheets and pandas expect; :func:`write_provenance` says where it comes from.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    """
    with atomic_write(path, overwrite=overwrite) as temporary:
        quantify(detections).lesions.to_csv(temporary, index=False)


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read the lesions of a table written by :func:`write_csv`: `INSTANCE_COLUMNS`, same dtypes.

    Raises
    ------
    FundusError
        The file has not the columns of a table of lesions.
    """
    columns = list(INSTANCE_COLUMNS)
    try:
        # As text first: pandas' own parsing of numbers is not exact to the last digit in all of
        # its versions. "NA" and "null" may be codes of classes; nothing is ever missing.
        check_is_file(path)
        table = pd.read_csv(
            Path(path),
            dtype=str,
            usecols=columns,
            keep_default_na=False,
            # Else the first cells of a row that is too long are taken for its name.
            index_col=False,
        )
        return table[columns].astype(INSTANCE_COLUMNS)
    except (ValueError, OverflowError) as error:
        raise FundusError(f"{path} is not a table of lesions: {error}") from error


def lesion_measurements(detections: Detections) -> dict[int, dict[str, float | str]]:
    """Return, by a lesion's id, what is known of `LESION_COLUMNS`, ready for JSON."""
    table = quantify(detections).lesions
    rows = table[list(LESION_COLUMNS)].to_dict("records")
    return {
        int(key): {
            str(name): value for name, value in row.items() if value != "" and not pd.isna(value)
        }
        for key, row in zip(table["id"], rows, strict=True)
    }


def provenance_record(detections: Detections) -> dict[str, Any]:
    """Return what every exported file says of its origin, ready for JSON."""
    return {
        "provenance": detections.provenance.model_dump(mode="json"),
        "thresholds": {str(code): float(t) for code, t in detections.thresholds.items()},
        "min_area": int(detections.min_area),
        "landmarks": detections.landmarks.model_dump(mode="json", exclude_none=True),
        "image_score": {str(name): float(s) for name, s in detections.image_score.items()},
    }


def write_provenance(
    detections: Detections,
    path: str | Path,
    *,
    more: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:
    """Write where a result comes from, the thresholds applied and the extent found, as JSON.

    The entry ``"extent"`` is the summary of `napari_fundus.quantify`.

    Parameters
    ----------
    detections
        The result.
    path
        By custom ``<stem>.provenance.json``.
    more
        Further entries.
    overwrite
        Whether an existing file may be replaced.
    """
    record = {**provenance_record(detections), "extent": quantify(detections).record()}
    write_json(path, {**record, **(more or {})}, overwrite=overwrite)


def read_provenance(path: str | Path) -> Provenance:
    """Read the provenance from a JSON, COCO or GeoJSON file of this package.

    Raises
    ------
    FundusError
        There is none in the file.
    """
    try:
        content = read_json(path)
        for holder in ("napari_fundus", "info"):
            content = content.get(holder, content)
        found = content["provenance"]
        return Provenance.model_validate(found[0] if isinstance(found, list) else found)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ValidationError) as error:
        raise FundusError(f"{path} holds no provenance: {type(error).__name__}: {error}") from error
