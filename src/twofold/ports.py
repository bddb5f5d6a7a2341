"""The outside world as interfaces.

The daemon decides with `twofold.machine` and acts through these protocols; each is implemented by
one file in `twofold.adapters` and named in `twofold.daemon.app` only. Tests put their own in place.

Rules that all share: every method is idempotent (a daemon that was killed half-way repeats it),
every wait has a bound, and every failure is a `twofold.errors` exception whose text a person can
act on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twofold.machine.arbitration import Ruling


@dataclass(frozen=True)
class HeldAddress:
    """One virtual address of a module, and whether this node has it on an interface now."""

    ip: str  # with prefix: "10.77.0.100/24", "fd00::100/64"
    interface: str | None
    held: bool


class AddressPort(Protocol):
    """The virtual addresses of one module."""

    async def hold(self) -> None:
        """Add every address and announce it. `AddressInUse`: another host answers for it."""
        ...

    async def release(self) -> None:
        """Remove every address; connections to it are ended on this node."""
        ...

    async def announce(self) -> None:
        """Announce the held addresses again (from time to time, and after a healed split)."""
        ...

    async def held(self) -> Sequence[HeldAddress]: ...

    async def look(self, ip: str | None) -> Verdict:
        """Whether `ip` (None: each) is here, can be used, and nobody else answers for it."""
        ...


@dataclass(frozen=True)
class ServiceStatus:
    name: str
    running: bool
    pid: int | None
    detail: str


class ApplicationPort(Protocol):
    """The services and scripts of one module, started in order and stopped in reverse.

    Processes are started in their own session, outside the daemon's fate, and recorded (pid and
    start time) under the run directory, so that `adopt` finds them after a restart of the daemon.
    """

    async def start(self, side: str) -> None:
        """`side`: "both", "primary" or "second". `StartFailed`: which service, why, last output."""
        ...

    async def stop(self, side: str) -> None:
        """Graceful, then forced, each within its time. `StopFailed`: something still runs."""
        ...

    async def adopt(self) -> bool:
        """After a restart of the daemon: True if every service that should run was found."""
        ...

    async def status(self) -> Sequence[ServiceStatus]: ...

    async def script(self, name: str, *arguments: str) -> None:
        """Calls an optional script of the module; `ApplicationError` when it fails."""
        ...

    def on_exit(self, told: Callable[[str, str], None]) -> None:
        """`told(service, why)` is called when a service ends that was not asked to."""
        ...


@dataclass(frozen=True)
class Verdict:
    ok: bool
    text: str  # one sentence: "connected to 127.0.0.1:8080 in 2 ms"


class CheckerPort(Protocol):
    """One probe; thresholds and actions are the machine's business, not the checker's."""

    name: str

    async def probe(self) -> Verdict:
        """One attempt within its own timeout. Never raises for a failing target, only for a bug."""
        ...


class MirrorPort(Protocol):
    """The engine process of one module (see docs/internals/interfaces.md)."""

    async def ensure_running(self) -> None:
        """Start the engine, or find the one that runs. `MirrorFailed`: its last words."""
        ...

    async def command(self, name: str, **fields: Any) -> Mapping[str, Any]:
        """Send one command. Raises `MirrorRefused` (code, text) or `MirrorFailed`."""
        ...

    def on_status(self, told: Callable[[Mapping[str, Any] | None], None]) -> None:
        """`told(status)` at each change; `told(None)` when the engine process is gone."""
        ...


class RescuePort(Protocol):
    """What was saved of a module's data on this node before a resync overwrote it."""

    async def list(self) -> Sequence[Mapping[str, Any]]: ...

    async def show(self, rescue: str, limit: int) -> Mapping[str, Any]: ...

    async def extract(self, rescue: str, into: str, with_current: bool) -> Mapping[str, Any]:
        """Puts it together in a directory that is new or empty, never over the live one."""
        ...

    async def delete(self, rescue: str) -> Mapping[str, Any]:
        """For good. All raise `CommandRefused` with what is wrong and where."""
        ...


class ArbiterPort(Protocol):
    """Who rules when the nodes have lost each other: witnesses, or addresses that must answer."""

    async def claim(self, term: int, again: bool, bound_s: float) -> Ruling:
        """For this node and module. `again`: an earlier question had no answer.

        Never raises for one that does not answer; the answer then is a ruling that says so.
        """
        ...

    async def look(self, bound_s: float) -> Verdict:
        """Whether it could rule now; changes nothing."""
        ...


class HeartbeatPort(Protocol):
    """Datagrams to the other nodes on every network of the cluster."""

    async def run(self) -> None: ...

    def send(self, payload: bytes) -> None: ...

    def on_datagram(self, told: Callable[[str, bytes], None]) -> None:
        """`told(network, datagram)`; authentication happens in `twofold.wire.heartbeat`."""
        ...


class ControlPort(Protocol):
    """Requests to another node's daemon over mutual TLS."""

    async def request(
        self, node: str, body: Mapping[str, Any], timeout_s: float
    ) -> Mapping[str, Any]:
        """Raises `NodeUnreachable` when no network answers in time."""
        ...

    async def serve(
        self, handle: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
    ) -> None:
        """`handle(node, body)`: `node` is the authenticated name of the caller."""
        ...


class ClockPort(Protocol):
    def monotonic_s(self) -> float: ...

    def wall_s(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...
