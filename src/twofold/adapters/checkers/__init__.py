"""The probes of a module: each asks one question within its time, and answers with a sentence.

One file for each kind, and one line in `_KINDS`. How often to ask, how many failures count and what
follows is decided in `twofold.machine`.
"""

from __future__ import annotations

from collections.abc import Callable

from twofold.adapters.checkers.process import ProcessChecker
from twofold.adapters.checkers.tcp import TcpChecker
from twofold.config.schema import Checker, CheckerKind
from twofold.ports import ApplicationPort, CheckerPort

_KINDS: dict[CheckerKind, Callable[[Checker, ApplicationPort], CheckerPort]] = {
    "process": ProcessChecker,
    "tcp": lambda checker, application: TcpChecker(checker),
}


def make_checker(checker: Checker, application: ApplicationPort) -> CheckerPort:
    """The probe of one [[checker]]; `application` is the same module's."""
    return _KINDS[checker.kind](checker, application)


__all__ = ["make_checker"]
