"""What is secret in a text, and the text without it. Pure: text in, text and notes out.

Three ways to know a secret, each enough by itself: its *form* (a private key, a password's hash, a
URL with a password), the *name* before it (`password = ...`, `--token ...`), and its *value*, when
it is one that this node has in its files. Removing too much is a nuisance, removing too little a
leak: after a secret's name the rest of the line goes. Every pattern is bounded, and known values
are found one after the other: the daemon's other threads wait for one of these steps at a time.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

REMOVED = "[REMOVED]"
KNOWN_CHARACTERS_MIN = 6  # a shorter value would be found everywhere; its name still tells it
KNOWN_MAX = 2000
NOTES_MAX = 500

_NAMES = r"(?:passw|passphrase|pwd|secret|token|credential|key)[\w.\-]{0,64}+"
_SECRET_NAME = re.compile(_NAMES, re.IGNORECASE)
_VALUE = (
    r'(?:"""[\s\S]*?(?:"""|\Z)|' + r"'''[\s\S]*?(?:'''|\Z)"
    r"|\[[^\]]*\]?[^\n]*|\{[^}]*\}?[^\n]*|[^\n]+)"
)
# (what it is, the pattern, what takes its place); in this order.
FORMS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "a private key",
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [^\n]*|\Z)"),
        REMOVED,
    ),
    ("user and password in a URL", re.compile(r"(://)[^\s/@\"']{1,512}@"), rf"\1{REMOVED}@"),
    ("a password's hash", re.compile(r"\$(?:argon2\w{0,3}|[0-9]\w?|y)\$[^\s\"':]{8,512}"), REMOVED),
    (
        "credentials of HTTP",
        re.compile(r"\b(bearer|basic)\s+[\w.~+/=\-]{8,}", re.IGNORECASE),
        rf"\1 {REMOVED}",
    ),
    ("a token of K3s", re.compile(r"K10[0-9a-f]{16,128}::[^\s\"']{1,256}"), REMOVED),
    ("an invitation", re.compile(r"\b[a-z2-7]{8}(?:[- ][a-z2-7]{8}){5}\b"), REMOVED),
    (
        "a password in SQL",
        re.compile(r"(\b(?:identified\s{1,8}by|password)\s{1,8})['\"][^'\"\n]*['\"]", re.I),
        rf"\1{REMOVED}",
    ),
    (
        "the value of an option",
        re.compile(
            rf"(?<![\w\-])(--[\w\-]{{0,64}}{_NAMES}[ =]\s{{0,8}})[^\s=][^\n]*", re.IGNORECASE
        ),
        rf"\1{REMOVED}",
    ),
    (
        "a value that its name says is secret",
        re.compile(rf"({_NAMES}[\"']?[ \t]{{0,64}}[:=]{{1,2}}[ \t]{{0,64}}){_VALUE}", re.I),
        rf"\1{REMOVED}",
    ),
)
_ASSIGNED = re.compile(
    rf"{_NAMES}[\"']?[ \t]{{0,64}}[:=][ \t]{{0,64}}(?:\"([^\"\n]+)\"|'([^'\n]+)'|([^\s\"',;]+))",
    re.IGNORECASE,
)


def is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def assigned(text: str) -> set[str]:
    """The values that secret names have in a text, to be found elsewhere too."""
    found = {next(v for v in m.groups() if v) for m in _ASSIGNED.finditer(text)}
    return {v for v in found if not v.startswith(("$", "/", "{", "["))}


def spellings(known: Iterable[str]) -> list[str]:
    """Each known value as it may be written in TOML, JSON and URLs; the longest first."""
    found: set[str] = set()
    for value in known:
        if len(value) >= KNOWN_CHARACTERS_MIN:
            plain = json.dumps(value, ensure_ascii=False)[1:-1]
            found |= {value, plain, json.dumps(value)[1:-1], quote(value), quote(value, safe="")}
    return sorted(found, key=lambda v: (-len(v), v))[:KNOWN_MAX]


def redact(text: str, known: Iterable[str] = ()) -> tuple[str, list[str]]:
    """The text without its secrets, and one note for each: the line, and what it was."""
    return _cleaned(text, spellings(known))


def redact_data(data: Any, known: Iterable[str] = ()) -> tuple[Any, list[str]]:
    """The same for what JSON can say: it stays JSON."""
    return _cleaned_data(data, spellings(known))


def _cleaned(text: str, values: Sequence[str]) -> tuple[str, list[str]]:
    notes: list[str] = []

    def note(where: str, at: int, what: str) -> None:
        notes.append(f"line {where.count(chr(10), 0, at) + 1}: {what}")

    for value in values:
        at = text.find(value)
        while at >= 0 and len(notes) < NOTES_MAX:
            note(text, at, "a value that is secret on this node")
            at = text.find(value, at + len(value))
        text = text.replace(value, REMOVED)
    for what, pattern, instead in FORMS:

        def replaced(match: re.Match[str], what: str = what, instead: str = instead) -> str:
            new = match.expand(instead)
            if match.group(0) != new and len(notes) < NOTES_MAX:
                note(match.string, match.start(), what)
            return new

        text = pattern.sub(replaced, text)
    return text, notes


def _cleaned_data(data: Any, values: Sequence[str]) -> tuple[Any, list[str]]:
    if isinstance(data, str):
        return _cleaned(data, values)
    notes: list[str] = []
    if isinstance(data, Mapping):
        made: dict[str, Any] = {}
        for key, value in cast(Mapping[Any, Any], data).items():
            name, said = _cleaned(str(key), values)
            if is_secret_name(str(key)) and value and not isinstance(value, bool):
                made[name] = REMOVED
                said = [f"{name}: a value that its name says is secret"]
            else:
                made[name], inside = _cleaned_data(value, values)
                said = [*said, *(f"{name}: {n}" for n in inside)]
            notes += said
        return made, notes
    if isinstance(data, list | tuple):
        rows: list[Any] = []
        for each in cast(list[Any], data):
            row, said = _cleaned_data(each, values)
            rows.append(row)
            notes += said
        return rows, notes
    return data, notes
