"""Work in threads ends with the window, and with Python, without a word."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.gui

_UNDER_WAY_AT_THE_END = """
import time
from qtpy.QtWidgets import QApplication, QWidget
from napari_fundus.gui.controls.thread_job import ThreadJob

application = QApplication([])
widget = QWidget()

def work(monitor):
    time.sleep(1)  # such as an import, which nothing can stop
    print("done", flush=True)
    raise RuntimeError("half of it is gone")

ThreadJob(work, widget).start()
widget.close()
widget.deleteLater()
"""


def test_a_job_under_way_when_python_ends_is_waited_for_and_says_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _UNDER_WAY_AT_THE_END],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["done"]
    assert done.stderr == ""
