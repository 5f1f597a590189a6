"""What a pydantic field says of itself: title, unit, bounds and tooltip; no Qt in it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from pydantic.fields import FieldInfo


def field_title(name: str, field: FieldInfo) -> str:
    """Return a field's title, or its name in words."""
    return field.title or name.replace("_", " ").capitalize()


def field_extra(field: FieldInfo) -> dict[str, Any]:
    """Return what a field adds to its JSON schema, where that is a mapping.

    Forms use ``unit``, ``zero`` (what the lowest value is shown as, such as ``"no limit"``),
    ``advanced`` and ``checkpoint_of``.
    """
    extra = field.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


def field_bounds(metadata: Iterable[Any]) -> dict[str, float]:
    """Return ge, gt, le, lt and multiple_of as far as a field's `metadata` states them."""
    return {
        key: value
        for item in metadata
        for key in ("ge", "gt", "le", "lt", "multiple_of")
        if isinstance(value := getattr(item, key, None), int | float)
    }


def field_tooltip(field: FieldInfo) -> str:
    """Return description, bounds and default of a field, as rich text."""
    bounds = field_bounds(field.metadata)
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    unit = f" {field_extra(field)['unit']}" if field_extra(field).get("unit") else ""
    parts = [field.description or ""]
    if low is not None and high is not None:
        parts.append(f"From {low:g} to {high:g}{unit}.")
    elif low is not None:
        parts.append(f"At least {low:g}{unit}.")
    elif high is not None:
        parts.append(f"At most {high:g}{unit}.")
    default = field.default.value if isinstance(field.default, Enum) else field.default
    if isinstance(default, str | int | float):
        parts.append(f"Default: {default}.")
    text = "<br>".join(part for part in parts if part)
    return f"<qt>{text}</qt>" if text else ""
