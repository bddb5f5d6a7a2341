"""The probes of a module: each asks one question within its time, and answers with a sentence.

One file for each kind, and one line in `_KINDS`. How often to ask, how many failures count and what
follows is decided in `twofold.machine`.
"""

from __future__ import annotations

from collections.abc import Callable

from twofold.adapters.checkers.address import AddressChecker
from twofold.adapters.checkers.file_system import DiskChecker, MountChecker
from twofold.adapters.checkers.http import HttpChecker
from twofold.adapters.checkers.interface import InterfaceChecker
from twofold.adapters.checkers.module import ModuleChecker
from twofold.adapters.checkers.ping import PingChecker
from twofold.adapters.checkers.process import ProcessChecker
from twofold.adapters.checkers.script import ScriptChecker
from twofold.adapters.checkers.sql import SqlChecker
from twofold.adapters.checkers.systemd import SystemdChecker
from twofold.adapters.checkers.target import Target
from twofold.adapters.checkers.tcp import TcpChecker
from twofold.config.schema_checkers import Checker, CheckerKind
from twofold.ports import CheckerPort

_KINDS: dict[CheckerKind, Callable[[Checker, Target], CheckerPort]] = {
    "process": ProcessChecker,
    "systemd": SystemdChecker,
    "tcp": TcpChecker,
    "http": HttpChecker,
    "ping": PingChecker,
    "interface": InterfaceChecker,
    "address": AddressChecker,
    "mount": MountChecker,
    "disk": DiskChecker,
    "sql": SqlChecker,
    "script": ScriptChecker,
    "module": ModuleChecker,
}


def make_checker(checker: Checker, target: Target) -> CheckerPort:
    """The probe of one [[checker]] of the module that `target` tells of."""
    return _KINDS[checker.kind](checker, target)


__all__ = ["Target", "make_checker"]
