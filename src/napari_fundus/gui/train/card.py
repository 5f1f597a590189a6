"""A model card as text for people."""

from __future__ import annotations

import html

from napari_fundus.checkpoints import ModelCard
from napari_fundus.lesions import describe


def card_html(card: ModelCard) -> str:
    """Return what weights are, what they learned from and what they reached, as rich text."""
    training = card.recipe.get("training", {})
    metrics = ", ".join(
        f"{name} {value:.4g}" for name, value in card.metrics.items() if name != "epoch"
    )
    epoch = card.metrics.get("epoch")
    rows = (
        ("Method", card.detector),
        ("Finds", ", ".join(describe(code).plural for code in card.lesions)),
        ("Learned from", card.data + (f" ({card.data_licence})" if card.data_licence else "")),
        (
            "Images",
            f"{len(card.split.train)} trained on, {len(card.split.validation)} held back",
        ),
        ("Started from", card.parent.name if card.parent is not None else "nothing"),
        ("Scheme", str(training.get("scheme", "")) if card.parent is not None else ""),
        ("Best epoch", "" if epoch is None else f"{int(epoch) + 1}"),
        ("Figures", metrics),
        ("Made", card.created.replace("T", " ").removesuffix("+00:00")),
        ("Notes", card.notes),
    )
    lines = "".join(
        f"<tr><td style='padding-right:8px'>{title}</td><td>{html.escape(text)}</td></tr>"
        for title, text in rows
        if text
    )
    return f"<qt><b>{html.escape(card.name)}</b><table>{lines}</table></qt>"
