"""What a batch of small images gains where a detector's network is built once for all."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from PIL import Image

from napari_fundus.batch import run_batch
from napari_fundus.inference.network_cache import clear_network_cache
from napari_fundus.samples import sample_image_path


def main() -> None:
    """Print seconds of the processor an image, with the network built anew for each, and kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default="voting")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--side", type=int, default=256, help="longer side of the images, px")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    arguments = parser.parse_args()
    options = dict(setting.split("=", 1) for setting in arguments.set)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Image.open(sample_image_path()) as photograph:
            photograph.thumbnail((arguments.side, arguments.side))
            for number in range(arguments.images):
                photograph.rotate(number).save(folder / f"eye{number}.png")
        for keep in (True, False):
            marks = [time.process_time()]

            def note(_: object, marks: list[float] = marks, *, keep: bool = keep) -> None:
                marks.append(time.process_time())
                if not keep:
                    clear_network_cache()

            report = run_batch(
                [folder],
                folder / f"kept-{keep}",
                arguments.detector,
                options=options,
                device="cpu",
                formats=["csv"],
                on_outcome=note,
            )
            if report.failed:
                parser.error(report.failed[0].message)
            # The first image loads libraries, whatever is kept.
            seconds[keep] = [b - a for a, b in pairwise(marks[1:])]
    anew, kept = (statistics.median(seconds[keep]) for keep in (False, True))
    print(
        f"{arguments.detector}, {arguments.images} images of {arguments.side} px: "
        f"{anew:.3f} s an image with a network for each, {kept:.3f} s with one for all "
        f"({anew / kept:.2f} to 1)"
    )


if __name__ == "__main__":
    main()
