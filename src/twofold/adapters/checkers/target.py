"""What a checker may look at besides the world outside: its module, and the other modules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from twofold.errors import CommandRefused
from twofold.ports import AddressPort, ApplicationPort

# (module, where, bound) -> node: its state, such as "PRIM"; a silent node is not in it.
ModuleStates = Callable[[str, str, float], Awaitable[Mapping[str, str]]]


async def _nowhere(module: str, node: str, bound_s: float) -> Mapping[str, str]:
    raise CommandRefused("this node knows of no other module")


@dataclass(frozen=True)
class Target:
    """`variables`: what the module's scripts find in their environment."""

    application: ApplicationPort
    address: AddressPort
    directories: tuple[str, ...] = ()
    scripts: Path = Path("/")
    variables: Callable[[], Mapping[str, str]] = field(default=dict[str, str])
    module_states: ModuleStates = _nowhere
