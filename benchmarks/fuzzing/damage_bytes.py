"""Damage to any file, whatever its format: bits, blocks, lengths, ends."""

from __future__ import annotations

import struct
from random import Random

__all__ = ["damage_bytes", "extreme", "random_position"]

_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_EXTREMES_8 = (2**62, 2**63 - 1, 2**63, 2**64 - 1)


def extreme(rng: Random) -> int:
    """Return a number at the edge of what a field of one to four bytes can hold, or near it."""
    return max(rng.choice(_EXTREMES) + rng.choice((-1, 0, 0, 0, 1)), 0) & 0xFFFFFFFF


def random_position(length: int, rng: Random) -> int:
    """Return a position; those near the start, where headers are, come up most."""
    if length <= 1:
        return 0
    if rng.random() < 0.5:
        return min(int(rng.expovariate(1 / 40)), length - 1)
    return rng.randrange(length)


def damage_bytes(content: bytes, rng: Random) -> bytes:
    """Return `content` with one thing wrong in it."""
    data = bytearray(content)
    at = random_position(len(data), rng)
    size = rng.choice((1, 2, 4, 16, 64, 512))
    other = random_position(len(data), rng)
    match rng.randrange(9):
        case 0 if data:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            data[at : at + size] = rng.randbytes(size)
        case 2:
            del data[at:]
        case 3:
            del data[at : at + size]
        case 4:
            data[at:at] = data[other : other + size]
        case 5:
            first, second = bytes(data[at : at + size]), bytes(data[other : other + size])
            data[at : at + len(second)] = second
            data[other : other + len(first)] = first
        case 6:
            data[at : at + size] = bytes(size)
        case 7:
            data[at : at + 8] = struct.pack(rng.choice("<>") + "Q", rng.choice(_EXTREMES_8))
        case _:
            order, width = rng.choice("<>"), rng.choice("BHI")
            top = {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF}[width]
            packed = struct.pack(order + width, extreme(rng) & top)
            data[at : at + len(packed)] = packed
    return bytes(data)
