"""Fine-tune voting weights on a few images of another camera, by every scheme, and compare.

Run ``python -m benchmarks.fine_tuning -o FOLDER``. Weights are trained on one part of IDRiD's part
A; the other part is made to look as if another camera had taken it (`other_camera`), and is tested
on in a cross-validation: in each fold the weights are fine-tuned on a few images of the rest. What
is in FOLDER is not made again, so that a call that was cut off goes on. ``--full`` is for a GPU.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.fine_tuning_figures import RunResult, table
from benchmarks.fine_tuning_runs import ExperimentPlan, ExperimentStore, make_runs
from benchmarks.idrid_images import lesion_samples
from benchmarks.simulated_camera import OTHER
from napari_fundus.datasets import split_by_group
from napari_fundus.datasets.idrid import Idrid
from napari_fundus.runtime.devices import choose_device
from napari_fundus.runtime.files import atomic_write

SCHEMES = ("full", "freeze_3", "freeze_5", "freeze_8", "freeze_11", "interleaved", "scratch")

_NETWORK: dict[str, Any] = {"width": 8, "patch": 32, "disc_diameter": 700}
_COMMON: dict[str, Any] = {
    "loss": "bce_dice",
    "batch_size": 64,
    "positive_share": 0.5,
    "early_stopping": 0,
    "dry_steps": 0,
}
_BASE: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "schedule": "cosine",
    "warmup_steps": 30,
    "ema": 0.99,
    "max_epochs": 10,
    "steps_per_epoch": 45,
}
_FINE: dict[str, Any] = {
    "learning_rate": 1e-3,
    "patience": 2,
    "max_epochs": 6,
    "steps_per_epoch": 16,
    "validation_tiles": 200,
}
_FEW_HELD_BACK: dict[str, Any] = {"validation_share": 1 / 3}
_FULL_NETWORK: dict[str, Any] = {"width": 16, "patch": 32, "disc_diameter": 1400}
"""With the defaults of the loop, which are the paper's: Dice, Adam 1e-4, 128 patches, plateau."""


def main() -> None:
    """Make the runs that are missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--few", type=int, default=6, help="images to fine-tune on")
    parser.add_argument("--folds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=1, help="fine-tunings of each scheme and fold")
    parser.add_argument("--schemes", nargs="+", default=SCHEMES)
    parser.add_argument("--full", action="store_true", help="the paper's settings and size (GPU)")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    samples = lesion_samples(arguments.data)
    base, target = split_by_group(samples, (0.55, 0.45), seed=0)
    full = arguments.full
    plan = ExperimentPlan(
        camera=str(OTHER),
        base=tuple(s.id for s in base),
        target=tuple(s.id for s in target),
        folds=arguments.folds,
        few=arguments.few,
        network=_FULL_NETWORK if full else _NETWORK,
        base_settings={} if full else {**_COMMON, **_BASE},
        fine_settings={**({} if full else {**_COMMON, **_FINE}), **_FEW_HELD_BACK},
        stride=16,
    )
    bench = ExperimentStore(plan, arguments.output, choose_device(arguments.device).name)
    bench.claim()
    weights = bench.base(Idrid(arguments.data / "idrid", base))
    rows = make_runs(
        bench, weights, target, schemes=tuple(arguments.schemes), seeds=arguments.seeds
    )
    text = _page(bench, rows)
    print(text)
    with atomic_write(arguments.output / "fine-tuning.md", overwrite=True) as path:
        path.write_text(text + "\n", encoding="utf-8")


def _page(bench: ExperimentStore, rows: Mapping[str, Sequence[RunResult]]) -> str:
    """Return the report, Markdown."""
    plan = bench.plan
    runs = [outcome for group in rows.values() for outcome in group]
    tuned = next(outcome for outcome in runs if outcome.train)
    remarks = sorted({f"{o.scheme}, {remark}" for o in runs for remark in o.measured.remarks})
    names = {"unchanged": "none, images unchanged", "none": "none", "scratch": "from scratch"}
    return "\n".join(
        [
            f"- Base: {len(plan.base)} images of IDRiD part A; target: {len(plan.target)} others, "
            f"{plan.folds} folds by image and eye, {len({o.seed for o in runs})} seed(s).",
            f"- Other camera: {plan.camera}.",
            f"- In each fold {len(tuned.train)} images to train on, {len(tuned.validation)} to "
            f"choose the epoch by, {len(tuned.test)} to test on.",
            f"- Network {plan.network}; base {plan.base_settings}; fine-tuning "
            f"{plan.fine_settings}; votes at stride {plan.stride}.",
            "- Dice and AUPR (33 thresholds): pixels of a fold's test images pooled, in the size "
            "of the new pictures. Means over folds and seeds; in brackets 95 % bootstrap intervals "
            "over images. The best Dice is at the threshold that is best on the test images.",
            f"- Seconds of fine-tuning on {bench.device} ({platform.machine()}); on a CPU those of "
            "the processor.",
            "",
            *table(((names.get(name, name), group) for name, group in rows.items()), rows["none"]),
            *(["", f"FROC: {'; '.join(remarks)}."] if remarks else []),
        ]
    )


if __name__ == "__main__":
    main()
