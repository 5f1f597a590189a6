"""What a pydantic field says of itself: title, unit, bounds, tooltip and default; no Qt in it."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

__all__ = [
    "field_bounds",
    "field_extra",
    "field_special_value_text",
    "field_title",
    "field_tooltip",
    "field_unit",
    "model_defaults",
]


def field_title(name: str, field: FieldInfo) -> str:
    """Return a field's title, or its name in words."""
    return field.title or name.replace("_", " ").capitalize()


def field_extra(field: FieldInfo) -> dict[str, Any]:
    """Return what a field adds to its JSON schema, where that is a mapping."""
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def field_unit(field: FieldInfo) -> str:
    """Return a field's unit (``json_schema_extra={"unit": "px"}``), or nothing."""
    return str(field_extra(field).get("unit", ""))


def field_special_value_text(field: FieldInfo) -> str:
    """Return what a field's least value is shown as, such as ``"no limit"``; nothing for itself."""
    return str(field_extra(field).get("zero", ""))


def model_defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of all fields; None for one that has none."""
    values = {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True, validated_data={})
        values[name] = None if default is PydanticUndefined else default
    return values


def field_bounds(field: FieldInfo) -> dict[str, float]:
    """Return ge, gt, le, lt as far as they are stated."""
    found: dict[str, float] = {}
    for item in field.metadata:
        for key in ("ge", "gt", "le", "lt", "multiple_of"):
            value = getattr(item, key, None)
            if isinstance(value, int | float):
                found[key] = value
    return found


def field_tooltip(field: FieldInfo) -> str:
    """Return description, bounds and default of a field, as rich text."""
    bounds = field_bounds(field)
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    unit = f" {field_unit(field)}" if field_unit(field) else ""
    parts = [field.description or ""]
    if low is not None and high is not None:
        parts.append(f"From {low:g} to {high:g}{unit}.")
    elif low is not None:
        parts.append(f"At least {low:g}{unit}.")
    elif high is not None:
        parts.append(f"At most {high:g}{unit}.")
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is not PydanticUndefined and isinstance(default, str | int | float | bool | Enum):
        shown = default.value if isinstance(default, Enum) else default
        parts.append(f"Default: {shown}.")
    text = "<br>".join(part for part in parts if part)
    return f"<qt>{text}</qt>" if text else ""
