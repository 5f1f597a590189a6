"""A line of text that takes no room while it is empty."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel


class MessageLabel(QLabel):
    """A label with word wrap that is hidden while it has no text."""

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.setWordWrap(True)
        if not text:  # one without a parent would be a window if it were made visible here
            self.hide()

    def setText(self, text: str) -> None:  # noqa: N802
        """Show `text`; none hides the label."""
        super().setText(text)
        self.setVisible(bool(text))
