"""Torch's compiler can be imported in a window that Mesa has drawn."""

from __future__ import annotations

import subprocess
import sys

import pytest

from napari_fundus.runtime.native_libraries import isolate_triton_llvm

_AFTER_A_WINDOW = """
import importlib.util
import numpy as np
from qtpy.QtTest import QTest
import napari

viewer = napari.Viewer()
layer = viewer.add_image(np.zeros((80, 80, 3), np.uint8), rgb=True)
QTest.qWait(300)
viewer.window.screenshot(flash=False)
{first}
if importlib.util.find_spec("triton"):
    importlib.import_module("triton")
print("alive")
viewer.close()
"""


@pytest.mark.gui
@pytest.mark.parametrize(
    "first",
    [
        "import napari_fundus.gui",
        "from napari_fundus.api import as_image; as_image(layer)",
    ],
)
def test_the_compiler_is_loaded_after_a_window_was_drawn(first: str) -> None:
    script = _AFTER_A_WINDOW.format(first=first)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "alive" in done.stdout


def test_python_imports_the_very_library_that_was_loaded_apart() -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from napari_fundus.runtime.native_libraries import isolate_triton_llvm\n"
        "done = isolate_triton_llvm()\n"
        "assert not {'torch', 'triton'} & set(sys.modules)\n"
        "maps = Path('/proc/self/maps')\n"
        "loaded = maps.is_file() and 'libtriton' in maps.read_text()\n"
        "assert loaded == done\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_nothing_is_done_where_the_compiler_is_imported_already(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", object())
    assert isolate_triton_llvm.__wrapped__() is False
