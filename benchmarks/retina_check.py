"""How often a photograph of a retina is doubted, and a picture of something else is not.

Run ``python -m benchmarks.retina_check FOLDER…`` with folders of photographs.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from skimage import data

from napari_fundus.image import FundusImage, read_image
from napari_fundus.preprocessing import check_retina

_SAMPLES = (
    *("astronaut", "brick", "camera", "cat", "cell", "clock", "coffee", "coins", "colorwheel"),
    *("grass", "gravel", "hubble_deep_field", "immunohistochemistry", "logo", "moon", "page"),
    *("rocket", "text"),
)
"""Pictures that come with scikit-image."""


def count_doubted(paths: list[Path]) -> int:
    """Print what is said of photographs; return of how many something is."""
    doubted, start = 0, time.perf_counter()
    for path in paths:
        warnings = check_retina(read_image(path))
        doubted += bool(warnings)
        if warnings:
            print(f"  {path}: {' '.join(warnings)}", flush=True)
    seconds = (time.perf_counter() - start) / max(len(paths), 1)
    print(f"Photographs of a retina: {len(paths)}, with a warning: {doubted}; {seconds:.2f} s each")
    return doubted


def count_missed() -> int:
    """Print what is said of pictures without a retina; return of how many nothing is."""
    missed = 0
    for name in _SAMPLES:
        warnings = check_retina(FundusImage.from_array(getattr(data, name)(), name=name))
        missed += not warnings
        print(f"  {name}: {' '.join(warnings) or 'nothing'}")
    print(f"Pictures without a retina: {len(_SAMPLES)}, without a warning: {missed}")
    return missed


def main() -> None:
    """Print both counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    folders = parser.parse_args().folders
    paths = sorted(path for folder in folders for path in folder.rglob("*.jpg"))
    count_doubted(paths)
    count_missed()


if __name__ == "__main__":
    main()
