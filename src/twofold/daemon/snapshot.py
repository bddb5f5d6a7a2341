"""The command `snapshot`: this node's share of a snapshot, one item at a time, without secrets.

What is collected is a table (`twofold.wire.snapshot`); what is secret is a pure function
(`twofold.config.redaction`). Here it is only fetched: files and programs in a thread, each with a
bound on time and bytes, one item at a time, so that neither heartbeats nor decisions wait for it.
A secret is removed here, before it could travel. A file is read only when the table names it;
key files are read for their values alone, to find those in other texts.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from cryptography import x509

from twofold.config.load import module_files, module_names
from twofold.config.redaction import assigned, is_secret_name, redact, redact_data
from twofold.errors import CommandRefused, TwofoldError
from twofold.system import launch
from twofold.wire import snapshot as table

Body = Mapping[str, Any]
Ask = Callable[[str, Body], Awaitable[Mapping[str, Any]]]

# Whether all texts in it are secret, or those whose names say so.
SECRET_FILES = {"notify.toml": True, "users.json": False, "pki/invitations.json": False}
SECRET_BYTES_MAX = 1 << 20
# Of a module `k3s`; written by `twofold k3s`.
_K3S_CONFIG = Path("/etc/rancher/k3s/config.yaml")
_K3S_TOKEN = Path("/var/lib/rancher/k3s/server/token")


class Snapshot:
    """`places` are etc, var and run; `ask(caller, body)` answers the daemon's other commands."""

    def __init__(self, places: tuple[Path, ...], ask: Ask) -> None:
        self._etc, self._run = places[0], places[-1]
        self._places = places
        self._ask = ask
        self._one = asyncio.Lock()

    async def handle(self, caller: str, body: Body) -> dict[str, Any]:
        wanted = body.get("item")
        sources = await asyncio.to_thread(self._sources)
        if wanted is None:
            return {"items": list(sources)[: table.ITEMS_MAX]}
        if not isinstance(wanted, str) or wanted not in sources:
            raise CommandRefused(f"a snapshot of this node has no item {wanted!r}")
        try:
            async with asyncio.timeout(table.ITEM_TIMEOUT_S), self._one:
                known = await asyncio.to_thread(known_secrets, self._etc)
                return await self._item(caller, sources[wanted], known)
        except TimeoutError:
            raise CommandRefused(
                f"{wanted} could not be collected within {table.ITEM_TIMEOUT_S:g} s"
            ) from None

    async def _item(self, caller: str, source: object, known: set[str]) -> dict[str, Any]:
        match source:
            case table.Question():
                body = {"command": source.command, **source.fields}
                data = await self._asked(caller, body)
                return await asyncio.to_thread(_of_data, data, known)
            case table.Program():
                return await asyncio.to_thread(self._ran, source, known)
            case Path():
                return await asyncio.to_thread(_of_file, source, known)
            case _:
                data = self._certificates if source == table.CERTIFICATES else _python
                return await asyncio.to_thread(lambda: _of_data(data(), known))

    async def _asked(self, caller: str, body: Body) -> Any:
        try:
            return dict(await self._ask(caller, body))
        except TwofoldError as e:
            return {"error": e.sentence or str(e)}
        except OSError as e:  # a file is missing: all the more is the rest of use
            return {"error": f"{e.filename}: {e.strerror}"}

    def _sources(self) -> dict[str, table.Question | table.Program | Path | str]:
        """Every item by its name."""
        found: dict[str, table.Question | table.Program | Path | str] = dict(table.PROGRAMS)
        found |= {n: Path(p) for n, p in table.FACTS.items()}
        found |= {n: n for n in (table.PYTHON, table.CERTIFICATES)}
        modules = module_names(self._etc)
        for name, question in table.QUESTIONS.items():
            if not question.each_module:
                found[name] = question
                continue
            for module in modules:
                fields = {**question.fields, "target" if question.target else "module": module}
                found[name.format(module)] = table.Question(question.says, question.command, fields)
        for name in ("cluster.toml", "node.toml"):
            found[f"config/{name}"] = self._etc / name
        for module in modules:
            directory = self._etc / "modules" / module
            with contextlib.suppress(TwofoldError, OSError):
                for path in module_files(directory):
                    found[f"config/modules/{module}/{path}"] = directory / path
        for log in sorted([*self._run.glob("*.log"), *self._run.glob("*/*.log")]):
            found[f"logs/{log.relative_to(self._run)}"] = log
        return {n: s for n, s in found.items() if table.is_safe(n)}

    def _ran(self, program: table.Program, known: set[str]) -> dict[str, Any]:
        own = [sys.executable, "-m", "twofold"]
        command = [w for p in program.command for w in (own if p == table.TWOFOLD else [p])]
        names = ("TWOFOLD_ETC", "TWOFOLD_VAR", "TWOFOLD_RUN")
        where = dict(zip(names, map(str, self._places), strict=False))
        content, ended = _output(command, {**os.environ, **where, "LC_ALL": "C.UTF-8"})
        answer = _of_text(content.decode("utf-8", "replace"), known, len(content))
        return {**answer, "text": answer["text"] + ended}

    def _certificates(self) -> Any:
        found: list[dict[str, Any]] = []
        for file in sorted([*self._etc.glob("pki/*.crt"), *self._etc.glob("web/*.crt")]):
            try:
                read = x509.load_pem_x509_certificate(file.read_bytes())
            except (OSError, ValueError) as e:
                found.append({"file": file.name, "error": type(e).__name__})
                continue
            found.append(
                {
                    "file": str(file.relative_to(self._etc)),
                    "subject": read.subject.rfc4514_string(),
                    "issuer": read.issuer.rfc4514_string(),
                    "begins": read.not_valid_before_utc.isoformat(),
                    "ends": read.not_valid_after_utc.isoformat(),
                }
            )
        return found


