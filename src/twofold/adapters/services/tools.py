"""The words of other programs that run things: `docker compose` (or podman's) and `virsh`.

Pure: which command lines, and how their answers are read. `managed.Managed` calls them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

Words = tuple[str, ...]


@dataclass(frozen=True)
class Fare:
    """How it fares: `there` while anything of it runs, `running` when all of it does."""

    there: bool
    running: bool
    detail: str


@dataclass(frozen=True)
class Tool:
    what: str  # for sentences: "the domain web"
    program: str
    start: Words
    stop: Words
    force: Words
    look: Words
    read: Callable[[str], Fare]
    clean: Words = ()  # after it is down
    again_s: float = 0.0  # the orderly stop is asked for again after so long; 0: once is enough


def compose(engine: str, file: Path, project: str, stop_timeout_s: float) -> Tool:
    """`engine` is docker or podman. The containers are removed after a stop, volumes are not."""
    words = (engine, "compose", "--file", str(file), "--project-name", project)
    return Tool(
        what=f"the containers of {file.name}",
        program=engine,
        start=(*words, "up", "--detach"),
        stop=(*words, "stop", "--timeout", str(max(1, int(stop_timeout_s) - 1))),
        force=(*words, "kill"),
        look=(*words, "ps", "--all", "--format", "json"),
        read=read_containers,
        clean=(*words, "down", "--timeout", "1"),
    )


def read_containers(text: str) -> Fare:
    """One JSON array, or one object on each line, as the version has it. A container that has done
    its work (exit code 0) is well."""
    found = _objects(text)
    states = {_name(c): _state(c) for c in found}
    there = any(s not in ("exited", "done", "dead", "created") for s in states.values())
    ill = {n: s for n, s in states.items() if s not in ("running", "done")}
    if not states:
        return Fare(False, False, "no container")
    if ill:
        return Fare(there, False, ", ".join(f"{n} is {s}" for n, s in sorted(ill.items())))
    running = sum(s == "running" for s in states.values())
    return Fare(there, running > 0, f"{running} of {len(states)} containers run")


def _objects(text: str) -> list[dict[str, Any]]:
    try:
        whole: Any = json.loads(text)
        parts: list[Any] = cast(list[Any], whole) if isinstance(whole, list) else [whole]
    except ValueError:
        parts = []
        for line in text.splitlines():
            try:
                parts.append(json.loads(line))
            except ValueError:
                continue  # a warning of the program
    return [cast(dict[str, Any], p) for p in parts if isinstance(p, dict)]


def _name(container: dict[str, Any]) -> str:
    names: Any = container.get("Names")
    first: Any = names
    if isinstance(names, list) and names:
        first = cast(list[Any], names)[0]
    return str(container.get("Service") or container.get("Name") or first or "?")


def _state(container: dict[str, Any]) -> str:
    state = str(container.get("State", "unknown")).lower()
    if state == "running" and str(container.get("Health", "")).lower() == "unhealthy":
        return "unhealthy"
    return "done" if state == "exited" and container.get("ExitCode") == 0 else state


def libvirt(domain: str) -> Tool:
    """A guest may sleep through the first wish to shut down (it still boots): it is repeated."""
    return Tool(
        what=f"the virtual machine {domain}",
        program="virsh",
        start=("virsh", "start", domain),
        stop=("virsh", "shutdown", domain),
        force=("virsh", "destroy", domain),
        look=("virsh", "domstate", domain),
        read=read_domain,
        again_s=5.0,
    )


def read_domain(text: str) -> Fare:
    state = text.strip().lower() or "unknown"
    there = state not in ("shut off", "crashed", "unknown")
    return Fare(there, state in ("running", "idle", "in shutdown"), f"it is {state}")
