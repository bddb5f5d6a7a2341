"""How often somebody may guess a password. Pure: time comes as an argument.

Failures are counted for the address they come from and for the user they are about. An address has
five free, then waits twice as long each time, up to five minutes. A user has twenty before anybody
has to wait at all, and then ten seconds at most: otherwise a stranger could lock an administrator
out. A success forgets the failures of its address. An IPv6 address counts with its /64. The least
recently heard are forgotten first, so memory has a bound.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

KEPT_MAX = 10_000
FORGET_AFTER_S = 900.0


@dataclass(frozen=True)
class Rule:
    free: int  # failures before anybody waits
    first_s: float
    most_s: float

    def wait_s(self, failures: int) -> float:
        over = failures - self.free
        return 0.0 if over < 0 else min(self.first_s * 2 ** min(over, 20), self.most_s)


ADDRESS = Rule(free=5, first_s=2.0, most_s=300.0)
USER = Rule(free=20, first_s=1.0, most_s=10.0)


@dataclass
class _Failures:
    count: int
    last_s: float


class Throttle:
    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def wait_s(self, address: str, user: str, now_s: float) -> float:
        """Seconds until the next guess is listened to; 0 when now."""
        waits = [
            self._left_s(("address", network(address)), ADDRESS, now_s),
            self._left_s(("user", user), USER, now_s),
        ]
        return max(waits)

    def _left_s(self, key: tuple[str, str], rule: Rule, now_s: float) -> float:
        found = self._kept.get(key)
        if found is None or now_s - found.last_s > FORGET_AFTER_S:
            return 0.0
        return max(0.0, found.last_s + rule.wait_s(found.count) - now_s)

    def failed(self, address: str, user: str, now_s: float) -> None:
        for key in (("address", network(address)), ("user", user)):
            found = self._kept.pop(key, None)
            if found is None or now_s - found.last_s > FORGET_AFTER_S:
                found = _Failures(0, now_s)
            self._kept[key] = _Failures(found.count + 1, now_s)
        while len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def succeeded(self, address: str, user: str) -> None:
        self._kept.pop(("address", network(address)), None)
        about = self._kept.get(("user", user))
        if about is not None:  # this attempt was counted before it was compared
            about.count = max(0, about.count - 1)


def network(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.IPv6Network((ip, 64), strict=False))
    return str(ip)
