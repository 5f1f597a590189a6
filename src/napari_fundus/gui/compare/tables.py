"""The differences of two results as text: counts of each class, and figures against the truth."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from napari_fundus.evaluation.agreement import Agreement
from napari_fundus.gui.layers.go_to import Column

COLUMNS: tuple[Column, ...] = (
    ("Where", "where", str),
    ("Class", "lesion", str),
    ("Area A", "area_a", lambda value: f"{value:,}" if value else "–"),
    ("Area B", "area_b", lambda value: f"{value:,}" if value else "–"),
    ("p A", "score_a", lambda value: f"{value:.2f}"),
    ("p B", "score_b", lambda value: f"{value:.2f}"),
)

_CLASS = {"lesion": ("Class", "{}")}
_COUNTS = _CLASS | {name: (name, "{:.0f}") for name in ("A", "B", "both", "only A", "only B")}
_DIFFERENCES = _CLASS | {
    "score difference": ("Δ score", "{:+.2f}"),
    "area difference": ("Δ area", "{:+.0f} px"),
    "dice": ("Dice of pixels", "{:.2f}"),
}
_AGAINST_TRUTH = _CLASS | {
    "result": ("", "{}"),
    "hits": ("found", "{}"),
    "false_positives": ("FP", "{:.0f}"),
    "dice": ("Dice", "{:.3f}"),
    "aupr": ("AUPR", "{:.3f}"),
}
"""Columns of the tables: name to heading and format."""


def summary_html(agreement: Agreement) -> str:
    """Return the counts of each class as a table, and below it the metrics against the truth."""
    summary = agreement.summary
    html = _table(summary, _COUNTS)
    html += f"<br><b>Matched lesions, A − B</b>{_table(summary, _DIFFERENCES)}"
    if agreement.against_truth:
        results = agreement.against_truth.items()
        metrics = pd.concat([x.metrics.assign(result=name) for name, x in results])
        metrics["hits"] = metrics["found"].astype(str) + "/" + metrics["lesions"].astype(str)
        place = {code: number for number, code in enumerate(summary["lesion"])}
        metrics = metrics.sort_values("lesion", key=lambda codes: codes.map(place), kind="stable")
        html += f"<br><b>Against the truth</b>{_table(metrics, _AGAINST_TRUTH)}"
    return html


def _table(frame: pd.DataFrame, columns: Mapping[str, tuple[str, str]]) -> str:
    shown = {
        heading: ["–" if pd.isna(value) else form.format(value) for value in frame[name]]
        for name, (heading, form) in columns.items()
    }
    html = pd.DataFrame(shown).to_html(index=False, border=0)
    return html.replace("<th>", "<th align=right>&nbsp;").replace("<td>", "<td align=right>&nbsp;")
