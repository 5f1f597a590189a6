"""The file that says what a batch analyses: sources, method and formats, for whoever goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from napari_fundus._version import __version__
from napari_fundus.batch.process import BatchJob
from napari_fundus.defaults import DEFAULT_DETECTOR
from napari_fundus.errors import FundusError
from napari_fundus.export import DEFAULT_FORMATS
from napari_fundus.runtime.files import read_json, write_json

BATCH_NAME = "batch.json"
"""Name of the file in the output folder."""


class BatchConfig(BaseModel):
    """What a batch analyses, and how.

    Attributes
    ----------
    napari_fundus
        Version of the package that wrote it.
    sources
        Files, folders and data sets, absolute.
    detector
        Its name.
    options
        Those that differ from their defaults.
    thresholds
        Class code to threshold.
    formats
        Names out of `napari_fundus.export.FORMATS`.
    """

    model_config = ConfigDict(frozen=True)

    napari_fundus: str
    sources: tuple[str, ...] = ()
    detector: str = DEFAULT_DETECTOR
    options: dict[str, Any] = {}
    thresholds: dict[str, float] = {}
    formats: tuple[str, ...] = DEFAULT_FORMATS


def read_batch_config(output: str | Path) -> BatchConfig | None:
    """Return what the batch into `output` analyses; None if none was written there.

    Raises
    ------
    FundusError
        The file is damaged, or of another program.
    """
    path = Path(output) / BATCH_NAME
    try:
        return BatchConfig.model_validate(read_json(path))
    except FileNotFoundError:
        return None
    except (ValueError, OSError) as error:
        raise FundusError(
            f"{path} does not say what a batch analyses: {error}. Move it away, or choose another "
            "folder."
        ) from error


def write_batch_config(output: str | Path, config: BatchConfig) -> None:
    """Write ``batch.json`` into the output folder, which is made if missing."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    content = config.model_copy(update={"napari_fundus": __version__}).model_dump(mode="json")
    write_json(folder / BATCH_NAME, content, overwrite=True)


def record_batch(job: BatchJob, sources: Iterable[str | Path]) -> None:
    """Write what a batch is about to do; sources of earlier runs into the folder are kept.

    Raises
    ------
    FundusError
        As of :func:`read_batch_config`.
    """
    earlier = read_batch_config(job.output)
    paths = [str(Path(source).expanduser().absolute()) for source in sources]
    config = BatchConfig(
        napari_fundus=__version__,
        sources=tuple(dict.fromkeys([*(earlier.sources if earlier else ()), *paths])),
        detector=job.detector.name,
        options=job.options.model_dump(mode="json"),
        thresholds=dict(job.thresholds),
        formats=job.formats,
    )
    if config != earlier:
        write_batch_config(job.output, config)
