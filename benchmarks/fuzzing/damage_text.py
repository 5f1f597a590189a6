"""Damage to JSON, CSV and XML by their own parts: values, cells, elements, entities, depth."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

__all__ = ["damage_csv", "damage_json", "damage_tree", "damage_xml"]

NASTY_WORDS = (
    "",
    "../../../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "file:///etc/passwd",
    "~/.ssh/id_rsa",
    "a\0b",
    "\ud800",
    "\ufeff",
    "nan",
    "inf",
    "-1",
    "1e308",
    "1e999",
    "9" * 400,
    "0x10",
    "१२",
    "1_000",
    "=1+1",
    "%s%n",
    "MA",
    "x" * 5_000,
    "\u2028",
    "<b>",
    '"',
    "None",
)
_NUMBERS = (0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e308, -1e308, float("nan"))
_RAW = ("1e999", "-1e999", "NaN", "Infinity", "9" * 5000, "-", "01", "tru", "[", "}", '"', ",", "")
_DEEP = (500, 5_000, 30_000)


def damage_json(content: bytes, rng: Random) -> bytes:
    """Return JSON with a value, a key or a token changed; it may be JSON no more."""
    text = content.decode("utf-8", "replace")
    if rng.random() < 0.7:
        try:
            return _dumped(damage_tree(json.loads(text), rng))
        except (ValueError, RecursionError):
            pass  # damaged before: a token of it can still be changed
    match rng.randrange(6):
        case 0:
            deep = rng.choice(_DEEP)
            nest = rng.choice((("[", "]"), ('{"a":', "}")))
            text = _replaced(text, nest[0] * deep + "1" + nest[1] * deep, rng)
        case 1:
            return text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32")), "replace")
        case 2:
            keys = re.findall(r'"\w+":', text)
            return text.replace("{", "{" + (rng.choice(keys) + "1," if keys else ""), 1).encode()
        case _:
            text = _replaced(text, rng.choice(_RAW), rng)
    return text.encode("utf-8", "surrogatepass")


def _dumped(tree: Any) -> bytes:
    return json.dumps(tree, ensure_ascii=True).encode()


def _replaced(text: str, new: str, rng: Random) -> str:
    tokens = list(re.finditer(r'"[^"]*"|-?\d[\d.eE+-]*|true|false|null|[\[\]{}:,]', text))
    if not tokens:
        return new
    token = rng.choice(tokens)
    return text[: token.start()] + new + text[token.end() :]


def damage_tree(tree: Any, rng: Random) -> Any:
    """Return plain values (of JSON) with one of them changed, taken away or doubled."""
    if not isinstance(tree, dict | list):
        return _nasty(tree, rng)
    places: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                waiting.append(node[key])
    if not places or rng.random() < 0.02:
        return _nasty(tree, rng)
    holder, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[rng.choice(NASTY_WORDS)] = holder.pop(key)
        case 2 if isinstance(holder, list):
            holder *= rng.choice((0, 2, 50))
        case _:
            holder[key] = _nasty(holder[key], rng)
    return tree


def _nasty(value: Any, rng: Random) -> Any:
    match rng.randrange(6):
        case 0:
            return rng.choice(_NUMBERS)
        case 1:
            return rng.choice((None, True, False, [], {}, [[]], {"": {}}))
        case 2:
            return [value]
        case 3:
            return str(value)
        case 4 if isinstance(value, int | float):
            return -value
        case _:
            return rng.choice(NASTY_WORDS)


def damage_csv(content: bytes, rng: Random) -> bytes:
    """Return a table with a cell, a row, a column or its punctuation changed."""
    rows = [line.split(",") for line in content.decode("utf-8", "replace").splitlines()]
    rows = rows or [[""]]
    row = rng.choice(rows)
    at = rng.randrange(len(row))
    match rng.randrange(12):
        case 0:
            rows.remove(row)
        case 1:
            rows += [list(row)] * rng.choice((1, 2, 500))
        case 2:
            rows = [cells[:at] + cells[at + 1 :] for cells in rows]
        case 3:
            rows = [[*cells, *cells[at : at + 1]] for cells in rows]
        case 4:
            row[at] = '"' + row[at]
        case 5:
            row += [""] * rng.choice((1, 5_000))
        case 6:
            text = "\n".join(",".join(cells) for cells in rows)
            return text.replace(",", rng.choice((";", "\t", "", "\0"))).encode("utf-8", "replace")
        case 7:
            text = rng.choice(("\r", "\r\n", "\v", "\n\n")).join(",".join(cells) for cells in rows)
            return text.encode(rng.choice(("utf-16", "utf-8-sig", "cp1252", "utf-32")), "replace")
        case 8:
            row[at] = damage_json(row[at].encode("utf-8", "replace"), rng).decode(
                "utf-8", "replace"
            )
        case _:
            row[at] = rng.choice((*NASTY_WORDS, *_RAW))
    return "\n".join(",".join(cells) for cells in rows).encode("utf-8", "surrogatepass")


_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "ha"}">' for n in range(10))
_DOCTYPES = (
    f"<!DOCTYPE x [{_LAUGHS}]>",
    '<!DOCTYPE x [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
    '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://localhost:9/x.dtd"> %p;]>',
    '<!DOCTYPE x SYSTEM "http://localhost:9/x.dtd">',
    f'<!DOCTYPE x [<!ENTITY l9 "{"x" * 50_000}">]>',
)


def damage_xml(content: bytes, rng: Random) -> bytes:
    """Return XML with a text, an element, the declarations or the nesting changed."""
    text = content.decode("utf-8", "replace")
    tags = list(re.finditer(r"<[^>]*>", text))
    if not tags:
        return content
    tag = rng.choice(tags)
    head = tags[1].start() if len(tags) > 1 and text.startswith("<?xml") else 0
    match rng.randrange(10):
        case 0:
            use = "&l9;" * rng.choice((0, 1, 2000))
            text = text[:head] + rng.choice(_DOCTYPES) + text[head : tag.end()] + use
            text += content.decode("utf-8", "replace")[tag.end() :]
        case 1:
            name = re.sub(r"\W.*", "", tag[0].strip("</?>"), flags=re.DOTALL) or "a"
            deep = rng.choice(_DEEP)
            text = text[: tag.start()] + f"<{name}>" * deep + f"</{name}>" * deep
            text += content.decode("utf-8", "replace")[tag.start() :]
        case 2:
            text = text[: tag.start()] + text[tag.end() :]
        case 3:
            other = rng.choice(tags)
            part = text[min(tag.start(), other.start()) : max(tag.end(), other.end())]
            text = text[: tag.end()] + part * rng.choice((1, 2, 100)) + text[tag.end() :]
        case 4:
            text = re.sub(r"encoding=[\"'][^\"']*", f'encoding="{rng.choice(_ENCODINGS)}', text)
        case 5:
            word = rng.choice(NASTY_WORDS)
            text = re.sub(r"=\"[^\"]*\"", lambda _: f'="{word}"', text, count=1)
        case 6:
            part = rng.choice(("<![CDATA[", "<!--", "<?x ", "&#0;", "&#xFFFFFFFF;", "&amp;", "]]>"))
            text = text[: tag.end()] + part + text[tag.end() :]
        case _:
            end = text.find("<", tag.end())
            text = text[: tag.end()] + rng.choice(NASTY_WORDS) + text[max(end, tag.end()) :]
    return text.encode("utf-8", "surrogatepass")


_ENCODINGS = ("utf-16", "utf-7", "ascii", "latin-1", "hex", "rot13", "idna", "nonsense", "utf-32")
