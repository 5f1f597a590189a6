"""The model card: what weights are, what they were trained on, and what they reached."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from napari_fundus.image_identity import Digest, ImageIdentity
from napari_fundus.runtime.text import check_class_codes

FORMAT_VERSION = 1
"""Version of the card's layout; a reader refuses cards of a later one."""


class Parent(BaseModel):
    """The checkpoint that a training started from.

    Attributes
    ----------
    name
        Its name.
    sha256
        Of its file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: Digest = ""


class Split(BaseModel):
    """Which samples the weights have seen, so that no one measures them on these by mistake.

    Attributes
    ----------
    train, validation
        Ids of samples.
    train_images
        The same by content, other photographs of these eyes included, and those that the starting
        weights had seen; empty in the cards of versions before 0.2.
    validation_images
        Those of `validation` by content.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    train_images: tuple[ImageIdentity, ...] = ()
    validation_images: tuple[ImageIdentity, ...] = ()


class ModelCard(BaseModel):
    """What travels with weights in their file.

    Attributes
    ----------
    name
        Name of the checkpoint, as in lists and in a result's provenance.
    detector
        Name of the detector that can use it.
    lesions
        Codes of the classes, in the order of the network's outputs.
    architecture
        What the detector needs to build the network.
    recipe
        Preprocessing and training settings.
    data, data_licence, licence
        What it was trained on, under which terms; the licence of the weights themselves.
    split
        The samples seen.
    metrics
        Name to figure, on the validation part unless the name says otherwise.
    parent
        The checkpoint that training started from.
    command
        The command that trained it.
    created
        Date and time (ISO 8601, UTC).
    package_version
        Version of napari-fundus that wrote it.
    notes
        For people.
    storage
        ``"float32"``, or ``"float16"`` or ``"int8"`` where large tensors are stored rounded.
    content_sha256
        Of the file with this field zeroed; written and checked with the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    format_version: int = Field(FORMAT_VERSION, ge=1)
    name: str = Field(min_length=1, max_length=200)
    detector: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    lesions: Annotated[tuple[str, ...], AfterValidator(check_class_codes)] = ()
    architecture: dict[str, Any] = {}
    recipe: dict[str, Any] = {}
    data: str = ""
    data_licence: str = ""
    licence: str = ""
    split: Split = Split()
    metrics: dict[str, float] = {}
    parent: Parent | None = None
    command: str = ""
    created: str = ""
    package_version: str = ""
    notes: str = ""
    storage: str = "float32"
    content_sha256: Digest = ""
