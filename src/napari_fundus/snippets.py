"""A result as code: the Python, or the command, that gives the same numbers again."""

from __future__ import annotations

import json
import pprint
import shlex
from typing import Any

from napari_fundus._version import __version__
from napari_fundus.detector import DetectorOptions
from napari_fundus.errors import FundusError
from napari_fundus.plugins import get_detector
from napari_fundus.results.detections import Detections


def changed_options(model: type[DetectorOptions], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, as JSON has them, that differ from the model's defaults."""
    defaults = model().model_dump(mode="json")
    return {name: value for name, value in options.items() if value != defaults.get(name)}


def as_python(detections: Detections, *, source: str | None = None) -> str:
    """Return a script that runs the detector again and prints the same table.

    Parameters
    ----------
    detections
        The result as it now stands, its sliders included.
    source
        Python expression for the image where it has no file, such as ``viewer.layers["eye"]``.
    """
    ran = detections.provenance
    options = changed_options(get_detector(ran.detector).Options, ran.options)
    version = f"{ran.detector} {ran.detector_version}, napari-fundus {__version__}"
    lines = [f"# {ran.image_name}: {version}"]
    if ran.image_path is None:
        lines.append("# The layer has no file: run this in napari's console (Window > console).")
    lines += [
        "import napari_fundus as nf",
        "",
        "result = nf.detect(",
        f"    {ran.image_path!r}," if ran.image_path is not None else f"    {source},",
        f"    {ran.detector!r},",
        f"    device={ran.device!r},",
    ]
    if options:
        shown = pprint.pformat(options, width=84, sort_dicts=False).replace("\n", "\n    ")
        lines.append(f"    **{shown},")
    lines.append(")")
    thresholds = {str(code): float(value) for code, value in detections.thresholds.items()}
    lines.append(f"result = result.threshold({thresholds!r}, min_area={detections.min_area})")
    lines.append("print(result.instances)")
    return "\n".join(lines) + "\n"


def as_command(detections: Detections, run: Detections, *, output: str = "fundus-results") -> str:
    """Return the command line that writes the same table.

    Parameters
    ----------
    detections
        The result as it now stands, its sliders included.
    run
        The result as the detector gave it.
    output
        Folder that the command writes to.

    Raises
    ------
    FundusError
        The image has no file; the message says what to do instead.
    """
    ran = detections.provenance
    if ran.image_path is None:
        raise FundusError(
            "The layer has no file that holds these very pixels, so no command can read them. Save "
            "the layer as TIFF or PNG, open that, and run again; or use Copy as Python."
        )
    options = {**ran.options, "min_area": detections.min_area}
    words = ["napari-fundus", "detect", ran.image_path, "--detector", ran.detector]
    if dict(detections.thresholds) != dict(run.thresholds):
        values = set(detections.thresholds.values())
        if len(values) == 1 and set(run.thresholds.values()) == {ran.options["threshold"]}:
            options["threshold"] = values.pop()
        else:
            for code, value in detections.thresholds.items():
                words += ["--threshold", f"{code}={value!r}"]
    for name, value in changed_options(get_detector(ran.detector).Options, options).items():
        words += ["--set", f"{name}={value if isinstance(value, str) else json.dumps(value)}"]
    words += ["--device", ran.device, "-o", output]
    return shlex.join(words)
