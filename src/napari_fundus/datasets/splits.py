"""Dividing samples at random without ever separating images of the same eye."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from napari_fundus.datasets.base import Sample
from napari_fundus.errors import OptionsError


def split_by_group(
    samples: Sequence[Sample], parts: int | Sequence[float], *, seed: int = 0
) -> list[list[Sample]]:
    """Divide samples into parts; samples of one group stay together.

    Parameters
    ----------
    samples
        Any samples; those without a group stand alone.
    parts
        The number of equal parts (the folds of a cross-validation), or the share of each part;
        shares must sum to 1.
    seed
        The same samples, parts and seed give the same division, in whatever order they come.

    Returns
    -------
    divided
        One list a part, in the order of `samples`; sizes come near to the shares.

    Raises
    ------
    OptionsError
        The parts make no sense.

    Examples
    --------
    >>> from pathlib import Path
    >>> eyes = [Sample(str(n), Path(f"{n}.png"), group=f"eye {n // 2}") for n in range(8)]
    >>> [len(part) for part in split_by_group(eyes, [0.75, 0.25], seed=1)]
    [6, 2]
    """
    shares = _shares(parts)
    groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        alone = ("", sample.id, str(sample.image_path))
        groups[alone if sample.group is None else (sample.group,)].append(index)
    keys = sorted(groups)
    np.random.default_rng(seed).shuffle(keys)
    keys.sort(key=lambda key: len(groups[key]), reverse=True)
    wanted = np.array(shares) * len(samples)
    chosen: list[list[int]] = [[] for _ in shares]
    for key in keys:
        # The part that lacks most gets the next group; large groups first, to end near the shares.
        lacking = wanted - [len(part) for part in chosen]
        chosen[int(np.argmax(lacking))] += groups[key]
    return [[samples[index] for index in sorted(part)] for part in chosen]


def _shares(parts: int | Sequence[float]) -> list[float]:
    if isinstance(parts, int):
        if parts < 1:
            raise OptionsError(f"Samples cannot be divided into {parts} parts; give 1 or more.")
        return [1 / parts] * parts
    shares = [float(share) for share in parts]
    if not shares or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise OptionsError(f"The shares {shares} must not be negative and must sum to 1.")
    return shares
