"""Cross-validation, and the search for good settings."""

from __future__ import annotations

from napari_fundus.training.search.search import SearchResult, search

__all__ = ["SearchResult", "search"]
