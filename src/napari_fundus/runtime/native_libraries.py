"""Keeps two copies of LLVM apart in one process: that of torch's compiler, and that of OpenGL.

Mesa draws with LLVM (its software rasterizer, and its drivers of AMD's cards), and makes LLVM's
names known to the whole process as soon as a window is drawn. Triton, the compiler that comes with
torch, has an LLVM of another version in it: loaded after that, it calls Mesa's functions in place
of its own, and the process dies without a word. Importing torchvision is enough to load it.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from functools import cache
from pathlib import Path


@cache
def isolate_triton_llvm() -> bool:
    """Load Triton's library so that it uses its own LLVM, whatever was or will be drawn.

    The library is opened with ``RTLD_DEEPBIND``; Python's import of it later gets that very copy.
    This neither imports Triton nor torch, and takes some 20 ms of the processor, once.

    Returns
    -------
    bool
        Whether there was something to do: on Linux, with Triton installed and not yet imported.
    """
    if not hasattr(os, "RTLD_DEEPBIND") or "triton" in sys.modules:
        return False
    found = importlib.util.find_spec("triton")
    folders = found.submodule_search_locations if found is not None else None
    for folder in folders or ():
        for library in (Path(folder) / "_C").glob("libtriton*.so"):
            try:
                ctypes.CDLL(str(library), mode=os.RTLD_LAZY | os.RTLD_DEEPBIND)
            except OSError:
                # A library that cannot be loaded now cannot be imported later either.
                return False
            return True
    return False
