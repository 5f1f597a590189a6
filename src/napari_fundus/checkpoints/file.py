"""Weights in one safetensors file with their model card; nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_fundus._version import __version__
from napari_fundus.checkpoints.card import FORMAT_VERSION, ModelCard
from napari_fundus.checkpoints.quantization import Storage, dequantize_weights, quantize_weights
from napari_fundus.errors import CheckpointError
from napari_fundus.runtime.files import atomic_write

if TYPE_CHECKING:
    import torch

MAX_HEADER_BYTES = 16 << 20
"""Largest header that is read: a guard against files that claim a header of gigabytes."""

MAX_FILE_BYTES = 8 << 30
"""Largest file that is read; the papers' largest network has about 0.2 GB of weights."""

_KEY = "napari_fundus"
_MARK = rb"content_sha256\":\""
"""How the card's field looks in the header, where the card is JSON within JSON."""

_ZEROS = "0" * 64


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights read from a file whose content was verified.

    Attributes
    ----------
    tensors
        Name to tensor on the CPU; those rounded for the file are float32 again.
    card
        The model card.
    path
        The file.
    sha256
        Of the file.
    """

    tensors: Mapping[str, torch.Tensor]
    card: ModelCard
    path: Path
    sha256: str


def save_checkpoint(
    path: str | Path,
    tensors: Mapping[str, torch.Tensor],
    card: ModelCard,
    *,
    storage: Storage = "float32",
    overwrite: bool = False,
) -> ModelCard:
    """Write weights and card to one file, whole or not at all.

    Parameters
    ----------
    path
        Where to; by custom ``NAME.safetensors``.
    tensors
        A network's state, such as ``network.state_dict()``.
    card
        Date, package version, storage and hash are filled in.
    storage
        ``"float16"`` halves the file, ``"int8"`` quarters it; see
        :func:`napari_fundus.checkpoints.quantization.quantize_weights`.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    ModelCard
        The card as written.

    Raises
    ------
    OutputExistsError
        The file exists, and `overwrite` is False.
    CheckpointError
        A weight is NaN or infinite, or the card holds what JSON cannot.
    """
    import torch

    state = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
    if (bad := _first_not_finite(state)) is not None:
        raise CheckpointError(
            f"The weights {bad!r} hold NaN or infinity: the training diverged. Train again "
            "with a lower learning rate."
        )
    # Copies of their own: tensors that share memory cannot be stored.
    stored = {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in quantize_weights(state, storage).items()
    }
    card = card.model_copy(
        update={
            "created": card.created or datetime.now(UTC).isoformat(timespec="seconds"),
            "package_version": card.package_version or __version__,
            "storage": storage,
            "format_version": FORMAT_VERSION,
        }
    )
    return _write(path, stored, card, overwrite=overwrite)


def replace_card(path: str | Path, card: ModelCard) -> ModelCard:
    """Write another card into a file of weights; the weights stay bit for bit what they are.

    Returns
    -------
    ModelCard
        The card as written.

    Raises
    ------
    CheckpointError
        As :func:`read_checkpoint`, or the card holds what JSON cannot.
    """
    from safetensors.torch import load

    storage = read_checkpoint(path).card.storage
    stored = load(_read(Path(path)))
    return _write(path, stored, card.model_copy(update={"storage": storage}), overwrite=True)


def _write(
    path: str | Path, stored: Mapping[str, torch.Tensor], card: ModelCard, *, overwrite: bool
) -> ModelCard:
    """Write tensors as they are stored, and the card with the hash of both."""
    from safetensors.torch import save

    card = card.model_copy(update={"content_sha256": _ZEROS})
    try:
        text = json.dumps(card.model_dump(mode="json"), allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise CheckpointError(f"The model card cannot be stored as JSON: {error}.") from error
    content = save(dict(stored), metadata={_KEY: text})
    digest = hashlib.sha256(content).hexdigest()
    content = content.replace(_MARK + _ZEROS.encode(), _MARK + digest.encode(), 1)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)
    return card.model_copy(update={"content_sha256": digest})


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a file of weights, after checking that it is whole and unchanged.

    Raises
    ------
    CheckpointError
        The file is missing, empty, truncated, changed since it was written, not of this package,
        written by a later version, or a pickle; or its weights are not all finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    _regular_size(path)
    content = _read(path)
    length = _header_length(content[:9], len(content), path)
    card = _card_of(content[8 : 8 + length], path)
    before = content[: 8 + length]
    mark = _MARK + card.content_sha256.encode()
    if not card.content_sha256 or before.count(mark) != 1:
        raise CheckpointError(f"{path} states no hash of its content. {_COPY_AGAIN_HINT}")
    digest = hashlib.sha256(before.replace(mark, _MARK + _ZEROS.encode()))
    digest.update(memoryview(content)[8 + length :])
    if digest.hexdigest() != card.content_sha256:
        raise CheckpointError(
            f"{path} was changed or damaged since it was written: its content does not match the "
            f"hash in it. {_COPY_AGAIN_HINT}"
        )
    try:
        tensors = dequantize_weights(load(content))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a valid safetensors file: {error}. {_COPY_AGAIN_HINT}"
        ) from error
    if (bad := _first_not_finite(tensors)) is not None:
        raise CheckpointError(
            f"{path}: its weights {bad!r} hold NaN or infinity, with which a network finds nothing "
            "and says nothing. Train again, or get other weights."
        )
    return Checkpoint(tensors, card, path, hashlib.sha256(content).hexdigest())


def _first_not_finite(tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Return the name of a tensor that holds NaN or infinity; None where none does."""
    import torch

    for name, value in tensors.items():
        # Of floats of 8 bits torch does not tell.
        wide = value.float() if value.is_floating_point() and value.element_size() < 2 else value
        if not bool(torch.isfinite(wide).all()):
            return name
    return None


