"""The process in which `napari_fundus.image.isolation` decodes one picture, within limits."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from napari_fundus.errors import ImageReadError
from napari_fundus.image.pillow_files import read_pillow
from napari_fundus.image.tiff_files import TIFF_MARKS, read_tiff


def limit(memory: int, seconds: int) -> None:
    """Let this process take so many bytes more than now, and so many seconds of the processor."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    status = Path("/proc/self/statm")
    if status.exists():
        mapped = int(status.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = mapped + memory
        resource.setrlimit(resource.RLIMIT_AS, (most if hard < 0 else min(most, hard), hard))
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds if hard < 0 else min(seconds, hard), hard))


def main() -> None:
    """Read a picture from standard input; write a line of JSON, and its pixels, to the output."""
    memory, seconds, path = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    content = sys.stdin.buffer.read()
    import imagecodecs  # noqa: F401 - what is loaded before the limits does not count
    import tifffile  # noqa: F401
    from PIL import Image

    Image.init()
    limit(memory, seconds)
    read = read_tiff if content[:4] in TIFF_MARKS else read_pillow
    try:
        pixels, info = read(content, path, isolated=True)
    except ImageReadError as error:
        answer = {"error": type(error).__name__, "message": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    sys.stdout.write(json.dumps({"info": info}) + "\n")
    sys.stdout.flush()
    np.save(sys.stdout.buffer, pixels, allow_pickle=False)


if __name__ == "__main__":
    main()
