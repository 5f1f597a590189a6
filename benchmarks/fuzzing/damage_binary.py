"""Damage to PNG, JPEG, TIFF and safetensors by their own parts: sizes, chunks, tags, headers."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from functools import lru_cache
from random import Random

from benchmarks.fuzzing.damage_bytes import damage_bytes, extreme
from benchmarks.fuzzing.damage_text import damage_json

__all__ = ["damage_jpeg", "damage_png", "damage_safetensors", "damage_tiff"]

_SIDES = (0, 1, 63, 64, 8_000, 13_000, 20_000, 65_535, 65_536, 2**24, 2**31 - 1, 2**32 - 1)
_PNG = b"\x89PNG\r\n\x1a\n"
_TAGS = (254, 256, 257, 258, 259, 262, 266, 269, 273, 274, 277, 278, 279, 284, 317, 320)
_TILE_TAGS = (322, 323, 324, 325, 338, 339, 347, 530, 32997)
_CODES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 16, 32, 64, 32773, 32946, 34712, 34892, 34925, 50000)


def damage_png(content: bytes, rng: Random) -> bytes:
    """Return a PNG with a header, a chunk or its order changed, checksums set right."""
    chunks = _chunks(content)
    if not chunks or rng.random() < 0.3:
        return damage_bytes(content, rng)
    at = rng.randrange(len(chunks))
    kind, data = chunks[at]
    match rng.randrange(7):
        case 0 | 1 if chunks[0][0] == b"IHDR" and len(chunks[0][1]) == 13:
            header = bytearray(chunks[0][1])
            if rng.random() < 0.6:
                header[:8] = struct.pack(">II", rng.choice(_SIDES), rng.choice(_SIDES))
            else:
                header[8:] = bytes(rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255)) for _ in range(5))
            chunks[0] = (b"IHDR", bytes(header))
        case 2:
            del chunks[at]
        case 3:
            chunks.insert(rng.randrange(len(chunks)), (kind, data))
        case 4:
            chunks[at] = (kind, damage_bytes(data, rng))
        case 5:
            name = rng.choice((b"zTXt", b"iCCP", b"eXIf", b"tRNS", b"PLTE", b"acTL", b"gAMA"))
            new = b"x\0\0" + _bomb() if name in (b"zTXt", b"iCCP") else rng.randbytes(20)
            chunks.insert(1, (name, new))
        case _:
            chunks[at] = (b"IDAT", _bomb())
    return _PNG + b"".join(_chunk(*chunk) for chunk in chunks)


@lru_cache
def _bomb() -> bytes:
    """Return 20 million zeros as zlib packs them, a thousandth of that."""
    return zlib.compress(bytes(20_000_000), 9)


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    at = len(_PNG)
    while content.startswith(_PNG) and at + 8 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        found.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def damage_jpeg(content: bytes, rng: Random) -> bytes:
    """Return a JPEG with the size, the tables or the length of a segment changed."""
    markers = [
        at
        for at in range(min(len(content) - 9, 2000))
        if content[at] == 0xFF and content[at + 1] > 0xBF
    ]
    if not markers or rng.random() < 0.4:
        return damage_bytes(content, rng)
    data = bytearray(content)
    frames = [at for at in markers if data[at + 1] in (0xC0, 0xC1, 0xC2)]
    at = rng.choice(markers)
    match rng.randrange(4):
        case 0 | 1 if frames:
            sides = rng.choice(_SIDES) & 0xFFFF, rng.choice(_SIDES) & 0xFFFF
            data[frames[0] + 5 : frames[0] + 9] = struct.pack(">HH", *sides)
        case 2:
            data[at + 2 : at + 4] = struct.pack(">H", extreme(rng) & 0xFFFF)
        case _:
            data[at + 1] = rng.randrange(256)
    return bytes(data)


def damage_tiff(content: bytes, rng: Random) -> bytes:
    """Return a TIFF with a tag, the description or the chain of its pages changed."""
    entries = _entries(content)
    if not entries or rng.random() < 0.3:
        return damage_bytes(content, rng)
    data = bytearray(content)
    by_tag = {struct.unpack_from("<H", data, at)[0]: at for at in entries}
    at = rng.choice(entries)
    match rng.randrange(8):
        case 0 | 1:
            for tag in rng.sample((256, 257, 322, 323, 278), 2):
                if tag in by_tag:
                    struct.pack_into("<HII", data, by_tag[tag] + 2, 4, 1, rng.choice(_SIDES))
        case 2 | 3:
            chosen = [by_tag[tag] for tag in (*_TAGS, *_TILE_TAGS) if tag in by_tag] or [at]
            struct.pack_into("<I", data, rng.choice(chosen) + 8, rng.choice(_CODES))
        case 4:
            struct.pack_into("<H", data, at, rng.choice((*_TAGS, *_TILE_TAGS)))
        case 5:
            struct.pack_into("<H", data, at + 2, rng.randrange(20))
        case 6:
            struct.pack_into("<I", data, at + 4, rng.choice((0, 1, 2, 1000, 2**24, 2**32 - 1)))
        case _ if 270 in by_tag:
            _describe(data, by_tag[270], rng)
        case _:
            start = struct.unpack_from("<I", data, 4)[0]
            following = entries[-1] + 12
            if following + 4 <= len(data):
                struct.pack_into("<I", data, following, rng.choice((start, 8, len(data) - 2)))
    return bytes(data)


def _entries(content: bytes) -> list[int]:
    """Return where the tags of the first page of a little-endian TIFF stand."""
    if content[:4] != b"II*\0" or len(content) < 8:
        return []
    start = int.from_bytes(content[4:8], "little")
    count = int.from_bytes(content[start : start + 2], "little")
    places = [start + 2 + 12 * n for n in range(count)]
    return [at for at in places if at + 12 <= len(content)]


def _describe(data: bytearray, at: int, rng: Random) -> None:
    """Damage the JSON of a description, and put it at the end of the file."""
    count, offset = struct.unpack_from("<II", data, at + 4)
    new = damage_json(bytes(data[offset : offset + count]).rstrip(b"\0"), rng) + b"\0"
    struct.pack_into("<II", data, at + 4, len(new), len(data))
    data += new


def damage_safetensors(content: bytes, rng: Random) -> bytes:
    """Return a file of weights with its header or card changed; often signed anew."""
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length]
    if rng.random() < 0.3:
        return damage_bytes(content, rng)
    body = content[8 + length :]
    header = (damage_json if rng.random() < 0.5 else _card_damaged)(header, rng)
    if rng.random() < 0.1:
        body = damage_bytes(body, rng)
    if rng.random() < 0.6:
        header = _signed(header, body)
    claimed = (
        len(header) if rng.random() < 0.95 else rng.choice((0, 1, 2**20, 2**40, 2**63, 2**64 - 1))
    )
    return struct.pack("<Q", claimed) + header + body


def _card_damaged(header: bytes, rng: Random) -> bytes:
    try:
        content = json.loads(header)
        card = content["__metadata__"]["napari_fundus"]
        changed = damage_json(card.encode(), rng)
        content["__metadata__"]["napari_fundus"] = changed.decode("utf-8", "replace")
        return json.dumps(content).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return damage_json(header, rng)


def _signed(header: bytes, body: bytes) -> bytes:
    """Return the header with the hash that its reader will find right, where it has one."""
    mark = rb"content_sha256\":"
    at = header.find(mark)
    start = header.find(rb"\"", at + len(mark)) + 2
    if at < 0 or len(header) < start + 64:
        return header
    # The card is written anew with its separators; the reader wants them tight.
    header = header[:at] + mark + rb"\"" + b"0" * 64 + header[start + 64 :]
    head = struct.pack("<Q", len(header)) + header
    digest = hashlib.sha256(head + body).hexdigest().encode()
    return header.replace(mark + rb"\"" + b"0" * 64, mark + rb"\"" + digest, 1)
