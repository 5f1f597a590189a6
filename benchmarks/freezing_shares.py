"""Shares of trainable weights by freezing scheme beside the paper's, and the search for a wiring.

Usage: ``python -m benchmarks.freezing_shares [--search]``
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import combinations, product

import torch
from pydantic import ValidationError

from napari_fundus.backends.voting.network import (
    PatchNetwork,
    PatchNetworkArchitecture,
    paper_widths,
)
from napari_fundus.training.loop.freezing import freeze

PAPER = {
    "freeze_3_bn": 98.44,
    "freeze_5_bn": 94.12,
    "freeze_8_bn": 73.96,
    "freeze_11_bn": 39.40,
    "freeze_14_bn": 4.85,
    "interleaved": 59.56,
}
"""The paper's shares, %. Its Freeze N and Freeze N + BN differ by the normalizations alone."""

WIDTHS = (8, 16, 24, 32)


def main() -> None:
    """Print the table, or the best wirings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", action="store_true", help="try all wirings (a minute)")
    if parser.parse_args().search:
        _print_search()
    else:
        _print_table()


def _print_table() -> None:
    networks = {
        width: _network(PatchNetworkArchitecture(widths=paper_widths(width))) for width in WIDTHS
    }
    print("| scheme | paper | " + " | ".join(f"width {width}" for width in WIDTHS) + " |")
    print("|---|---|" + "---|" * len(WIDTHS))
    for count in (3, 5, 8, 11, 14):
        for name in (f"freeze_{count}", f"freeze_{count}_bn"):
            # The paper gives one figure for N; it stands in both lines.
            _print_line(name, PAPER[f"freeze_{count}_bn"], networks)
    _print_line("interleaved", PAPER["interleaved"], networks)
    weights = (sum(p.numel() for p in n.parameters()) for n in networks.values())
    print("| weights |  | " + " | ".join(f"{count:,}" for count in weights) + " |")


def _print_line(name: str, paper: float, networks: dict[int, PatchNetwork]) -> None:
    shares = " | ".join(f"{100 * trainable_share(n, name):.2f}" for n in networks.values())
    print(f"| {name} | {paper:.2f} | {shares} |")


def trainable_share(network: PatchNetwork, scheme: str) -> float:
    """Return the share (0 to 1) of the weights that `scheme` trains; statistics do not count."""
    freeze(network, scheme)
    weights = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, trained in weights if trained) / sum(n for n, _ in weights)


def _print_search() -> None:
    """Print the best wiring of each kind of skips and width, the nearest first."""
    best: dict[tuple[object, int], tuple[float, PatchNetworkArchitecture]] = {}
    for architecture in _wirings():
        network = _network(architecture)
        error = max(
            abs(100 * trainable_share(network, name) - share) for name, share in PAPER.items()
        )
        key = architecture.skips, architecture.widths[0]
        if key not in best or error < best[key][0]:
            best[key] = error, architecture
    print("| largest error, points | width | skips | poolings after | up-samplings before |")
    print("|---|---|---|---|---|")
    for error, architecture in sorted(best.values(), key=lambda item: item[0])[:12]:
        print(
            f"| {error:.2f} | {architecture.widths[0]} | {', '.join(architecture.skips)} | "
            f"{architecture.poolings_after} | {architecture.upsamplings_before} |"
        )


def _wirings() -> Iterator[PatchNetworkArchitecture]:
    """Yield what can be built with the first pooling behind the third convolution."""
    # All widths behind convolution 7 are alike, so where the up-samplings lie moves no weights;
    # only the last matters, since interleaving asks for it.
    last = (12, 13, 14)
    for width, (second, third), end, skips in product(
        WIDTHS,
        combinations(range(4, 10), 2),
        last,
        product(("project", "concat", "output"), repeat=3),
    ):
        try:
            yield PatchNetworkArchitecture.model_validate(
                {
                    "widths": paper_widths(width),
                    "poolings_after": (3, second, third),
                    "upsamplings_before": (end - 2, end - 1, end),
                    "skips": skips,
                }
            )
        except ValidationError:
            continue


def _network(architecture: PatchNetworkArchitecture) -> PatchNetwork:
    """Return a network whose weights take no memory: only their numbers are asked for."""
    with torch.device("meta"):
        return PatchNetwork(architecture)


if __name__ == "__main__":
    main()
