"""The differences of two results as text: counts of each class, and figures against the truth."""

from __future__ import annotations

from html import escape

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

_COUNTS = ("A", "B", "both", "only A", "only B")


def summary_html(agreement: Agreement) -> str:
    """Return the counts of each class as a table, and below it the figures against the truth."""
    summary = agreement.summary.to_dict("records")
    rows = [[str(row["lesion"]), *(str(int(row[name])) for name in _COUNTS)] for row in summary]
    html = _table(("Class", *_COUNTS), rows)
    differences = [
        [
            str(row["lesion"]),
            _number(row["score difference"], "{:+.2f}"),
            _number(row["area difference"], "{:+.0f} px"),
            _number(row["dice"], "{:.2f}"),
        ]
        for row in summary
    ]
    html += "<br><b>Matched lesions, A − B</b>"
    html += _table(("Class", "Δ score", "Δ area", "Dice of pixels"), differences)
    if agreement.against_truth:
        judged = [
            [
                str(row["lesion"]),
                name,
                f"{row['found']}/{row['lesions']}",
                str(row["false_positives"]),
                _number(row["dice"], "{:.3f}"),
                _number(row["aupr"], "{:.3f}"),
            ]
            for name, assessment in agreement.against_truth.items()
            for row in assessment.metrics.to_dict("records")
        ]
        order = [row[0] for row in rows]
        judged.sort(key=lambda row: order.index(row[0]))
        html += "<br><b>Against the truth</b>"
        html += _table(("Class", "", "found", "FP", "Dice", "AUPR"), judged)
    return html


def _number(value: float, form: str) -> str:
    return "–" if pd.isna(value) else form.format(value)


def _table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    head = "".join(f"<th align=right>&nbsp;{escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td align=right>&nbsp;{escape(text)}</td>" for text in row) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"