def _python() -> Any:
    libraries = {d.name: d.version for d in importlib.metadata.distributions()}
    return {"python": sys.version, "machine": platform.machine(), "libraries": libraries}


def _output(command: list[str], environment: dict[str, str]) -> tuple[bytes, str]:
    """What it printed, and how it ended when not well. As an ordinary process, in a session of
    its own; one that does not end in time is killed, and not waited for."""
    starter = [sys.executable, "-I", "-S", str(Path(launch.__file__)), "", "", ""]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [*starter, *command],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            env=environment,
            start_new_session=True,
        )
        ended = ""
        try:
            code = process.wait(table.PROGRAM_TIMEOUT_S)
            ended = f"\n(exit code {code})\n" if code else ""
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, 9)
            ended = f"\n(ended after {table.PROGRAM_TIMEOUT_S:g} s without an end)\n"
        printed.seek(0)
        return printed.read(table.ITEM_BYTES_MAX), ended


def _of_file(file: Path, known: set[str]) -> dict[str, Any]:
    """The end of a file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            size = os.fstat(descriptor).st_size
            opened.seek(max(0, size - table.ITEM_BYTES_MAX))
            content = opened.read(table.ITEM_BYTES_MAX)
    except OSError as e:
        raise CommandRefused(f"{file} cannot be read: {e.strerror}") from None
    if b"\0" in content:
        return {"text": f"({size} bytes that are no text)\n", "removed": [], "cut": False}
    if size > len(content):  # a secret whose beginning was cut off could not be told any more
        content = content.partition(b"\n")[2]
    return _of_text(content.decode("utf-8", "replace"), known, size)


def _of_text(text: str, known: set[str], size: int) -> dict[str, Any]:
    clean, notes = redact(text, known)
    cut = size > table.ITEM_BYTES_MAX
    return {"text": clean, "removed": notes[: table.REMOVED_MAX], "cut": cut}


def _of_data(data: Any, known: set[str]) -> dict[str, Any]:
    clean, notes = redact_data(data, known)
    text = json.dumps(clean, indent=1, ensure_ascii=False, default=str) + "\n"
    kept = text.encode("utf-8", "replace")[: table.ITEM_BYTES_MAX].decode("utf-8", "ignore")
    return {"text": kept, "removed": notes[: table.REMOVED_MAX], "cut": kept != text}


# --- what is secret on this node ------------------------------------------------------------------


def known_secrets(etc: Path) -> set[str]:
    """The values themselves. They are compared with, and never leave this function's caller."""
    found: set[str] = set()
    for file in [*etc.glob("pki/*.key"), *etc.glob("web/*.key"), _K3S_TOKEN]:
        lines = _read(file).splitlines()
        found |= {w for line in lines if "---" not in line for w in line.split()}
    found |= assigned(_read(_K3S_CONFIG))
    for name, all_of_it in SECRET_FILES.items():
        found |= set(_strings(_parsed(name, _read(etc / name)), all_of_it))
    for module in module_names(etc):
        with contextlib.suppress(TwofoldError, OSError):
            for path, (_, content) in module_files(etc / "modules" / module).items():
                text = content.decode("utf-8", "replace")
                found |= assigned(text)
                if path == "module.toml":
                    found |= set(_strings(_parsed(path, text)))
    return {v for v in found if v not in ("true", "false", "null")}


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text) if name.endswith(".json") else tomllib.loads(text)
    except ValueError:
        return {}


def _strings(data: Any, secret: bool = False) -> Iterator[str]:
    """The texts under names that are secret; of a whole file that is, all."""
    if isinstance(data, str) and secret:
        yield data
    elif isinstance(data, dict):
        for key, value in cast(dict[str, Any], data).items():
            within = secret and key not in ("help", "id", "name")
            yield from _strings(value, within or is_secret_name(key) or key in ("hash", "digest"))
    elif isinstance(data, list):
        for value in cast(list[Any], data):
            yield from _strings(value, secret and not isinstance(value, dict))


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return opened.read(SECRET_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
