"""The toy task, for tests in this process and in others."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

collect_ignore = ["toy_child.py", "two_child.py"]
"""Programs of their own, which the tests start."""

TOY_PATH = Path(__file__).with_name("toy_task.py")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing by more threads, and lose much where the machine is busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def toy_path() -> Path:
    """The file of the toy task, which runs as a script too."""
    return TOY_PATH


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module of the toy task."""
    spec = importlib.util.spec_from_file_location("napari_fundus_toy_task", TOY_PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
