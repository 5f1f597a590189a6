"""What a user may set of a training: the same fields for every method."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_fundus.errors import OptionsError, explain_validation

OptionsT = TypeVar("OptionsT", bound=BaseModel)


class TrainingSettings(BaseModel):
    """Settings of the training loop; the defaults are those of the voting paper.

    Title, description and bounds of each field make the form, the flags and the saved JSON.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch_size: Annotated[int, Field(ge=1, le=65_536)] = Field(
        128, title="Batch size", description="Patches or images a batch, on each device."
    )
    accumulate: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        title="Batches a step",
        description=(
            "Batches on each device whose gradients are averaged before a step is made: as if so "
            "many times as many devices were used, where there is no memory for a larger batch."
        ),
    )
    optimizer: Literal["adam", "adamw", "sgd"] = Field(
        "adam", title="Optimizer", description="How the weights follow the gradient."
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(
        1e-4, title="Learning rate", description="At the start, or at the peak after a warm-up."
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, title="Weight decay", description="Pull of the weights towards 0."
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.9, title="Momentum", description="Of the optimizer sgd."
    )
    schedule: Literal["plateau", "cosine", "steps", "exponential", "constant"] = Field(
        "plateau",
        title="Schedule",
        description=(
            "plateau: multiply when the validation no longer improves; cosine: down to 0 at the "
            "end; steps: multiply at the milestones; exponential: multiply every epoch."
        ),
    )
    factor: Annotated[float, Field(gt=0, le=1)] = Field(
        0.3, title="Factor", description="Of the schedules plateau, steps and exponential."
    )
    patience: Annotated[int, Field(ge=1, le=10_000)] = Field(
        10,
        title="Patience",
        description="Epochs without improvement before the schedule plateau multiplies.",
        json_schema_extra={"unit": "epochs"},
    )
    milestones: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), title="Milestones", description="Epochs (from 1) after which the schedule steps acts."
    )
    warmup_steps: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        0, title="Warm-up", description="Steps over which the learning rate rises from 0."
    )
    early_stopping: Annotated[int, Field(ge=0, le=10_000)] = Field(
        20,
        title="Early stopping",
        description="Stop after so many epochs without improvement; 0 never stops early.",
        json_schema_extra={"unit": "epochs"},
    )
    max_epochs: Annotated[int, Field(ge=1, le=100_000)] = Field(
        200, title="Epochs", description="At most."
    )
    steps_per_epoch: Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        0, title="Steps an epoch", description="0: as many as the method thinks right."
    )
    max_minutes: Annotated[float, Field(ge=0, le=100_000)] = Field(
        0.0,
        title="Time limit",
        description=(
            "Stop after so much time; 0 for no limit. The schedule cosine then ends at the limit, "
            "and the run cannot be repeated to the bit."
        ),
        json_schema_extra={"unit": "min", "zero": "no limit"},
    )
    validation_share: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.2, title="Validation share", description="Share of the images that is held back."
    )
    folds: Annotated[int, Field(ge=0, le=1000)] = Field(
        0,
        title="Folds",
        description="Of a cross-validation: instead of a share, one fold is held back. 0: none.",
    )
    fold: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, title="Fold", description="Which of the folds is held back, from 1."
    )
    scheme: Annotated[
        str, Field(pattern=r"^(none|full|interleaved|freeze_[1-9]\d{0,3}(_bn)?)$")
    ] = Field(
        "full",
        title="Fine-tuning scheme",
        description="none, full, freeze_N, freeze_N_bn or interleaved: which weights are trained.",
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        title="Averaging",
        description="Decay of the moving average of the weights, the result then; 0: none.",
    )
    clip_norm: Annotated[float, Field(ge=0)] = Field(
        0.0, title="Gradient clipping", description="Largest norm of the gradient; 0: no limit."
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        0, title="Seed", description="The same seed gives the same run."
    )
    deterministic: bool = Field(
        default=True,
        title="Repeatable",
        description="Use only operations that give the same bits each time; slower on a GPU.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        title="Precision",
        description="auto: the preferred one, else float32 on CPUs, bfloat16 on GPUs that have it.",
    )
    devices: Annotated[int, Field(ge=1, le=1024)] = Field(
        1,
        title="GPUs",
        description="How many are used together, each with its own batches of every step.",
    )
    data_threads: Annotated[int, Field(ge=1, le=64)] = Field(
        1, title="Data threads", description="Threads that make batches ahead."
    )
    report_every: Annotated[int, Field(ge=1, le=100_000)] = Field(
        10, title="Report every", description="Steps between two reports of the loss."
    )
    save_minutes: Annotated[float, Field(ge=0, le=10_000)] = Field(
        5.0,
        title="Save every",
        description="Time between two saved states within an epoch; each epoch's end is saved too.",
        json_schema_extra={"unit": "min"},
    )
    preview_every: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0, title="Preview every", description="Epochs between two previews; 0: none."
    )
    show_patches: Annotated[int, Field(ge=0, le=1024)] = Field(
        0,
        title="Patches shown",
        description="Training patches, varied at random, that are shown before the first step.",
    )
    dry_steps: Annotated[int, Field(ge=0, le=100)] = Field(
        3, title="Dry steps", description="Steps timed on a copy before the start."
    )
    allow_leakage: bool = Field(
        default=False,
        title="Allow leakage",
        description=(
            "Train even if the same eye is in the training and the validation part. A single image "
            "is then cut in two."
        ),
    )


def split_settings(
    settings: Mapping[str, Any], model: type[OptionsT]
) -> tuple[TrainingSettings, OptionsT]:
    """Return the settings of the loop and the options of a method from one mapping.

    Parameters
    ----------
    settings
        Fields of both that differ from their defaults.
    model
        The method's own options.

    Raises
    ------
    OptionsError
        A field is in neither, or its value is out of bounds.
    """
    own, shared = model.model_fields, TrainingSettings.model_fields
    if unknown := [name for name in settings if name not in own and name not in shared]:
        raise OptionsError(
            f"Unknown setting {', '.join(map(repr, unknown))}; there are "
            f"{', '.join([*own, *shared])}."
        )
    try:
        return (
            TrainingSettings.model_validate({n: v for n, v in settings.items() if n in shared}),
            model.model_validate(
                {n: _coerce_literal(v, own[n].annotation) for n, v in settings.items() if n in own}
            ),
        )
    except ValidationError as error:
        raise OptionsError(explain_validation(error, "Setting {!r}")) from None


def _coerce_literal(value: Any, annotation: Any) -> Any:
    """Return the number that a command line's text stands for, where one of a few is wanted.

    pydantic reads text as a number everywhere but in a `Literal`.
    """
    if isinstance(value, str) and get_origin(annotation) is Literal:
        return next((choice for choice in get_args(annotation) if str(choice) == value), value)
    return value