def read_card(path: str | Path) -> ModelCard:
    """Read the model card alone, quickly; the weights are not looked at.

    Raises
    ------
    CheckpointError
        As :func:`read_checkpoint`, but changes of the weights go unseen.
    """
    path = Path(path)
    size = _regular_size(path)
    try:
        with path.open("rb") as file:
            length = _header_length(file.read(9), size, path)
            file.seek(8)
            return _card_of(file.read(length), path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


_COPY_AGAIN_HINT = "Download or copy it again from its source."


def _regular_size(path: Path) -> int:
    """Return the size of a file of weights; pipes and devices, which never end, are refused."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise CheckpointError(f"{path} is a folder or device, not a file of weights.")
    if status.st_size > MAX_FILE_BYTES:
        raise CheckpointError(
            f"{path} has {status.st_size / 2**30:.1f} GB; at most {MAX_FILE_BYTES >> 30} are read."
        )
    return status.st_size


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error


def _header_length(start: bytes, size: int, path: Path) -> int:
    """Return the length of the JSON header, from the file's first nine bytes."""
    if not size:
        raise CheckpointError(f"{path} is empty (0 bytes). {_COPY_AGAIN_HINT}")
    # "PK" starts the zip of torch.save; 0x80 and a protocol of 2 to 5 start a bare pickle.
    if start[8:] != b"{" and re.match(rb"PK\x03\x04|\x80[\x02-\x05]", start):
        raise CheckpointError(
            f"{path} is a pickle or zip, as torch.save writes. Such files can run any program when "
            "opened and are never read here. Ask its author for a napari-fundus .safetensors file."
        )
    length = int.from_bytes(start[:8], "little")
    if len(start) < 9 or length < 2 or 8 + min(length, MAX_HEADER_BYTES) > size:
        raise CheckpointError(f"{path} is truncated or not a safetensors file. {_COPY_AGAIN_HINT}")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"{path} claims a header of {length / 2**20:.0f} MB; at most {MAX_HEADER_BYTES >> 20} "
            "MB are read. It is damaged, or not a safetensors file."
        )
    return length


def _card_of(header: bytes, path: Path) -> ModelCard:
    """Return the card in the metadata of a header."""
    try:
        content: Any = json.loads(header, object_pairs_hook=_unique)
        card = json.loads(content["__metadata__"][_KEY], object_pairs_hook=_unique)
        version = card["format_version"]
    except (KeyError, TypeError):
        raise CheckpointError(
            f"{path} is a safetensors file, but not one of napari-fundus: it holds no model card."
        ) from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file. {_COPY_AGAIN_HINT}"
        ) from error
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by a later napari-fundus (format {version}; this one knows "
            f"{FORMAT_VERSION}). Update with: pip install -U napari-fundus"
        )
    try:
        return ModelCard.model_validate(card)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise CheckpointError(
            f"{path} has a damaged model card: {where}: {problem['msg']}."
        ) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse names given twice, of which two readers may each see another."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name is given twice")
    return result
