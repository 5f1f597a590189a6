"""``python -m napari_fundus.cli``: the command line where its script is not on the path."""

from __future__ import annotations

from napari_fundus.cli import main

if __name__ == "__main__":
    main()
