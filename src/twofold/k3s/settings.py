"""What one installation is to be: given by the person, or found out, once; then only read.

Versions are pinned here. `texts` makes files of it, the steps act on it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twofold.errors import OperatorError

K3S_VERSION = "v1.36.2+k3s1"
K3S_INSTALLER = "https://get.k3s.io"
MODULE = "k3s"
MYSQL_ID = 963  # user and group, equal on both nodes: the replicated files carry numbers
PACKAGES = ("mariadb-server", "nfs-kernel-server", "nfs-common", "xfsprogs", "psmisc", "curl")
OFF_AT_BOOT = ("mariadb.service", "nfs-server.service")
ARBITRATION = ("witness", "ping", "none")
API_PORT, DATASTORE_PORT = 6443, 3306
JOIN_WAIT_S = 3600.0


@dataclass(frozen=True)
class Settings:
    """`address`: the virtual one, with prefix. `own`: this node's own on the same network."""

    address: str
    own: str
    interface: str
    router: str | None = None
    directory: str = "/srv/k3s"
    mount: str = "/srv/k3s-volumes"
    volume_size: str = "20G"
    thin: bool = False
    arbitration: str = "ping"
    k3s_version: str = K3S_VERSION
    airgap: str | None = None
    wait_s: float = JOIN_WAIT_S
    more: tuple[tuple[str, str], ...] = ()  # further variables of the module

    @property
    def ip(self) -> str:
        return self.address.partition("/")[0]

    def for_second(self) -> str:
        """The options of `second` that must be as here."""
        said = f"--address {self.address}"
        if self.directory != Settings.directory:
            said += f" --directory {self.directory}"
        if self.mount != Settings.mount:
            said += f" --mount {self.mount}"
        if self.k3s_version != K3S_VERSION:
            said += f" --k3s-version {self.k3s_version}"
        return said + (" --airgap DIR" if self.airgap else "")

    @property
    def secrets(self) -> str:
        return f"{self.directory}/secrets"


def own_address(virtual: str, networks: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """(interface, this node's address) on the network of the virtual address."""
    try:
        wanted = ipaddress.ip_interface(virtual)
    except ValueError:
        raise OperatorError(
            f"{virtual!r} is no address", "Write it with its prefix: --address 10.0.0.100/24"
        ) from None
    if "/" not in virtual:
        raise OperatorError(
            f"{virtual} has no prefix", f"Write --address {virtual}/24 (the prefix of its network)"
        )
    for interface, addresses in networks.items():
        for each in addresses:
            own = ipaddress.ip_interface(each)
            if own.network == wanted.network and own.ip != wanted.ip:
                return interface, str(own.ip)
    known = ", ".join(a for addresses in networks.values() for a in addresses)
    raise OperatorError(
        f"this node has no address in the network {wanted.network} of {virtual}",
        f"It has {known}.",
    )


def volume_bytes(text: str) -> int:
    """20G, 512M, 1T: as truncate and the module have it."""
    units = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
    unit = units.get(text[-1:].upper())
    if unit is None or not text[:-1].isdigit() or int(text[:-1]) * unit < 320 << 20:
        raise OperatorError(
            f"{text!r} is no size of a volume image", "Write it like 100G; at least 320M."
        )
    return int(text[:-1]) * unit
