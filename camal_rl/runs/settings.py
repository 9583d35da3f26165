"""Settings that every configuration has, and settings as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

Device = Literal["auto", "cpu", "cuda"]


def plain(value: Any) -> Any:
    """Return nested settings as plain dictionaries and lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def flat_settings(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings on one level, with the keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat.update(flat_settings(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
